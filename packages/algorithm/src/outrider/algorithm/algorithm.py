"""What one can do with an algorithm: train it, evaluate it, save it, take its policy out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from outrider.algorithm.loops.totals import Totals
from outrider.algorithm.policies.several_policies import PoliciesByName
from outrider.algorithm.saved.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from outrider.algorithm.settings.setting_value import FunctionNotFoundError, to_json
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.weights_loading import saying_that_weights_are_lost

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from outrider.algorithm.assembly.algorithm_parts import AlgorithmParts
    from outrider.algorithm.policies.several_policies import SeveralPolicies
    from outrider.algorithm.saved.saved_along import SavedAlong
    from outrider.algorithm.settings.run_settings import RunSettings
    from outrider.envrunner.sampling.video import FilmedEpisode
    from outrider.rlmodule import Policy
    from outrider.wire import AgentEpisodes, Weights

_LOGGER = logging.getLogger(__name__)


class Configuration(Protocol):
    """What says how a run is set, such as `PPOConfig`."""

    @property
    def settings(self) -> RunSettings:
        """All settings."""
        ...


class Algorithm:
    """Trains one policy, or several (see `policies`).

    Made by `config.build()`; close it with `stop()` or by leaving a `with` block.
    """

    def __init__(self, parts: AlgorithmParts) -> None:
        """Take the parts over, and close them in the end."""
        self.settings = parts.settings
        self.reward_threshold = parts.reward_threshold
        """Mean return from which the environment counts as solved; None where it is registered without."""
        self._parts = parts
        self._loop = parts.loop
        self._several = parts.several
        self._policy_version: int | None = None
        self._is_stopped = self._is_interrupted = False
        self._totals = Totals(parts.settings, num_env_steps_per_fragment=parts.num_env_steps_per_fragment)
        self._saved_along: dict[str, SavedAlong] = {}
        self._unclaimed: dict[str, Any] = {}
        self._has_warned = False

    @property
    def name(self) -> str:
        """Which algorithm it is, as the command line has it."""
        return self.settings.algorithm

    def train(self) -> dict[str, Any]:
        """Run one iteration of the loop and return its metrics (see `outrider.algorithm.loops.totals`).

        Returns of episodes are nan before the first one has ended.

        The loop is `outrider.algorithm.loops.synchronous` (collect, learn, publish) or
        `outrider.algorithm.loops.asynchronous` (all three at once). Raises ValueError after `stop`, and
        WaitInterruptedError after `interrupt`.
        """
        self._check_running("train")
        self._warn_of_unclaimed()
        if self._several is None:
            return self._totals.add(self._loop.iterate())
        with self._several.names_said().during_an_update():
            iteration = self._loop.iterate()
        return self._totals.add(iteration) | self._several.results(iteration)

    def evaluate(
        self, num_episodes: int | None = None, *, seed: int | None = None, explore: bool = False
    ) -> dict[str, Any]:
        """Play episodes from fixed seeds on, with most likely actions, and return their metrics.

        With `explore` actions are drawn as in training, from the seed, too: where neither game nor policies
        draw, all episodes are the same otherwise. What is not given stands in the evaluation settings.
        Training is not touched: neither its environments nor its random numbers.
        """
        settings = self.settings.evaluation
        return self._parts.evaluator.evaluate(
            self._newest_weights(),
            num_episodes=settings.evaluation_duration if num_episodes is None else num_episodes,
            seed=settings.evaluation_seed if seed is None else seed,
            explore=explore,
        )

    def record_video(self, path: Path | str, *, seed: int | None = None) -> FilmedEpisode:
        """Film the first episode of `evaluate` as an .mp4 file, and say where it is and how it went."""
        seed = self.settings.evaluation.evaluation_seed if seed is None else seed
        return self._parts.evaluator.record_video(self._newest_weights(), Path(path), seed=seed)

    @property
    def policy(self) -> Policy:
        """The module that learns, with the newest weights: an `outrider.rlmodule.Policy`.

        It may be a copy of the one that learners elsewhere train: changing it changes no training. Raises
        ValueError where there are several.
        """
        policy = self._parts.policy
        if policy is None:
            assert self._several is not None
            raise ValueError(
                f"this run has {len(self._several.book)} policies by name; take one of "
                f"algorithm.policies, such as algorithm.policies[{next(iter(self.policies))!r}], or say "
                "which (export_policy(policy=NAME), outrider export --policy NAME)"
            )
        self._loop.settle()
        if self._policy_version != self._loop.weights.version:
            policy.load_weights(self._newest_weights())
            self._policy_version = self._loop.weights.version
        return policy

    @property
    def policies(self) -> Mapping[str, Policy]:
        """The policies by name, each made when it is asked for, a copy with the newest weights.

        Raises ValueError where there is one, which has no name.
        """
        return PoliciesByName(self._named("policies"), self._newest_weights)

    def _newest_weights(self) -> Weights:
        """Load those that a checkpoint would have now.

        Raises LostWeightsError where they went with the process or node that held them.
        """
        self._loop.settle()
        with saying_that_weights_are_lost():
            return self._loop.weights.load()

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        """Return metrics of all policies, each [P] in the order of `policies`.

        They are those of `outrider.algorithm.policies.policy_returns` and, of the newest update, those of
        `outrider.learner.metrics`; nan where a policy has none.
        """
        return self._named("policy_metrics").metrics()

    def add_policy(self, name: str, *, like: str | None = None) -> None:
        """Add a policy: a copy of the policy `like` and all that it goes on from, or a new one.

        It acts from the next fragment on, where the mapping returns it, and learns unless it is frozen.
        Raises ValueError for a name that is taken.
        """
        self._check_running("add_policy")
        self._named("add_policy").add(name, like=like)

    def remove_policy(self, name: str) -> None:
        """Remove a policy. Raises ValueError for one that still acts for an agent, as far as is known."""
        self._check_running("remove_policy")
        self._named("remove_policy").remove(name)

    def freeze(self, *names: str) -> None:
        """Let policies stay as they are, from the next update on."""
        self._named("freeze").freeze(names)

    def thaw(self, *names: str) -> None:
        """Let policies learn again, from where they stopped."""
        self._named("thaw").thaw(names)

    @property
    def frozen(self) -> Sequence[str]:
        """Names of the policies that do not learn."""
        return self._named("frozen").frozen

    def set_matchups(self, matchups: Sequence[tuple[float, Mapping[str, str]]]) -> None:
        """Draw who acts for whom in each episode that begins from now on.

        Each matchup has a weight and says which policy acts for which agent. Raises ValueError for an
        agent that is left out, and for a policy that there is not.
        """
        self._named("set_matchups").set_mapping(Matchups(tuple(matchups)))

    def set_policy_mapping_fn(self, policy_mapping_fn: Callable[..., str]) -> None:
        """Ask another function for episodes that begin from now on; see `MultiAgentSettings`."""
        self._named("set_policy_mapping_fn").set_mapping(policy_mapping_fn)

    @property
    def agents(self) -> Sequence[str]:
        """Names of all agents that may take part, by slot."""
        return self._named("agents").mapping.agents

    def policy_number(self, name: str) -> int:
        """Return the number of a policy, as episodes and fragments have it; no other ever gets it."""
        return self._named("policy_number").book[name].number

    @property
    def newest_agent_episodes(self) -> Sequence[AgentEpisodes]:
        """The episodes of agents that ended in the newest iteration, by fragment."""
        return self._named("newest_agent_episodes").newest_episodes

    def save_along(self, name: str, part: SavedAlong) -> bool:
        """Save the state of something of yours with every checkpoint, under a name of its own.

        Where the checkpoint that this algorithm came from has it, it is set now, and the answer is True.
        """
        if name in self._saved_along:
            raise ValueError(f"{name!r} is saved along already; choose another name")
        self._saved_along[name] = part
        if name not in self._unclaimed:
            return False
        part.set_state(self._unclaimed.pop(name))
        return True

    def _warn_of_unclaimed(self) -> None:
        if self._unclaimed and not self._has_warned:
            self._has_warned = True
            _LOGGER.warning(
                "the checkpoint has the state of %s, which goes on in a program that makes it again before "
                "train(); here training goes on without it, and keeps it in checkpoints",
                " and ".join(map(repr, self._unclaimed)),
            )

    def _named(self, what: str) -> SeveralPolicies:
        if self._several is None:
            raise ValueError(
                f"{what} is of runs with policies by name, and this one has one: algorithm.policy; give "
                "config.multi_agent(policies=...) for several"
            )
        return self._several

    @property
    def iteration(self) -> int:
        """Iterations done so far, those before a checkpoint included."""
        return self._totals.iteration

    def save(self, path: Path | str) -> Path:
        """Write a checkpoint to the directory `path`, whole or not at all, and return the path."""
        self._check_running("save")
        tree = {
            "algorithm": self.settings.algorithm,
            "settings": to_json(self.settings),
            "totals": self._totals.get_state(),
            **self._loop.get_state(),
            **({} if self._several is None else {"policies": self._several.get_state()}),
        }
        along = self._unclaimed | {name: part.get_state() for name, part in self._saved_along.items()}
        if along:
            tree["along"] = along
        return write_checkpoint(path, tree)

    @staticmethod
    def from_checkpoint(
        path: Path | str,
        *,
        config: Configuration | None = None,
        to_train: bool = True,
        run_name: str | None = None,
    ) -> Algorithm:
        """Build the algorithm that was saved at `path` and go on from there.

        `config` replaces the recorded settings: give it where the environment or a wrapper was a
        function of no module, or to go on with other settings. Without `to_train` there are neither
        runners nor learners, which evaluating and exporting do without. `run_name` is that of
        `config.build`. Raises CheckpointError.
        """
        from outrider.algorithm.assembly.assembly import assemble, assemble_to_evaluate
        from outrider.algorithm.saved.checkpointed_policy import check_policies_have_names, recorded_policies

        tree = read_checkpoint(path)
        settings = _recorded_settings(tree, path) if config is None else config.settings
        recorded = recorded_policies(tree)
        check_policies_have_names(path, recorded, wanted=settings.multi_agent.policies is not None)
        algorithm = Algorithm(
            assemble(settings, run_name=run_name, recorded=recorded)
            if to_train
            else assemble_to_evaluate(settings, recorded=recorded)
        )
        algorithm._restore(tree, path)
        return algorithm

    def _restore(self, tree: Any, path: Path | str) -> None:  # noqa: ANN401 - a tree of any shape
        try:
            self._loop.set_state({part: tree[part] for part in ("learner", "runners")})
            self._totals.set_state(tree["totals"])
            if self._several is not None:
                self._several.set_state(tree["policies"])
            self._unclaimed = dict(tree.get("along", {}))
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

    def export_policy(self, path: Path | str, *, policy: str | None = None) -> Path:
        """Write the policy as one ONNX file that needs nothing of Outrider, and return the path.

        Inputs are the observation's leaves; outputs are `action_parameters` and the most likely action
        in the environment's units. Where there are several policies, `policy` says which one.
        """
        from outrider.algorithm.saved.whole_file import write_whole
        from outrider.rlmodule import export_standalone

        path = Path(path)
        chosen = (
            self.policy if policy is None else self._named("policy=").policy(policy, self._newest_weights())
        )
        write_whole(path, export_standalone(chosen))
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
        if self._parts.gateway is not None:
            self._parts.gateway.is_last = not self._is_interrupted
        self._parts.to_close.close()

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


def _recorded_settings(tree: Any, path: Path | str) -> RunSettings:  # noqa: ANN401 - a tree of any shape
    from outrider.algorithm.settings.algorithm_settings import settings_from_json

    try:
        return settings_from_json(tree["algorithm"], tree["settings"])
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
