from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from outrider.algorithm import Outcome, PPOConfig, RunDirectory, TrainingRun

MakeAlgorithm = Callable[..., Any]


class Recorder:
    """Remembers what a run told it, and can interrupt it."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.told: list[str] = []
        self._interrupt_at = interrupt_at

    def on_train_result(self, algorithm: Any, result: Mapping[str, Any]) -> None:
        self.told.append(f"result {result['iteration']}")
        if result["iteration"] == self._interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)

    def on_checkpoint(self, algorithm: Any, path: Path) -> None:
        self.told.append(path.name)

    def on_stop(self, algorithm: Any, reason: str) -> None:
        self.told.append(reason)


def run(algorithm: Any, path: Path, *callbacks: Any) -> tuple[Outcome, RunDirectory]:
    directory = RunDirectory.create(path, {})
    return TrainingRun(algorithm, directory, callbacks=callbacks).run(), directory


def config(**stop: Any) -> PPOConfig:
    return PPOConfig().stopping(**stop)


def test_a_run_ends_with_a_checkpoint_and_an_evaluation(
    make_algorithm: MakeAlgorithm, tmp_path: Path
) -> None:
    recorder = Recorder()
    outcome, directory = run(make_algorithm(config(iterations=2)), tmp_path / "run", recorder)
    assert recorder.told == ["result 1", "result 2", "iteration-000002", "2 iterations done"]
    assert outcome.reason == "2 iterations done"
    assert outcome.evaluation is not None
    assert outcome.evaluation["episode_return_mean"] == 2.0
    assert outcome.checkpoint == directory.latest_checkpoint()
    assert [line["iteration"] for line in directory.progress()] == [1, 2]


class Half:
    def on_train_result(self, algorithm: Any, result: Mapping[str, Any]) -> None: ...


def test_a_callback_without_all_methods_is_refused_before_the_run(
    make_algorithm: MakeAlgorithm, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"Half .* lacks one of the methods on_train_result, on_check"):
        run(make_algorithm(config(iterations=1)), tmp_path / "refused", Half())


def test_checkpoints_are_written_on_the_way_and_the_oldest_deleted(
    make_algorithm: MakeAlgorithm, tmp_path: Path
) -> None:
    settings = config(iterations=4).checkpointing(checkpoint_interval_s=0, num_checkpoints_to_keep=2)
    _, directory = run(make_algorithm(settings), tmp_path / "run")
    assert [path.name for path in directory.checkpoints()] == ["iteration-000003", "iteration-000004"]


def test_evaluations_at_an_interval_and_at_the_end_stand_in_the_progress(
    make_algorithm: MakeAlgorithm, tmp_path: Path
) -> None:
    settings = config(iterations=5).evaluation(evaluation_interval=2, evaluation_duration=3)
    algorithm = make_algorithm(settings)
    _, directory = run(algorithm, tmp_path / "run")
    evaluated = [line.get("evaluation/episode_return_mean") for line in directory.progress()]
    assert evaluated == [None, 2.0, None, 4.0, 5.0]
    assert algorithm.evaluator.num_episodes == [3, 3, 3]


def test_the_threshold_is_confirmed_by_a_look_and_then_an_evaluation(
    make_algorithm: MakeAlgorithm, tmp_path: Path
) -> None:
    algorithm = make_algorithm(reward_threshold=4.0)
    algorithm.runners.returns = lambda number: [4.0]
    outcome, _ = run(algorithm, tmp_path / "run")
    assert outcome.reason == "evaluated return 4 reached 4"
    assert algorithm.evaluator.num_episodes[-2:] == [20, 100]
    assert set(algorithm.evaluator.num_episodes[:-1]) == {20}


def test_an_interrupted_run_leaves_a_checkpoint_and_no_evaluation(
    make_algorithm: MakeAlgorithm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    algorithm = make_algorithm()
    outcome, directory = run(algorithm, tmp_path / "run", Recorder(interrupt_at=2))
    assert outcome.reason == "interrupted by SIGINT"
    assert outcome.interrupted_by == signal.SIGINT
    assert outcome.evaluation is None
    assert directory.latest_checkpoint().name == "iteration-000002"
    assert algorithm.evaluator.num_episodes == []
    assert "stopping after this iteration" in capsys.readouterr().err


def test_an_interruption_within_an_evaluation_ends_it_at_once(
    make_algorithm: MakeAlgorithm, tmp_path: Path
) -> None:
    algorithm = make_algorithm(config(iterations=9).evaluation(evaluation_interval=3))
    algorithm.evaluator.before = lambda: os.kill(os.getpid(), signal.SIGTERM)
    outcome, directory = run(algorithm, tmp_path / "run")
    assert outcome.reason == "interrupted by SIGTERM"
    assert algorithm.evaluator.num_episodes == []
    assert algorithm.runners.is_interrupted
    assert directory.latest_checkpoint().name == "iteration-000003"


def test_an_interruption_while_runners_are_waited_for_ends_the_run_with_a_checkpoint_to_go_on_from(
    make_algorithm: MakeAlgorithm, tmp_path: Path
) -> None:
    algorithm = make_algorithm()
    algorithm.runners.before = lambda: os.kill(os.getpid(), signal.SIGTERM)
    outcome, directory = run(algorithm, tmp_path / "run")
    assert outcome.reason == "interrupted by SIGTERM"
    assert directory.latest_checkpoint().name == "iteration-000000"
    assert directory.progress() == []


def test_a_second_interruption_stops_at_once(make_algorithm: MakeAlgorithm, tmp_path: Path) -> None:
    class Twice(Recorder):
        def on_train_result(self, algorithm: Any, result: Mapping[str, Any]) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(make_algorithm(), tmp_path / "run", Twice())
    assert signal.getsignal(signal.SIGINT) is before


def test_weights_that_went_with_their_node_cost_an_evaluation_and_not_the_run(
    make_algorithm: MakeAlgorithm, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    algorithm = make_algorithm(config(iterations=1))
    iterate = algorithm._loop.iterate

    def lose_weights() -> Any:
        iteration = iterate()
        gone = Mock(version=1)
        gone.load.side_effect = ConnectionError("version 1 of the weights is gone")
        algorithm._loop._weights = gone
        return iteration

    algorithm._loop.iterate = lose_weights
    outcome, _ = run(algorithm, tmp_path / "run")
    assert outcome.evaluation is None
    assert "an evaluation is left out: version 1 of the weights is gone" in caplog.text


def test_progress_is_json_without_nan(make_algorithm: MakeAlgorithm, tmp_path: Path) -> None:
    algorithm = make_algorithm(config(iterations=1))
    algorithm.learner.update = lambda _: {"loss": float("nan")}
    _, directory = run(algorithm, tmp_path / "run")
    line = json.loads(directory.progress_path.read_text(), parse_constant=pytest.fail)
    assert line["learner/loss"] is None


def test_a_run_in_a_thread_trains_without_signals(make_algorithm: MakeAlgorithm, tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    algorithm = make_algorithm(config(iterations=1))
    thread = threading.Thread(target=lambda: outcomes.append(run(algorithm, tmp_path / "run")[0]))
    thread.start()
    thread.join()
    assert outcomes[0].reason == "1 iteration done"
