from __future__ import annotations

import errno
import io
import json
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from outrider.envrunner.farm.dial_again import BackOff
from outrider.envrunner.farm.farm import Farm
from outrider.envrunner.farm.farm_log import FarmLog
from outrider.envrunner.farm.runner_orders import DIAL, DRAIN, RunnerOrders

ORDERS = RunnerOrders(
    address="trainer:1", name="farm", component="outrider-farm", environment={}, drain_s=30.0
)
KILLED = -9


class FakeProcess:
    """A runner's process that does what a test says, through real pipes."""

    def __init__(self, orders: RunnerOrders, output: int) -> None:
        assert orders.events is not None
        self.name, self.session = orders.name, orders.session
        self.stdin = io.BytesIO()
        self.was_drained = False
        self.code: int | None = None
        self._events, self._output = os.dup(orders.events), os.dup(output)

    def tell(self, event: str, text: str = "", **more: Any) -> None:
        os.write(self._events, json.dumps({"event": event, "text": text, **more}).encode() + b"\n")

    def print(self, line: str, *, end: str = "\n") -> None:
        os.write(self._output, f"{line}{end}".encode())

    def end(self, code: int = 0, ending: str | None = None, text: str = "") -> None:
        if ending is not None:
            self.tell("ended", text, ending=ending)
        self.was_drained = self.stdin.getvalue().endswith(DRAIN)
        self.code = code
        os.close(self._output)
        os.close(self._events)

    def kill(self) -> None:
        if self.code is None:
            self.end(KILLED)

    def poll(self) -> int | None:
        return self.code

    def wait(self) -> int:
        assert self.code is not None
        return self.code


class Stage:
    """A farm of two, and a script: what happens whenever it has nothing to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.processes: list[FakeProcess] = []
        self.printed: list[str] = []
        self.num_too_many = 0
        """Starts that fail from now on."""
        log = FarmLog(as_json=False, write=self.printed.append, write_error=self.printed.append)
        self.farm = Farm(ORDERS, log, num_runners=2, start=self._start, clock=lambda: self.now)

    @property
    def text(self) -> str:
        return "".join(self.printed)

    def _start(self, orders: RunnerOrders, output: int) -> Any:
        if self.num_too_many:
            self.num_too_many -= 1
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self.processes.append(FakeProcess(orders, output))
        return self.processes[-1]

    def run(self, *script: Callable[[], object]) -> int:
        """Run the farm, and do one thing of the script on each of its rounds."""
        steps = iter(script)
        wait = self.farm._wait

        def act_and_wait(woken: int) -> None:
            next(steps, lambda: pytest.fail("the script is over and the farm is not"))()
            for _ in range(3):  # what was written, and its end
                wait(woken)

        self.farm._next_deadline = lambda: self.now  # type: ignore[method-assign]
        self.farm._wait = act_and_wait  # type: ignore[method-assign]
        return self.farm.run()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def signal(self) -> None:
        self.farm._count_signal()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    for process in stage.processes:
        process.kill()


def test_each_runner_gets_a_name_of_its_own(stage: Stage) -> None:
    stage.run(lambda: stage.processes[0].end(0, "over"), lambda: stage.processes[1].end(0, "over"))
    assert [process.name for process in stage.processes] == ["farm runner 0", "farm runner 1"]


def test_a_farm_whose_run_is_over_drains_the_others_and_ends_well(stage: Stage) -> None:
    code = stage.run(
        lambda: stage.processes[0].end(0, "over", "thank you"), lambda: stage.processes[1].end(0, "drained")
    )
    assert code == 0
    assert stage.processes[1].was_drained
    assert stage.printed == ["outrider-farm: thank you\n"]


def test_a_killed_runner_is_started_anew_after_a_pause(stage: Stage) -> None:
    code = stage.run(
        lambda: stage.processes[0].end(KILLED),
        lambda: stage.pass_time(1.0),
        lambda: None,
        lambda: stage.processes[2].end(0, "over"),
        lambda: stage.processes[1].end(0, "drained"),
    )
    assert code == 0
    assert stage.processes[2].name == "farm runner 0"
    assert "runner 0: its process was killed by SIGKILL; it is started anew in" in stage.printed[0]


def test_who_takes_the_place_of_a_killed_runner_knows_its_session(stage: Stage) -> None:
    stage.run(
        lambda: [stage.processes[i].tell("seated", session=f"of {i}") for i in range(2)],
        lambda: stage.processes[1].end(KILLED),
        lambda: stage.pass_time(1.0),
        lambda: None,
        stage.signal,
        stage.signal,
    )
    assert [process.session for process in stage.processes] == ["", "", "of 1"]


def test_a_runner_that_fails_after_it_was_connected_is_started_anew(stage: Stage) -> None:
    code = stage.run(
        lambda: stage.processes[0].tell("connected", "connected to a trainer"),
        lambda: stage.processes[0].end(1, "failed", "no licence"),
        lambda: stage.pass_time(1.0),
        lambda: None,
        lambda: stage.processes[2].end(0, "over"),
        lambda: stage.processes[1].end(0, "drained"),
    )
    assert code == 0
    assert "runner 0: no licence; it is started anew" in stage.printed[1]


def test_that_a_runner_is_started_anew_is_said_of_one_now_and_then(stage: Stage) -> None:
    stage.run(
        lambda: [process.tell("connected") for process in stage.processes],
        lambda: [process.end(1, "failed", "no licence") for process in stage.processes],
        lambda: stage.pass_time(12.0),
        lambda: None,
        lambda: stage.processes[2].end(1, "failed", "no licence"),
        stage.signal,
        lambda: stage.processes[3].end(0, "drained"),
    )
    said = [line for line in stage.printed if "no licence" in line]
    assert [line.count("(and so were 1 others since this was said)") for line in said] == [0, 1]


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def test_who_fails_again_after_a_fragment_or_two_is_started_anew_ever_later(stage: Stage) -> None:
    stage.farm._members[0].back_off = BackOff(Longest())

    def sample_and_fail() -> None:
        stage.processes[-1].tell("sampled", steps=1, version=1)
        stage.processes[-1].end(1, "failed", "rewards are NaN")

    stage.run(
        lambda: stage.processes[0].tell("connected"),
        lambda: (
            stage.processes[0].tell("sampled", steps=1, version=1),
            stage.processes[0].end(1, "failed", "NaN"),
        ),
        lambda: stage.pass_time(12.0),
        lambda: None,
        sample_and_fail,
        lambda: stage.pass_time(2.0),
        lambda: stage.pass_time(60.0),
        sample_and_fail,
        stage.signal,
        lambda: stage.processes[1].end(0, "drained"),
    )
    pauses = [line.rpartition(" in ")[2].strip() for line in stage.printed if "anew" in line]
    assert pauses == ["0.5 s", "1.0 s", "0.5 s"]


@pytest.mark.parametrize(("ending", "code"), [("failed", 1), ("unusable", 2), ("refused", 3), ("gave up", 4)])
def test_what_would_happen_to_every_runner_ends_the_farm(stage: Stage, ending: str, code: int) -> None:
    assert stage.run(lambda: stage.processes[0].end(code, ending, "too old")) == code
    assert stage.printed == ["outrider-farm: too old\n"]
    assert stage.processes[1].code == KILLED


def test_a_process_that_cannot_even_begin_ends_the_farm(stage: Stage) -> None:
    assert stage.run(lambda: stage.processes[0].end(1)) == 1
    assert stage.printed == ["outrider-farm: its process ended with exit code 1\n"]


def test_a_signal_drains_all_runners(stage: Stage) -> None:
    code = stage.run(
        stage.signal,
        lambda: stage.processes[0].end(0, "drained"),
        lambda: stage.processes[1].end(0, "drained"),
    )
    assert code == 0
    assert all(process.was_drained for process in stage.processes)
    assert stage.printed[-1] == "outrider-farm: drained\n"


def test_a_second_signal_kills_them(stage: Stage) -> None:
    assert stage.run(stage.signal, stage.signal) == 1
    assert [process.code for process in stage.processes] == [KILLED, KILLED]
    assert stage.printed[-1] == "outrider-farm: stopped at once\n"


def test_who_does_not_drain_in_time_is_killed(stage: Stage) -> None:
    code = stage.run(stage.signal, lambda: stage.pass_time(34.9), lambda: stage.pass_time(0.2))
    assert code == 0
    assert [process.code for process in stage.processes] == [KILLED, KILLED]
    assert stage.printed[-1] == (
        "outrider-farm: drained, and runners killed with what they were asked for, because they took longer "
        "than --drain-timeout 30: 2\n"
    )


def test_a_runner_that_dies_is_noticed_though_a_process_of_its_environment_outlives_it(stage: Stage) -> None:
    copies: list[int] = []
    stage.run(
        lambda: stage.processes[0].tell("connected"),
        lambda: copies.append(os.dup(stage.processes[0]._events)),
        lambda: stage.processes[0].end(KILLED),
        lambda: stage.pass_time(1.0),  # it is looked
        lambda: stage.pass_time(1.0),  # it is started anew
        lambda: None,
        stage.signal,
        stage.signal,
    )
    os.close(copies[0])
    assert [process.name for process in stage.processes[2:]] == ["farm runner 0"]


def test_a_runner_that_cannot_be_started_for_now_is_started_later(stage: Stage) -> None:
    stage.run(
        lambda: stage.processes[0].tell("connected"),
        lambda: stage.processes[0].end(KILLED),
        lambda: setattr(stage, "num_too_many", 1),
        lambda: stage.pass_time(12.0),
        lambda: stage.pass_time(12.0),
        lambda: None,
        stage.signal,
        stage.signal,
    )
    assert len(stage.processes) == 3
    assert "runner 0: its process cannot be started: Cannot allocate memory; it is" in stage.text


def test_a_runner_for_whom_there_are_too_few_pipes_leaves_none_open(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    closed: list[int] = []
    make, close = os.pipe, os.close

    def pipe() -> tuple[int, int]:
        if len(made) == 4:  # one for signals and one of two for the runner
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        made.extend(make())
        return made[-2], made[-1]

    def note_and_close(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "pipe", pipe)
    monkeypatch.setattr(os, "close", note_and_close)
    assert stage.run(lambda: None) == 1
    assert stage.text.endswith("cannot be started: Too many open files\n")
    assert sorted(closed) == sorted(made)


def test_a_farm_of_which_no_process_can_be_started_says_why(stage: Stage) -> None:
    stage.num_too_many = 1
    assert stage.run(lambda: None) == 1
    assert stage.printed == ["outrider-farm: its process cannot be started: Cannot allocate memory\n"]


def test_of_a_line_without_an_end_only_the_last_is_kept(stage: Stage) -> None:
    stage.run(
        *[lambda: stage.processes[1].print("x" * 1000, end="\r")] * 200,
        lambda: stage.processes[1].print("100 %"),
        stage.signal,
        stage.signal,
    )
    (line,) = [line for line in stage.printed if "runner 1" in line]
    assert line.endswith("x\r100 %\n")
    assert len(line) < 70_000


def test_what_a_runner_prints_is_passed_on_with_its_number(stage: Stage) -> None:
    stage.run(
        lambda: stage.processes[1].print("the joints are stiff"),
        stage.signal,
        stage.signal,
    )
    assert "outrider-farm: runner 1: the joints are stiff\n" in stage.printed


def test_its_speed_is_said_every_ten_seconds(stage: Stage) -> None:
    stage.run(
        lambda: stage.processes[0].tell("connected", "connected to a trainer"),
        lambda: stage.processes[0].tell("seated", session="s"),
        lambda: stage.processes[0].tell("sampled", steps=50_000, version=7),
        lambda: stage.processes[0].tell("sampled", steps=73_450, version=8),
        lambda: stage.pass_time(10.0),
        stage.signal,
        stage.signal,
    )
    assert (
        "outrider-farm: 1 of 2 runners connected, 12,345 environment steps/s, weights version 8, "
        "reconnects: 0, restarts: 0\n"
    ) in stage.printed


def test_a_runner_that_is_started_anew_connects_and_does_not_reconnect(stage: Stage) -> None:
    stage.run(
        lambda: stage.processes[0].tell("connected"),
        lambda: stage.processes[0].tell("connected"),
        lambda: stage.processes[0].end(KILLED),
        lambda: stage.pass_time(10.0),
        lambda: stage.processes[-1].tell("connected"),
        lambda: stage.pass_time(10.0),
        stage.signal,
        stage.signal,
    )
    assert "reconnects: 1, restarts: 1" in [line for line in stage.printed if "steps/s" in line][-1]


def test_a_runner_that_is_drained_before_it_has_dialled_ends_without_a_word(stage: Stage) -> None:
    stage.run(
        lambda: None,
        stage.signal,
        lambda: [process.end(0) for process in stage.processes],
    )
    assert stage.printed[-2:] == [
        "outrider-farm: finishing what the gateway has asked for; one more signal stops at once\n",
        "outrider-farm: drained\n",
    ]


def test_runners_that_wait_because_the_run_takes_no_more_are_said_to(stage: Stage) -> None:
    stage.run(
        lambda: [process.tell("connected") for process in stage.processes],
        lambda: stage.processes[1].tell("seated", session="s"),
        lambda: stage.pass_time(10.0),
        stage.signal,
        stage.signal,
    )
    assert any(
        "2 of 2 runners connected (1 waiting for a free seat in the run), 0" in each for each in stage.printed
    )


def test_who_is_connected_is_known(stage: Stage) -> None:
    seen = []
    stage.run(
        lambda: stage.processes[0].tell("connected", "a"),
        lambda: seen.append(stage.farm.num_connected),
        lambda: stage.processes[0].tell("lost", "b"),
        lambda: seen.append(stage.farm.num_connected),
        stage.signal,
        stage.signal,
    )
    assert seen == [1, 0]


def test_that_there_is_no_gateway_is_not_said_by_every_runner(stage: Stage) -> None:
    stage.run(
        lambda: [process.tell("waits", "nobody listens") for process in stage.processes],
        lambda: stage.pass_time(5.0),
        lambda: stage.processes[0].tell("waits", "nobody listens"),
        stage.signal,
        stage.signal,
    )
    assert len([line for line in stage.printed if "nobody listens" in line]) == 2


def test_that_a_run_stops_and_its_versions_are_said_once(stage: Stage) -> None:
    stage.run(
        lambda: [
            process.tell("connected", "connected to a run (wire 1, rl 2) at x") for process in stage.processes
        ],
        lambda: [process.tell("parted", "the run was stopped") for process in stage.processes],
        stage.signal,
        stage.signal,
    )
    assert [line.removeprefix("outrider-farm: ").strip() for line in stage.printed[:3]] == [
        "runner 0: connected to a run (wire 1, rl 2) at x",
        "runner 1: connected to a run at x",
        "the run was stopped",
    ]
    assert len([line for line in stage.printed if "stopped" in line]) == 2  # the last one is of the signal


def test_a_runner_that_finds_the_gateway_wakes_the_others(stage: Stage) -> None:
    written: list[bytes] = []
    stage.run(
        lambda: stage.processes[0].tell("connected", "connected"),
        lambda: written.extend(process.stdin.getvalue() for process in stage.processes),
        stage.signal,
        stage.signal,
    )
    assert written == [b"", DIAL]
