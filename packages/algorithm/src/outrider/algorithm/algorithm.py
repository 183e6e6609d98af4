"""What one can do with an algorithm: train it, evaluate it, save it, take its policy out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from outrider.algorithm.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from outrider.algorithm.setting_value import FunctionNotFoundError, to_json
from outrider.algorithm.totals import Totals

if TYPE_CHECKING:
    from outrider.algorithm.config import AlgorithmConfig
    from outrider.algorithm.evaluation import Evaluator
    from outrider.algorithm.loop import TrainingLoop
    from outrider.algorithm.run_settings import RunSettings
    from outrider.envrunner.gateway import Gateway
    from outrider.envrunner.video import FilmedEpisode
    from outrider.rlmodule import Policy


class Algorithm:
    """Trains one policy. Made by `config.build()`; close it with `stop()` or by leaving a `with` block."""

    def __init__(
        self,
        name: str,
        settings: RunSettings,
        *,
        loop: TrainingLoop,
        policy: Policy,
        evaluator: Evaluator,
        parts: ExitStack,
        gateway: Gateway | None = None,
        reward_threshold: float | None = None,
    ) -> None:
        """Take the parts over; `parts` closes what the loop works with, the gateway included."""
        self.name = name
        self.settings = settings
        self.reward_threshold = reward_threshold
        """Mean return from which the environment counts as solved; None where it is registered without."""
        self._loop = loop
        self._policy = policy
        self._policy_version: int | None = None
        self._evaluator = evaluator
        self._parts = parts
        self._gateway = gateway
        self._is_stopped = self._is_interrupted = False
        self._totals = Totals(settings)

    def train(self) -> dict[str, Any]:
        """Run one iteration of the loop and return its metrics (see `outrider.algorithm.totals`).

        The loop is `outrider.algorithm.synchronous` (collect, learn, publish) or
        `outrider.algorithm.asynchronous` (all three at once). Raises ValueError after `stop`, and
        WaitInterruptedError after `interrupt`.
        """
        self._check_running("train")
        return self._totals.add(self._loop.iterate())

    def evaluate(self, num_episodes: int | None = None, *, seed: int | None = None) -> dict[str, Any]:
        """Play episodes from fixed seeds on, without exploration, and return their metrics.

        What is not given stands in the evaluation settings. Training is not touched: neither its
        environments nor its random numbers.
        """
        settings = self.settings.evaluation
        return self._evaluator.evaluate(
            self._loop.weights.load(),
            num_episodes=settings.evaluation_duration if num_episodes is None else num_episodes,
            seed=settings.evaluation_seed if seed is None else seed,
        )

    def record_video(self, path: Path | str, *, seed: int | None = None) -> FilmedEpisode:
        """Film the first episode of `evaluate` as an .mp4 file, and say where it is and how it went."""
        seed = self.settings.evaluation.evaluation_seed if seed is None else seed
        return self._evaluator.record_video(self._loop.weights.load(), Path(path), seed=seed)

    @property
    def policy(self) -> Policy:
        """The module that learns, with the newest weights: an `outrider.rlmodule.Policy`.

        It may be a copy of the one that learners elsewhere train: changing it changes no training.
        """
        if self._policy_version != self._loop.weights.version:
            self._policy.load_weights(self._loop.weights.load())
            self._policy_version = self._loop.weights.version
        return self._policy

    @property
    def iteration(self) -> int:
        """Iterations done so far, those before a checkpoint included."""
        return self._totals.iteration

    def save(self, path: Path | str) -> Path:
        """Write a checkpoint to the directory `path`, whole or not at all, and return the path."""
        self._check_running("save")
        tree = {
            "algorithm": self.name,
            "settings": to_json(self.settings),
            "totals": self._totals.get_state(),
            **self._loop.get_state(),
        }
        return write_checkpoint(path, tree)

    @staticmethod
    def from_checkpoint(
        path: Path | str,
        *,
        config: AlgorithmConfig[Any] | None = None,
        to_train: bool = True,
        run_name: str | None = None,
    ) -> Algorithm:
        """Build the algorithm that was saved at `path` and go on from there.

        `config` replaces the recorded settings: give it where the environment or a wrapper was a
        function of no module, or to go on with other settings. Without `to_train` there are neither
        runners nor learners, which evaluating and exporting do without. `run_name` is that of
        `config.build`. Raises CheckpointError.
        """
        tree = read_checkpoint(path)
        config = config or _recorded_config(tree, path)
        algorithm = config.build(run_name=run_name) if to_train else config.build_to_evaluate()
        algorithm._restore(tree, path)  # noqa: SLF001 - our own
        return algorithm

    def _restore(self, tree: Any, path: Path | str) -> None:  # noqa: ANN401 - a tree of any shape
        try:
            self._loop.set_state({part: tree[part] for part in ("learner", "runners")})
            self._totals.set_state(tree["totals"])
        except (KeyError, TypeError, ValueError) as error:
            self._is_interrupted = True
            self.stop()
            raise CheckpointError(
                f"checkpoint {path} does not fit these settings: {error}; use the settings it was made with"
            ) from error
        except BaseException:
            self._is_interrupted = True
            self.stop()
            raise

    def export_policy(self, path: Path | str) -> Path:
        """Write the policy as one ONNX file that needs nothing of Outrider, and return the path.

        Inputs are the observation's leaves; outputs are `action_parameters` and the most likely action
        in the environment's units.
        """
        from outrider.algorithm.whole_file import write_whole
        from outrider.rlmodule import export_standalone

        path = Path(path)
        write_whole(path, export_standalone(self.policy))
        return path

    def interrupt(self) -> None:
        """Note that the run is stopped before its end and may be resumed; safe in a signal handler.

        `train` finishes what it is doing, but ends by WaitInterruptedError where it waits for runners to
        join or to start, and `stop` tells farms to come back.
        """
        self._is_interrupted = True
        self._loop.interrupt()

    def stop(self) -> None:
        """Close the environments, stop the learners and leave the cluster. May be called twice.

        Farms are told that the run is over, and end, unless it was interrupted.
        """
        self._is_stopped = True
        if self._gateway is not None:
            self._gateway.is_last = not self._is_interrupted
        self._parts.close()

    def _check_running(self, what: str) -> None:
        if self._is_stopped:
            raise ValueError(
                f"{what}() after stop(): the runners and learners of this algorithm are gone; make a new one "
                "with config.build() or Algorithm.from_checkpoint()"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_interrupted |= kind is not None
        self.stop()


def _recorded_config(tree: Any, path: Path | str) -> AlgorithmConfig[Any]:  # noqa: ANN401 - a tree of any shape
    from outrider.algorithm.algorithms import config_from_json

    try:
        return config_from_json(tree["algorithm"], tree["settings"])
    except FunctionNotFoundError as error:
        raise CheckpointError(
            f"checkpoint {path} was made with a function that is not here: {error}; give "
            "Algorithm.from_checkpoint the config of the run, config=..."
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} has settings that cannot be read: {error}; give "
            "Algorithm.from_checkpoint the config of the run, config=..."
        ) from None
