from __future__ import annotations

import os
import threading

import pytest

from outrider.transport.grpc_loop import network_loop, wait_for


async def name_of_thread() -> str:
    return threading.current_thread().name


def test_all_run_on_one_thread() -> None:
    assert {wait_for(name_of_thread) for _ in range(3)} == {"outrider-network"}


def test_a_forked_process_is_told_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    network_loop()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match=r"forked from one that uses gRPC.*get_context"):
        network_loop()
