"""Says in a sentence what holds a run up, and which dial to turn.

    who waits                          the bottleneck is
    ----------------------------------------------------------------------------------
    learners, and runners do not       sampling: environments or policy calls
    runners, and learners do not       learning
    both, by turns                     the order: `sample_ahead` lets them work side by side; where that
                                       gains little, the one that works longer
    both, at the same time             the machine, or what lies between: fragments that are too small
    nobody                             the machine, or nothing: turn both dials

While fewer runners are up than were asked for, that is what holds the run up.

Nothing here turns a dial: how many runners there are decides what they sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gymnasium.envs.registration import VectorizeMode

if TYPE_CHECKING:
    from outrider.algorithm.loops.shares import Shares
    from outrider.envrunner import EnvRunnerSettings
    from outrider.learner import LearnerGroupSettings

WAITS = 0.2
"""Who waits for more than this share of the time is held up."""
WORTH_OVERLAPPING = 0.2
"""Side by side, at most the smaller of the two shares of work is gained; below this it is not worth a lag."""
BUSY = 0.9
"""A machine whose cores work for more than this share of the time has none left."""
SLOW_STEP_S = 1e-3
"""From this length of one step on, stepping copies in processes of their own is worth their overhead."""
MANY_COPIES = 32
"""With so many copies for a runner a policy call is shared enough; more make its step longer."""


def bottleneck(
    shares: Shares,
    *,
    env_runners: EnvRunnerSettings,
    learners: LearnerGroupSettings,
    is_asynchronous: bool,
    num_runners_up: int | None = None,
    cores_busy: float | None = None,
) -> str:
    """Return who waits, why, and the dial to turn.

    `num_runners_up` is how many runners there are now; None stands for all.
    `cores_busy` is the share of the time in which this machine's cores worked; None where it is not
    known or other machines work too.
    """
    has_cores = cores_busy is None or cores_busy < BUSY
    to_sample = _to_sample_faster(shares, env_runners, has_cores=has_cores)
    to_learn = _to_learn_faster(learners, has_cores=has_cores)
    if env_runners.num_env_runners == 0:
        return _takes(shares, to_sample=to_sample, to_learn=to_learn)
    if num_runners_up is not None and num_runners_up < env_runners.num_env_runners:
        return _too_few(num_runners_up, env_runners)
    if shares.runner_wait > WAITS and shares.learner_wait > WAITS:
        is_side_by_side = is_asynchronous or env_runners.sample_ahead
        return (
            _both_wait_side_by_side(shares, has_cores=has_cores)
            if is_side_by_side
            else _both_wait_by_turns(shares, to_sample=to_sample, to_learn=to_learn)
        )
    if shares.learner_wait > WAITS:
        return f"the learner waits {shares.learner_wait:.0%} of the time for fragments: {to_sample}"
    if shares.runner_wait > WAITS:
        return f"runners wait {shares.runner_wait:.0%} of the time for the learner: {to_learn}"
    farms = ", and start more farm runners" if env_runners.num_seats else ""
    more = f"raise num_env_runners and num_learners together{farms}" if has_cores else _MORE_MACHINES
    return f"runners and learner hardly wait: {more}"


def _too_few(num_up: int, env_runners: EnvRunnerSettings) -> str:
    up = f"{num_up} of {env_runners.num_env_runners} runners are up"
    if env_runners.num_own_env_runners == 0:
        return f"{up}: start more farm runners (outrider-farm --runners N)"
    if env_runners.num_seats:
        return f"{up}: the others are still starting, or are farm runners that have not joined; start those"
    return f"{up}: the others are still starting, or were lost and are made anew"


def _more_runners(env_runners: EnvRunnerSettings) -> str:
    if env_runners.num_seats:
        return "raise num_env_runners and start more farm runners"
    return "raise num_env_runners"


def _both_wait_side_by_side(shares: Shares, *, has_cores: bool) -> str:
    if not has_cores:
        return f"{_waits(shares)}: {_MORE_MACHINES}"
    return f"{_waits(shares)}: raise rollout_fragment_length, so that fewer and larger fragments travel"


def _both_wait_by_turns(shares: Shares, *, to_sample: str, to_learn: str) -> str:
    if min(shares.runner_work, shares.learner_work) >= WORTH_OVERLAPPING:
        return f"{_waits(shares)}, by turns: set sample_ahead=True, so that they work side by side"
    return _takes(shares, to_sample=to_sample, to_learn=to_learn)


def _takes(shares: Shares, *, to_sample: str, to_learn: str) -> str:
    if shares.learner_work > shares.runner_work:
        return f"learning takes {shares.learner_work:.0%} of the time: {to_learn}"
    return f"sampling takes {shares.runner_work:.0%} of the time: {to_sample}"


def _waits(shares: Shares) -> str:
    return f"runners wait {shares.runner_wait:.0%} and the learner {shares.learner_wait:.0%} of the time"


_MORE_MACHINES = "all cores of this machine are busy, and more machines are the next dial (ray_address)"


def _to_sample_faster(shares: Shares, env_runners: EnvRunnerSettings, *, has_cores: bool) -> str:
    num_copies, more = env_runners.num_envs_per_env_runner, _more_runners(env_runners)
    if shares.policy > shares.environment and num_copies < MANY_COPIES:
        return "raise num_envs_per_env_runner, as choosing actions is most of a step and serves all copies"
    if not has_cores:
        return _MORE_MACHINES
    if env_runners.gym_env_vectorize_mode is VectorizeMode.SYNC and shares.env_step_s >= SLOW_STEP_S:
        step = f"a step takes {1000 * shares.env_step_s:.3g} ms"
        if num_copies > 1:
            return f"set gym_env_vectorize_mode=ASYNC, as {step} and copies take turns; or {more}"
        return f"{more}, or num_envs_per_env_runner with ASYNC, as {step}"
    return more


def _to_learn_faster(learners: LearnerGroupSettings, *, has_cores: bool) -> str:
    if learners.num_gpus_per_learner > 0:
        return "raise num_learners"
    if has_cores:
        return "give the learner a GPU (num_gpus_per_learner=1) or raise num_learners"
    return "give the learner a GPU (num_gpus_per_learner=1), as all cores of this machine are busy"
