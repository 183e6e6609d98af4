"""Farms and trainers of different releases, each from its wheels, train together or refuse each other.

Releases that were are in released/, kept by tools/keep_release.py. Releases that will be are made here: of
this one, with another version and protocol, and with things to say that this one has never heard of.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from outrider.testing.command import Command
from outrider.wire import PROTOCOL, decode_sample_request, session

ROOT = Path(__file__).resolve().parents[1]
KEPT = sorted(folder.name for folder in (ROOT / "integration_tests/released").glob("*.*"))
NEWER_VERSION = "99.1.0"
REFUSED = 3
"""Exit code of a farm with which the gateway cannot work."""

FARM_COMMAND = """
import sys
from importlib.metadata import entry_points

(command,) = entry_points(group="console_scripts", name="outrider-farm")
sys.exit(command.load()())
"""
"""What a release installs as `outrider-farm`, whatever it calls the module."""

TWO_AGENTS = ("--num-agents", "2", "--policies", "per_agent")

NEW_FIELDS = '''
_encode = OneOfCodec.encode


def _add_fields(message):
    """Give a message, and all within it, a field that nobody else knows."""
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for inner in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
                _add_fields(inner)
    message.MergeFromString(bytes.fromhex("c23e036e6577"))  # 1000: "new"


def _encode_with_new_fields(self, message, attachment_bytes):
    parsed = self._message_type.FromString(_encode(self, message, attachment_bytes))
    _add_fields(parsed)
    return bytes(parsed.SerializeToString())


OneOfCodec.encode = _encode_with_new_fields
'''
NEW_MESSAGES = '''
_send = StreamConnection.send


def _send_more(self, head, attachment=()):
    """Say after each message something else, of kind 9 with 5 bytes attached."""
    _send(self, head, attachment)
    _send(self, bytes.fromhex("4a007005"), [b"hello"])


StreamConnection.send = _send_more
'''
OLD_HEADER = "field_prefix(_HEADER, len(self.header)) + self.header"
NEW_HEADER = 'field_prefix(_HEADER, len(self.header) + 6) + self.header + bytes.fromhex("c23e036e6577")'

NEW_SETTING = """    curiosity: float = 0.0
    \"""A setting that runners know in that release.\"""
    num_env_runners: int = 0
"""


@dataclass(frozen=True, slots=True)
class Release:
    """Packages of one release, unpacked from their wheels."""

    folder: Path
    version: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder)}

    def edit(self, module: str, old: str, new: str) -> None:
        file = self.folder / "outrider" / module
        text = file.read_text()
        assert old in text, f"{module} says {old!r} no longer"
        file.write_text(text.replace(old, new))

    def append(self, module: str, code: str) -> None:
        with (self.folder / "outrider" / module).open("a") as file:
            file.write(code)


def unpack(wheels: Iterable[Path], folder: Path) -> Release:
    """Install pure wheels, as pip would, but for their commands."""
    version = ""
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(folder)
        if wheel.name.startswith("outrider_envrunner-"):
            version = wheel.name.split("-")[1]
    assert version, f"no wheel of a farm for {folder}"
    return Release(folder, version)


def renamed(release: Release, version: str) -> Release:
    """Let it call itself another version."""
    for metadata in release.folder.glob("*.dist-info/METADATA"):
        name = metadata.parent.name.partition("-")[0]
        text = re.sub(r"(?m)^Version: .*$", f"Version: {version}", metadata.read_text(), count=1)
        metadata.write_text(text)
        metadata.parent.rename(release.folder / f"{name}-{version}.dist-info")
    return Release(release.folder, version)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, str(ROOT / "tools/build_wheels.py"), str(folder)]
    subprocess.run(build, check=True, capture_output=True)
    return list(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def release(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Release]:
    """Make releases by name: "this", a kept one's version, "a newer minor" and "a newer major"."""
    made: dict[str, Release] = {}

    def make(name: str) -> Release:
        folder = tmp_path_factory.mktemp("release")
        if name in KEPT:
            return unpack((ROOT / "integration_tests/released" / name).glob("*.whl"), folder)
        this = unpack(wheels, folder)
        return {"this": lambda it: it, "a newer minor": newer_minor, "a newer major": newer_major}[name](this)

    def get(name: str) -> Release:
        if name not in made:
            made[name] = make(name)
        return made[name]

    return get


def newer_minor(release: Release) -> Release:
    speaks(release, f"{PROTOCOL.major}, {PROTOCOL.minor + 1}")
    release.append("wire/one_of_codec.py", NEW_FIELDS)
    release.append("transport/stream_connection.py", NEW_MESSAGES)
    release.edit("wire/frame.py", OLD_HEADER, NEW_HEADER)
    release.edit("envrunner/settings.py", "    num_env_runners: int = 0\n", NEW_SETTING)
    release.edit("envrunner/gateway/invitation.py", "_FOR_RUNNERS = (", '_FOR_RUNNERS = ("curiosity", ')
    return renamed(release, NEWER_VERSION)


def newer_major(release: Release) -> Release:
    speaks(release, f"{PROTOCOL.major + 1}, 0")
    return renamed(release, NEWER_VERSION)


def speaks(release: Release, protocol: str) -> None:
    ours = f"PROTOCOL = ProtocolVersion({PROTOCOL.major}, {PROTOCOL.minor})"
    release.edit("wire/handshake.py", ours, f"PROTOCOL = ProtocolVersion({protocol})")


@contextmanager
def trainer(release: Release, folder: Path, *flags: str, num_runners: int) -> Iterator[tuple[Command, str]]:
    """Start a trainer and wait until it listens."""
    train = [sys.executable, "-m", "outrider.algorithm", "train", "ppo", "--env", "CartPole-v1"]
    listen = ["--listen", "127.0.0.1:0", "--num-env-runners", str(num_runners), "--join-timeout-s", "60"]
    wait = ["--min-runners", str(num_runners)]
    limits = ["--train-batch-size-per-learner", "400", "--num-epochs", "1", "--stop-iterations", "3"]
    leave = ["--plain", "--no-tensorboard", "--run-dir", str(folder / "run")]
    with Command(
        [*train, *listen, *wait, *limits, *leave, *flags], environment=release.environment
    ) as command:
        yield command, command.wait_for(r"--connect (127\.0\.0\.1:\d+)", within_s=60)[1]


def farm(release: Release, address: str, *, env: str = "CartPole-v1") -> Command:
    """Start a farm of one runner, which is called like its release."""
    join = ["--connect", address, "--env", env, "--name", f"farm-{release.version}"]
    start = [sys.executable, "-c", FARM_COMMAND, *join, "--give-up-after", "20"]
    return Command(start, environment=release.environment)


def train_together(training: Release, farms: list[Release], folder: Path) -> None:
    """Train with one runner of each farm, and see who has been there and that nobody complains."""
    with ExitStack() as stack:
        command, address = stack.enter_context(trainer(training, folder, num_runners=len(farms)))
        commands = [stack.enter_context(farm(each, address)) for each in farms]
        assert command.wait(within_s=120) == 0, command.text
        for each in commands:
            assert each.wait(within_s=30) == 0, each.text
            assert f"outrider-envrunner {training.version}" in each.text
        assert f"{len(farms)}/{len(farms)} runners" in command.text
        assert "stopped: 3 iterations done" in command.text
        assert "refused" not in command.text


def test_a_newer_release_says_what_this_one_does_not_know(release: Callable[[str], Release]) -> None:
    newer = release("a newer minor")
    write = "from outrider.wire import *; print(encode_sample_request(session.Leaving(reason='x')).hex())"
    written = subprocess.run(
        [sys.executable, "-c", write], env=newer.environment, capture_output=True, text=True, check=True
    )
    assert written.stdout.count("c23e036e6577") == 2  # in the message, and in what it holds
    assert isinstance(decode_sample_request(bytes.fromhex(written.stdout)), session.Leaving)


def test_a_trainer_trains_with_farms_of_all_releases_at_once(
    release: Callable[[str], Release], tmp_path: Path
) -> None:
    farms = [release(name) for name in ("this", *KEPT, "a newer minor")]
    train_together(release("this"), farms, tmp_path)


def test_a_run_with_several_agents_takes_farms_that_know_of_them_and_refuses_others_in_a_sentence(
    release: Callable[[str], Release], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        command, address = stack.enter_context(trainer(release("this"), tmp_path, *TWO_AGENTS, num_runners=2))
        old, *new = [
            stack.enter_context(farm(release(each), address)) for each in ("0.1.0", "this", "a newer minor")
        ]
        assert command.wait(within_s=120) == 0, command.text
        for each in new:
            assert each.wait(within_s=30) == 0, each.text
        assert old.wait(within_s=30) == REFUSED, old.text
        assert "2/2 runners" in command.text
    for text in (old.text, command.text):
        assert "needs multi_agent, which outrider-farm (outrider-envrunner 0.1.0" in text
        assert "upgrade outrider-farm" in text
        assert "Traceback" not in text


def test_a_farm_with_several_agents_is_refused_by_a_run_that_knows_of_one(
    release: Callable[[str], Release], tmp_path: Path
) -> None:
    with trainer(release("0.1.0"), tmp_path, num_runners=1) as (command, address):
        with farm(release("this"), address, env="outrider.testing.duel:Duel") as refused:
            assert refused.wait(within_s=60) == REFUSED, refused.text
        command.wait_for("needs multi_agent, which the training run", within_s=10)
    for text in (refused.text, command.text):
        assert "needs multi_agent, which the training run (outrider-envrunner 0.1.0" in text
        assert "upgrade the training run" in text
        assert "Traceback" not in text


@pytest.mark.parametrize("training", [*KEPT, "a newer minor"])
def test_a_farm_samples_for_a_trainer_of_another_release(
    training: str, release: Callable[[str], Release], tmp_path: Path
) -> None:
    train_together(release(training), [release("this")], tmp_path)


@pytest.mark.parametrize(
    ("training", "sampling"), [("this", "a newer major"), ("a newer major", "this")], ids=str
)
def test_another_major_is_refused_in_one_sentence_on_both_sides(
    training: str, sampling: str, release: Callable[[str], Release], tmp_path: Path
) -> None:
    majors = {"this": str(PROTOCOL), "a newer major": f"{PROTOCOL.major + 1}.0"}
    with trainer(release(training), tmp_path, num_runners=1) as (command, address):
        with farm(release(sampling), address) as refused:
            assert refused.wait(within_s=60) == REFUSED, refused.text
            (line,) = (line for line in refused.text.splitlines() if "major versions must be equal" in line)
        command.wait_for("major versions must be equal", within_s=10)
    for text in (line, command.text):
        assert f"speaks wire protocol {majors[sampling]}" in text
        assert f"speaks {majors[training]}" in text
        assert "upgrade" in text
        assert "Traceback" not in text


def test_a_setting_that_a_farm_does_not_know_is_refused_by_name_where_it_is_used(
    release: Callable[[str], Release], tmp_path: Path
) -> None:
    curious = trainer(release("a newer minor"), tmp_path, "--curiosity", "0.5", num_runners=1)
    with curious as (_, address), farm(release("this"), address) as refused:
        assert refused.wait(within_s=60) == REFUSED, refused.text
    assert "knows no setting 'curiosity' of EnvRunnerSettings" in refused.text


def test_a_test_that_keeps_a_promise_is_there() -> None:
    promise = (ROOT / "docs/compatibility.md").read_text()
    named = set(re.findall(r"`([\w/]*test_\w+\.py)`", promise))
    assert "test_version_matrix.py" in named
    assert [
        name for name in named if not any((ROOT / at / name).exists() for at in (".", "integration_tests"))
    ] == []
