"""A user's own network, from the README's snippet to what is refused about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from outrider.rlmodule import ModuleSettings, Policy, PolicyNotExportable, build_policy, export_graph
from outrider.wire import BoxSpace, DiscreteSpace

BOX = BoxSpace(low=np.full(4, -1, np.float32), high=np.full(4, 1, np.float32))
README = Path(__file__).parents[1] / "README.md"


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def make(network: Any, **chosen: Any) -> Policy:
    return build_policy(BOX, DiscreteSpace(num_values=3), ModuleSettings(**chosen), network=network, seed=0)


class Plain(nn.Module):
    """The smallest network that obeys the Protocol."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.policy = nn.Linear(4, num_action_parameters)
        self.value = nn.Linear(4, 1)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy(observation), self.value(observation).squeeze(-1)


class Counting(Plain):
    """Remembers how many steps it has seen, and knows no faster way through a sequence."""

    def initial_state(self) -> dict[str, Tensor]:
        return {"steps": torch.zeros(1)}

    def forward(self, observation: Tensor, state: dict[str, Tensor]) -> Any:  # type: ignore[override]
        steps = state["steps"] + 1
        return self.policy(observation) + steps, self.value(observation).squeeze(-1), {"steps": steps}


@pytest.mark.parametrize("snippet", snippets())
def test_snippets_of_the_readme_run(snippet: str) -> None:
    exec(compile(snippet, str(README), "exec"), {"__name__": "readme"})


def test_the_readme_shows_an_own_network_in_under_25_lines() -> None:
    [own] = [snippet for snippet in snippets() if "nn.Module" in snippet]
    assert len(own.splitlines()) < 25


def test_an_own_network_trains_and_exports(sample: Any, run_graph: Any) -> None:
    policy = make(Plain, normalize_observations=True)
    observations = sample(BOX, 5)
    parameters, values = policy({"": torch.from_numpy(observations[""])})
    values.sum().backward()
    outputs = run_graph(export_graph(policy), policy.weights(0), observations, {})
    np.testing.assert_allclose(outputs["action_parameters"], parameters.detach(), atol=1e-5)


def test_an_own_recurrent_network_is_walked_step_by_step(sample: Any, run_graph: Any) -> None:
    policy = make(Counting)
    observations = {"": torch.zeros(2, 3, 4)}
    starts = torch.tensor([[False, False, False], [True, False, True]])
    parameters, _ = policy.forward_sequence(observations, {"steps": torch.full((2, 1), 10.0)}, starts)
    steps = (parameters - policy.network.policy.bias)[..., 0]
    torch.testing.assert_close(steps, torch.tensor([[11.0, 12.0, 13.0], [1.0, 2.0, 1.0]]))
    state = {"steps": np.full((1, 1), 4, np.float32)}
    outputs = run_graph(export_graph(policy), policy.weights(0), sample(BOX, 1), state)
    assert outputs["next_state/steps"].tolist() == [[5.0]]


def test_settings_that_an_own_network_decides_for_itself_are_named() -> None:
    with pytest.warns(UserWarning, match="use_lstm=True is ignored: the network is your own"):
        make(Plain, use_lstm=True)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (lambda: Plain(None, None, 3), "cannot be called with observation space, action space and number"),
        (Plain(None, None, 3).forward, "cannot be called with .*: too many positional arguments"),
        (lambda *_: "no module", "made a str; it must make a torch.nn.Module"),
        ("Plain", "network is 'Plain'; give a callable that makes a torch.nn.Module"),
    ],
)
def test_what_makes_no_network_is_one_sentence(network: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(network)


class Column(Plain):
    """Forgets to squeeze the value."""

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy(observation), self.value(observation)


class Narrow(Plain):
    """Puts out too few parameters."""

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy(observation)[:, :2], self.value(observation).squeeze(-1)


class Lone(Plain):
    """Returns no value."""

    def forward(self, observation: Tensor) -> Any:
        return self.policy(observation)


class Renaming(Counting):
    """Calls its state something else after a step."""

    def forward(self, observation: Tensor, state: dict[str, Tensor]) -> Any:  # type: ignore[override]
        parameters, values, _ = super().forward(observation, state)
        return parameters, values, {"count": state["steps"]}


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (
            Column,
            r"Column.forward: values for 2 rows must be a tensor of shape \(2,\), not one of shape \(2, 1\)",
        ),
        (Narrow, r"Narrow.forward: action parameters for 2 rows must be a tensor of shape \(2, 3\)"),
        (Lone, r"returned one of shape \(2, 3\); it must return the tuple \(action parameters, values\)"),
        (Renaming, r"next state \['count'\], and initial_state has \['steps'\]"),
    ],
)
def test_a_network_that_breaks_its_promise_is_named_before_training(network: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(network)


class Deciding(Plain):
    """Decides in Python by a tensor's value: a trace would follow one branch for ever."""

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        if observation.sum() > 0:
            observation = -observation
        return super().forward(observation)


class Exotic(Plain):
    """Uses an operation that the exporter does not know."""

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(torch.fft.fft(observation).real)


class Attentive(Plain):
    """Uses attention and a recurrent cell, which the exporter knows once asked rightly."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.cell = nn.GRUCell(4, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        rows = observation[:, None].repeat(1, 3, 1)
        mixed = self.attention(rows, rows, rows)[0].mean(1)
        return super().forward(self.dropout(self.cell(observation, mixed)))


@pytest.mark.parametrize(
    ("network", "reason"), [(Deciding, "torch.where instead of `if`"), (Exotic, "fft_fft")]
)
def test_a_network_that_a_graph_cannot_say_is_not_exportable(network: Any, reason: str) -> None:
    with pytest.raises(PolicyNotExportable, match=reason):
        export_graph(make(network))


@pytest.mark.parametrize("mode", [True, False])
def test_exporting_leaves_the_mode_as_it_was(mode: bool) -> None:
    policy = make(Attentive).train(mode)
    export_graph(policy)
    assert {module.training for module in policy.modules()} == {mode}


def test_attention_and_cells_export_without_their_dropout(sample: Any, run_graph: Any) -> None:
    policy = make(Attentive)
    observations = sample(BOX, 5)
    outputs = run_graph(export_graph(policy), policy.weights(0), observations, {})
    with torch.no_grad():
        expected, _ = policy.eval()({"": torch.from_numpy(observations[""])})
    np.testing.assert_allclose(outputs["action_parameters"], expected, atol=1e-5)
