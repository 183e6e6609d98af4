"""One Ray on this machine for all tests that need none of their own: each start takes seconds."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from javascript_peers import installed_node
from outrider.algorithm.cluster.demand import demand_of
from outrider.algorithm.cluster.ray_session import RaySession
from outrider.algorithm.settings.resource_settings import ResourceSettings
from outrider.envrunner import EnvRunnerSettings
from outrider.learner import LearnerGroupSettings

NUM_PROCESSES = 4
"""For which it is made; more find room too, since they share the cores."""


# Ray waits a second for a process of its own that it has killed, and then lets go of it without a word
# (`Node._kill_process_impl`): on a busy machine its Popen is collected as "still running". Whose the socket
# is was not found; it was seen when tests of Ray still shared their process with others. That no process
# stays behind is what tests of their own look for.
COLLECTED_LATE = (
    r"ignore:Exception ignored in. (<socket.socket .*laddr=..0.0.0.0., 0.>|<function Popen.__del__)"
    ":pytest.PytestUnraisableExceptionWarning"
)


def pytest_configure(config: pytest.Config) -> None:
    """Let processes that tests start import what test files share, as pytest's `pythonpath` lets tests."""
    kept = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([kept] if kept else [])])


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal to one process of tests those that share a Ray, a Node.js, or what their file sets up once.

    All others go singly to whoever is idle, last of all: pytest-xdist begins with the largest group.
    A Ray that is shared ends once, for those at the end that need there to be none.
    """
    ends_ray = {
        item.path: "no_ray" in fixtures(item) for item in items if fixtures(item) & {"local_ray", "no_ray"}
    }
    items.sort(key=lambda item: ends_ray.get(item.path, False))
    for item in items:
        is_ray = item.path in ends_ray or item.path.name.startswith("test_ray_")
        group = "ray" if is_ray else "node" if "node" in fixtures(item) else item.path.stem
        if group != item.path.stem or shares_with_its_file(item):
            item.add_marker(pytest.mark.xdist_group(group))
        if is_ray:
            item.add_marker(pytest.mark.filterwarnings(COLLECTED_LATE))


def fixtures(item: pytest.Item) -> set[str]:
    return set(item.fixturenames)  # type: ignore[attr-defined]


def shares_with_its_file(item: pytest.Item) -> bool:
    made = item._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
    return any(definition.scope in {"class", "module"} for definitions in made for definition in definitions)


@pytest.fixture(scope="session", autouse=True)
def folder_of_rays() -> Iterator[None]:
    """Keep what looks for a Ray on this machine from finding one of another process of tests."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        yield


class SharedRay:
    """Starts when the first module asks for it, and stays until one asks that there is none."""

    def __init__(self) -> None:
        self._session: RaySession | None = None

    def start(self) -> None:
        """Start as a run starts it, unless it is up."""
        if self._session is None:
            # Otherwise metrics come out every ten seconds.
            os.environ.setdefault("RAY_metrics_report_interval_ms", "200")
            runners = EnvRunnerSettings(num_env_runners=NUM_PROCESSES)
            demand = demand_of(runners, LearnerGroupSettings(), num_learners=0)
            self._session = RaySession.join(ResourceSettings(ray_address="local"), demand)

    def end(self) -> None:
        if self._session is not None:
            self._session.leave()
            self._session = None


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[SharedRay]:
    """Own the Ray of this process of tests; modules ask for one of the two below."""
    shared = SharedRay()
    yield shared
    shared.end()


@pytest.fixture(scope="module")
def local_ray(shared_ray: SharedRay) -> None:
    """Provide a Ray that other modules have used before and will use again."""
    shared_ray.start()


@pytest.fixture(scope="module")
def no_ray(shared_ray: SharedRay) -> None:
    """Make sure that this process is connected to no Ray."""
    shared_ray.end()


@pytest.fixture(scope="session")
def node() -> str:
    """Provide Node.js, with the peers' packages."""
    return installed_node()
