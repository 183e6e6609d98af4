"""Who acts for whom is asked once for each episode, and drawn alike in runs alike."""

from __future__ import annotations

from collections import Counter

import pytest

from outrider.envrunner.policies.function_mapping import FunctionMapping
from outrider.envrunner.policies.matchups import MatchupMapping, Matchups
from outrider.envrunner.policies.policy_mapping import Episode

AGENTS = ("red", "blue")
NUMBERS = {"main": 0, "old": 3}


def episode(number: int = 0) -> Episode:
    return Episode(id_=str(number), environment=4, number=number, seed=(1, 4, number))


def test_a_function_says_a_name_for_each_agent() -> None:
    mapping = FunctionMapping(lambda agent, _: {"red": "main", "blue": "old"}[agent], AGENTS, NUMBERS)
    assert mapping.assign(episode()).tolist() == [0, 3]


def test_a_function_knows_the_episode_and_draws_the_same_for_the_same_one() -> None:
    def by_environment(_: str, each: Episode) -> str:
        return "main" if each.rng.random() < 0.5 else "old"

    mapping = FunctionMapping(by_environment, AGENTS, NUMBERS)
    drawn = [mapping.assign(episode(number)).tolist() for number in range(20)]
    assert drawn == [mapping.assign(episode(number)).tolist() for number in range(20)]
    assert [0, 3] in drawn, "agents of one episode draw one after the other"
    assert [3, 0] in drawn


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "new",
            "returned 'new' for agent 'red' in episode 2 of environment 4, and there is no policy 'new': add",
        ),
        ("od", "there is no policy 'od': add it, or name another; did you mean old?"),
        (None, "policy_mapping_fn returned None for agent 'red'"),
        (["main"], r"returned \['main'\] for agent 'red'"),
    ],
)
def test_a_name_that_there_is_not_is_refused_with_the_agent(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        FunctionMapping(lambda *_: name, AGENTS, NUMBERS).assign(episode(2))


def test_a_function_that_raises_is_an_error_with_agent_episode_and_its_own_error_as_cause() -> None:
    def buggy(agent: str, each: Episode) -> str:
        return {"red": "main"}[agent]

    with pytest.raises(
        ValueError, match="raised KeyError: 'blue' for agent 'blue' in episode 2 of"
    ) as caught:
        FunctionMapping(buggy, AGENTS, NUMBERS).assign(episode(2))
    assert isinstance(caught.value.__cause__, KeyError)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ValueError, match="policy_mapping_fn='main' cannot be called; give fn"):
        FunctionMapping("main", AGENTS, NUMBERS)  # type: ignore[arg-type]


def test_a_matchup_is_a_weight_and_the_policies_of_agents() -> None:
    with pytest.raises(ValueError, match="matchup 'red' is no pair; give a weight and the policy of each"):
        Matchups({"red": "main", "blue": "main"})  # type: ignore[arg-type]


def test_a_wrong_matchup_of_a_thousand_agents_is_not_told_in_full() -> None:
    matchup = ({str(agent): "main" for agent in range(1000)}, 1.0)
    with pytest.raises(ValueError, match="give a weight and the policy of each agent") as caught:
        Matchups([matchup])  # type: ignore[list-item]
    assert len(str(caught.value)) < 300


def test_a_matchup_names_agents_by_text() -> None:
    matchups = Matchups([(1.0, {0: "main", "1": "main"})])  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="there is no agent 0; did you mean the text '0'"):
        MatchupMapping(matchups, ["0", "1"], NUMBERS)


def test_a_matchup_names_no_agent_that_there_is_not() -> None:
    matchups = Matchups([(1.0, {"red": "main", "blue": "old", "rad": "old"})])
    with pytest.raises(
        ValueError, match="a matchup has agent 'rad', and there is no agent 'rad'; did you mean red"
    ):
        MatchupMapping(matchups, AGENTS, NUMBERS)


def test_matchups_are_drawn_by_their_weights() -> None:
    data = Matchups([(3.0, {"red": "main", "blue": "main"}), (1.0, {"red": "main", "blue": "old"})])
    mapping = MatchupMapping(Matchups.from_message(data.to_message()), AGENTS, NUMBERS)
    counts = Counter(tuple(mapping.assign(episode(number)).tolist()) for number in range(400))
    assert counts.keys() == {(0, 0), (0, 3)}
    assert 250 < counts[0, 0] < 350


def test_a_matchup_without_an_agent_or_of_a_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="a matchup leaves out agent 'blue'"):
        MatchupMapping(Matchups([(1.0, {"red": "main"})]), AGENTS, NUMBERS)
    with pytest.raises(
        ValueError, match="a matchup lets 'new' play agent 'red', and there is no policy 'new': add it"
    ):
        MatchupMapping(Matchups([(1.0, {"red": "new", "blue": "main"})]), AGENTS, NUMBERS)


def test_weights_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="a matchup has weight 0; it must be above 0 and finite"):
        Matchups([(0, {"red": "main"})])
    with pytest.raises(ValueError, match="there are no matchups"):
        Matchups([])
