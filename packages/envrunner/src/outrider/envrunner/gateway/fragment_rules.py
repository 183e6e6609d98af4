"""What fragments of a run look like, to check those that strangers hand in. Axes: N = rows, S = streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from outrider.envrunner.gateway.column_rules import ColumnRules
from outrider.wire import ActionHead, Fragment, Limits, Space, TensorSpec


class FragmentRules:
    """What a runner was told to sample. What holds for every fragment was checked when it was decoded."""

    def __init__(
        self,
        *,
        observation_space: Space,
        action_heads: tuple[ActionHead, ...],
        state: Mapping[str, TensorSpec],
        num_steps: int,
        num_environments: int,
        record_action_parameters: bool,
    ) -> None:
        """Expect the columns that runners of Outrider write."""
        self._columns = ColumnRules(
            observation_space=observation_space,
            action_heads=action_heads,
            state=state,
            record_action_parameters=record_action_parameters,
        )
        self._num_environments = num_environments
        self._num_steps = num_steps
        self._num_rows = num_steps * num_environments

    def limits(self, limits: Limits) -> Limits:
        """Return what need not be exceeded by what was asked for, however much else may come."""
        most_bytes = self._num_rows * self._columns.row_bytes
        most_bytes += self._num_environments * self._columns.stream_bytes
        return replace(
            limits,
            max_message_bytes=min(limits.max_message_bytes, most_bytes + 2 * limits.max_header_bytes),
            max_decompressed_bytes=min(limits.max_decompressed_bytes, most_bytes + 1),
            max_rows=min(limits.max_rows, self._num_rows),
            max_streams=min(limits.max_streams, self._num_environments),
            max_episodes=min(limits.max_episodes, self._num_rows),
        )

    def check(self, fragment: Fragment, *, runner: int) -> None:
        """Raise ValueError with the first rule that a fragment of this runner of the run breaks."""
        _check_one_agent(fragment)
        self._check_counts(fragment)
        self._columns.check(fragment)
        self._check_streams(fragment, runner * self._num_environments)

    def check_versions(self, fragment: Fragment, oldest: int, newest: int) -> int | None:
        """Return the newest version of the weights that acted, None where there are no rows.

        Raises ValueError unless all are in this range.
        """
        if not fragment.num_rows:
            return None
        first, last = int(fragment.policy_version.min()), int(fragment.policy_version.max())
        if not oldest <= first <= last <= newest:
            given = f"only {newest}" if oldest == newest else f"{oldest} to {newest}"
            raise ValueError(f"versions {first} to {last} of the weights acted, and {given} may")
        return last

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Let any state be: nothing in it says what rows will be like."""

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Expect the same rows as before."""

    def _check_counts(self, fragment: Fragment) -> None:
        if fragment.num_rows > self._num_rows:
            raise ValueError(f"it has {fragment.num_rows} rows and at most {self._num_rows} were asked for")
        if not fragment.num_rows and self._num_steps > 1:  # one step may have been that of a reset
            raise ValueError(f"it has no rows, and {self._num_rows} were asked for")
        lengths_S = fragment.streams.lengths
        if len(lengths_S) > self._num_environments or lengths_S.max(initial=0) > self._num_steps:
            raise ValueError(
                f"it has {len(lengths_S)} streams of up to {lengths_S.max()} rows; one for each of "
                f"{self._num_environments} environment copies, of at most {self._num_steps}, were asked for"
            )
        if len(fragment.episodes.lengths) > fragment.num_rows:
            raise ValueError(
                f"{len(fragment.episodes.lengths)} episodes ended in {fragment.num_rows} rows; each needs one"
            )

    def _check_streams(self, fragment: Fragment, first: int) -> None:
        environment_S = fragment.streams.environment
        last = first + self._num_environments - 1
        if environment_S.size and not first <= environment_S.min() <= environment_S.max() <= last:
            raise ValueError(
                f"it has environment copies {environment_S.min()} to {environment_S.max()}, and the runner's "
                f"are {first} to {last}: its number times num_environments, and those after it"
            )
        if fragment.streams.policy.any():
            raise ValueError(f"it has policy {fragment.streams.policy.max()}, and 0 is the only one")


def _check_one_agent(fragment: Fragment) -> None:
    if fragment.others or fragment.critic_states or fragment.episodes.agents is not None:
        raise ValueError(
            "it has other architectures, critic states or episodes of single agents, and the run has one "
            "policy for one agent; start this run with several agents, or sample for one"
        )
