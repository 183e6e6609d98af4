from __future__ import annotations

from outrider.algorithm.policies.imagined_episodes import imagined_episodes, num_imagined


def test_a_hundred_are_imagined_or_one_for_each_policy_and_fewer_where_agents_are_many() -> None:
    assert [num_imagined(2), num_imagined(1, 1000), num_imagined(1000, 1000)] == [100, 1000, 20]
    assert len(list(imagined_episodes(1, 300))) == 300


def test_each_is_of_another_environment_and_odd_and_even_numbers_meet_odd_and_even_environments() -> None:
    episodes = list(imagined_episodes(1))
    assert len({episode.environment for episode in episodes}) == len({episode.seed for episode in episodes})
    assert len({(episode.environment % 2, episode.number % 2) for episode in episodes}) == 4
