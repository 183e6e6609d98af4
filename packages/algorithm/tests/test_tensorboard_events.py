from __future__ import annotations

import errno
import struct
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from outrider.algorithm.saved.whole_file import NotWrittenError
from outrider.algorithm.views.tensorboard_events import TensorBoardEvents

ALGORITHM: Any = None


def written(directory: Path) -> list[Event]:
    """Return the events of the only file: each is length, checksum, event, checksum."""
    [path] = directory.glob("events.out.tfevents.*")
    content, found = path.read_bytes(), []
    while content:
        [length] = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def scalars(directory: Path) -> dict[str, tuple[int, float]]:
    """Return step and value of each scalar in the event file."""
    return {
        value.tag: (event.step, value.simple_value)
        for event in written(directory)
        for value in event.summary.value
    }


def test_each_finite_number_is_a_scalar_against_environment_steps(tmp_path: Path) -> None:
    with TensorBoardEvents(tmp_path) as events:
        result = {
            "num_env_steps": 64,
            "iteration": 1,
            "learner/entropy": 0.5,
            "learner/kl": float("nan"),
            "a": "b",
        }
        events.on_train_result(ALGORITHM, result)
        events.on_checkpoint(ALGORITHM, tmp_path)
        assert scalars(tmp_path) == {
            "run/num_env_steps": (64, 64.0),
            "run/iteration": (64, 1.0),
            "learner/entropy": (64, 0.5),
        }


def test_tensorboard_is_told_where_a_run_goes_on(tmp_path: Path) -> None:
    with TensorBoardEvents(tmp_path) as events:
        for num_env_steps in (64, 128):
            events.on_train_result(ALGORITHM, {"num_env_steps": num_env_steps})
    starts = [event.step for event in written(tmp_path) if event.session_log.status == SessionLog.START]
    assert starts == [64]


def test_a_list_of_counts_is_a_histogram_of_whole_numbers(tmp_path: Path) -> None:
    with TensorBoardEvents(tmp_path) as events:
        events.on_train_result(ALGORITHM, {"num_env_steps": 64, "staleness_histogram": [2, 0, 1]})
        events.on_checkpoint(ALGORITHM, tmp_path)
        [histogram] = [
            value.histo
            for event in written(tmp_path)
            for value in event.summary.value
            if value.tag == "run/staleness_histogram"
        ]
    assert (histogram.num, histogram.sum, histogram.max) == (3, 2, 2)
    assert list(histogram.bucket) == [2, 0, 1]
    assert list(histogram.bucket_limit) == [0.5, 1.5, 2.5]


class FullDisk:
    """What writes events until a disk is full."""

    def full(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_event = flush = close = full


def test_a_full_disk_is_one_sentence_also_where_the_writer_closes(tmp_path: Path) -> None:
    events: Any = TensorBoardEvents(tmp_path)
    events._writer.close()
    events._writer = FullDisk()
    with pytest.raises(NotWrittenError, match="events was not written: the disk is full"), events:
        events.on_train_result(ALGORITHM, {"num_env_steps": 64})
    with pytest.raises(NotWrittenError, match="events was not written: the disk is full"), events:
        events.on_checkpoint(ALGORITHM, tmp_path)
