"""Flags that users of RLlib, Stable-Baselines3 and CleanRL type, and how the same is asked for here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = {
    "--env": "--env-id --env-name",
    "--num-env-runners": "--num-workers --num-rollout-workers --workers",
    "--num-envs-per-env-runner": "--num-envs --n-envs --num-envs-per-worker",
    "--rollout-fragment-length": "--num-steps --n-steps",
    "--train-batch-size-per-learner": "--train-batch-size",
    "--minibatch-size": "--batch-size --sgd-minibatch-size",
    "--num-epochs": "--n-epochs --epochs --update-epochs --num-sgd-iter",
    "--lr": "--learning-rate",
    "--lambda": "--gae-lambda",
    "--clip-param": "--clip-range --clip-coef",
    "--vf-loss-coeff": "--vf-coef",
    "--entropy-coeff": "--ent-coef",
    "--grad-clip": "--max-grad-norm",
    "--normalize-advantages": "--norm-adv",
    "--fcnet-hiddens": "--net-arch --hidden-sizes",
    "--stop-num-env-steps": "--total-timesteps --n-timesteps --timesteps --stop-timesteps --max-steps",
    "--stop-iterations": "--iterations --num-iterations --stop-iters",
    "--stop-evaluation-return-mean": "--stop-reward",
    "--evaluation-interval": "--eval-freq --eval-interval",
    "--evaluation-duration": "--eval-episodes --n-eval-episodes",
    "--num-checkpoints-to-keep": "--keep-checkpoints-num",
    "--run-dir": "--log-dir --log-folder --local-dir --output-dir --tensorboard-log --exp-name --run-name",
}
"""What it is called elsewhere, by our name."""

SENTENCES = {
    "`outrider resume RUN_DIR` goes on with a run": "--resume --restore --load --checkpoint --trained-agent",
    "`outrider evaluate RUN_DIR --video OUT.mp4` films an episode": (
        "--render --render-mode --video --record-video --capture-video"
    ),
    "a run leaves TensorBoard events, and metrics as JSON lines, in its directory": (
        "--wandb --track --wandb-project --wandb-project-name --mlflow"
    ),
    "checkpoints are written by the clock and at the end: --checkpoint-interval-s": (
        "--checkpoint-freq --checkpoint-frequency --checkpoint-at-end --save-freq --save-model"
    ),
    "a learner is given a GPU by --num-gpus-per-learner 1": "--gpu --gpus --num-gpus --cuda --device",
    "give the rows of one, --minibatch-size": "--num-minibatches",
    "--lr takes a schedule, such as '[[0, 3e-4], [500000, 0]]'": "--anneal-lr --lr-schedule",
    "the algorithm comes first, as in `outrider train ppo`": "--algo --algorithm --run",
}
"""What is no flag here, by what to do instead."""


def said_elsewhere(flag: str, flags: Iterable[str]) -> str | None:
    """Return the rest of a sentence that says what is asked for here instead of `flag`, if that is known.

    >>> said_elsewhere("--num-workers", ["--num-env-runners"])
    'it is --num-env-runners here'
    """
    typed = flag.replace("_", "-")
    ours = next((name for name, theirs in NAMES.items() if typed in theirs.split()), None)
    if ours is not None:
        return f"it is {ours} here" if ours in flags else None
    return next((sentence for sentence, theirs in SENTENCES.items() if typed in theirs.split()), None)
