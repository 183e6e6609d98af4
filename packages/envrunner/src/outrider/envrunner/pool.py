"""A runner pool is where a training loop gets its fragments from, wherever the runners are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from outrider.envrunner.runner import EnvRunner
from outrider.wire import Fragment, Weights


class RunnerPool(Protocol):
    """One or more runners. `outrider.testing.runner_pool_conformance` tests what is said here."""

    def sample(self, weights: Weights) -> list[Fragment]:
        """Have every runner sample one fragment with these weights, and wait for all.

        A runner that has this version already is not sent it again; every fragment says which version
        acted. Fragments come in the order of their environments and belong to the caller. Raises
        EnvironmentsFailedError where an environment fails again and again, and ValueError for weights of
        another module.
        """
        ...

    def get_state(self) -> dict[str, Any]:
        """Return a tree of what the next fragments depend on, weights excepted."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned in a pool made with the same arguments."""
        ...

    def close(self) -> None:
        """Close all environments. Closing twice does nothing."""
        ...


class LocalRunnerPool:
    """One runner in the calling process."""

    def __init__(self, runner: EnvRunner) -> None:
        """Take over the runner: closing the pool closes it."""
        self._runner = runner

    def sample(self, weights: Weights) -> list[Fragment]:
        """Sample one fragment."""
        self._runner.set_weights(weights)
        return [self._runner.sample()]

    def get_state(self) -> dict[str, Any]:
        """Return the runner's state."""
        return {"runners": [self._runner.get_state()]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        if len(state["runners"]) != 1:
            raise ValueError(
                f"the saved state is of {len(state['runners'])} runners and this pool has one; resume with "
                "the settings of the run that saved it"
            )
        self._runner.set_state(state["runners"][0])

    def close(self) -> None:
        """Close the environments."""
        self._runner.close()
