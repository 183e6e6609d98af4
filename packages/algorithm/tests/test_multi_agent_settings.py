from __future__ import annotations

from typing import Any

import pytest

from outrider.algorithm import PPOConfig
from outrider.algorithm.assembly.multi_agent_checks import check_one_agent, check_several_agents
from outrider.algorithm.settings.multi_agent_settings import MultiAgentSettings, PolicySpec
from outrider.algorithm.settings.setting_value import field_types, from_json, from_text, to_json


@pytest.mark.parametrize(
    ("typed", "policies"),
    [
        ("shared", "shared"),
        ("per_agent", "per_agent"),
        ("red,blue", ("red", "blue")),
        ("solo", ("solo",)),
        ('{"a": null, "b": {"training": {"lr": 1e-3}}}', {"a": None, "b": PolicySpec(training={"lr": 1e-3})}),
        ("none", None),
    ],
)
def test_policies_are_typed_and_recorded(typed: str, policies: object) -> None:
    settings = MultiAgentSettings(policies=from_text(typed, field_types(MultiAgentSettings)["policies"]))
    assert settings.policies == policies
    assert from_json(MultiAgentSettings, to_json(settings)) == settings


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"policies": ["per-agent"]}, "did you mean per_agent"),
        ({"policies": "one for each"}, "give 'shared', 'per_agent', or a list of names"),
        ({"policies": []}, "policies is empty; give at least one name"),
        ({"policies": ["a", "b", "a"]}, "names 'a' twice"),
        ({"policies": ["a/b"]}, "give text without '/'"),
        ({"policies": {"a": {"rlmodule": {}}}}, "policy 'a' has no 'rlmodule'; did you mean rl_module"),
        ({"policies": {"a": 3}}, "give a PolicySpec, or None"),
        ({"policies": ["red", "blue"], "policies_to_train": ["rad"]}, "there is no policy 'rad'; did"),
        ({"policies": "shared", "policies_to_train": ["blue"]}, "known are shared"),
        ({"policies": "shared", "policies_to_train": "shared"}, r"give one, such as \['shared'\]"),
        ({"policies": "shared", "policies_to_train": len}, r'give one, such as \["red", "blue"\]'),
        ({"policies": "shared", "num_agents": 0}, "num_agents=0 is out of range"),
        ({"policies": "shared", "num_agents": 1.5}, "num_agents=1.5 is out of range; give a whole number"),
        ({"policies": "shared", "critic": "centre"}, 'choose "own" or "central"'),
    ],
)
def test_mistakes_end_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PPOConfig().multi_agent(**settings)


def test_a_set_has_the_same_order_in_every_process() -> None:
    names = [f"policy {letter}" for letter in "abcdefgh"]
    settings = MultiAgentSettings(policies=set(names), policies_to_train=frozenset(names))
    assert settings.policies == tuple(names)
    assert settings.policies_to_train == tuple(names)


def test_a_specification_holds_settings_by_name() -> None:
    with pytest.raises(ValueError, match=r"training=0.1 of a PolicySpec is no mapping"):
        PolicySpec(training=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"num_agents": 2}, {"critic": "central"}, {"policies_to_train": ["a"]}])
def test_what_is_of_several_agents_needs_policies(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="policies is None; say which there are"):
        check_one_agent(MultiAgentSettings(**settings))


def test_a_state_that_no_critic_sees_is_refused() -> None:
    config = PPOConfig().environment(None, state_space={"type": "Box", "low": 0, "high": 1, "shape": [3]})
    check_several_agents(config.multi_agent(policies="shared", critic="central").settings)
    with pytest.raises(ValueError, match="state_space is given, and critic='own' sees what its policy does"):
        check_several_agents(config.multi_agent(policies="shared", critic="own").settings)
