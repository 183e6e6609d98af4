from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from outrider.transport.health import Health


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_probes_are_answered(is_ready: bool, status: int) -> None:
    health = Health(0, lambda: (is_ready, "2 runners connected"))
    try:
        assert answer(health, "/healthz") == (200, "alive\n")
        assert answer(health, "/readyz") == (status, "2 runners connected\n")
        assert answer(health, "/") == (404, "there are /healthz and /readyz\n")
    finally:
        health.close()


def answer(health: Health, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{health.port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
