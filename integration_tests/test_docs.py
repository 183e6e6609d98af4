"""What the documents show, runs: Python fences are executed, commands are parsed.

The Python fences of a file are one script, in order, run in an empty folder. A fence that cannot run
says why after its language, as in ```python no-run: needs a cluster, and must at least compile.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outrider.algorithm.commands import train_command
from outrider.algorithm.commands.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/README.md")])
FENCE = re.compile(r"^```(\w+)[ ]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence:
    language: str
    remark: str
    first_line: int
    text: str


def fences(text: str, *languages: str) -> list[Fence]:
    found = [
        Fence(
            language=match[1],
            remark=match[2],
            first_line=text.count("\n", 0, match.start(3)) + 1,
            text=match[3],
        )
        for match in FENCE.finditer(text)
    ]
    return [fence for fence in found if fence.language in languages]


def python_script(text: str) -> str:
    """Return what the Python fences of `text` say, each on the lines where it stands."""
    script = ""
    for fence in fences(text, "python"):
        if fence.remark:
            compile(fence.text, "fence", "exec")
            continue
        script += "\n" * (fence.first_line - 1 - script.count("\n")) + fence.text
    return script


def commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each `outrider` command in the console fences of `text`."""
    for fence in fences(text, "console", "sh"):
        for line in fence.text.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|\|", line.removeprefix("$ ")):
                words = shlex.split(command, comments=True)
                if words[:1] == ["outrider"]:
                    yield words[1:]


def documents_with(extract: Callable[[str], object]) -> list[Path]:
    """Return the documents from which `extract` gets something."""
    return [document for document in DOCUMENTS if extract(document.read_text())]


def name(document: Path) -> str:
    """Return how a document is called in the list of tests."""
    return document.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", documents_with(python_script), ids=name)
def test_the_python_in_a_document_runs(document: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{document.stem.lower()}.py"
    script.write_text(python_script(document.read_text()))
    command = [sys.executable, script.name]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{document} with the line numbers of the document:\n{done.stderr}"


@pytest.mark.parametrize("document", documents_with(lambda text: list(commands(text))), ids=name)
def test_the_commands_in_a_document_parse(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_command, "_train", lambda *_: 0)
    for arguments in commands(document.read_text()):
        try:
            code: object = main(arguments)
        except SystemExit as ended:
            code = ended.code
        # 1 is the answer to a run that this folder does not have, 2 the answer to a typing mistake.
        assert code in {0, 1}, f"outrider {shlex.join(arguments)}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_python_fence_that_does_not_run_says_why(document: Path) -> None:
    for fence in fences(document.read_text(), "python"):
        assert re.fullmatch(r"(no-run: \w.+)?", fence.remark), (
            f"line {fence.first_line}: write ```python, or ```python no-run: and the reason"
        )


def test_fences_keep_their_lines_and_a_marked_one_does_not_run() -> None:
    text = "one\n```python\na = 1\n```\n```python no-run: slow\nb = 1\n```\nx\n```python\nc = a\n```\n"
    lines = python_script(text).splitlines()
    assert (lines[2], lines[9]) == ("a = 1", "c = a")
    assert "b = 1" not in lines


def test_commands_are_found_in_console_fences() -> None:
    console = "```console\n$ outrider train ppo \\\n    --env X\noutput\n```\n"
    shell = "```sh\ncd x && outrider plot a # why\n```\n"
    assert list(commands(console + shell)) == [["train", "ppo", "--env", "X"], ["plot", "a"]]


def test_the_files_that_the_architecture_names_exist() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    paths = tracked.stdout.splitlines()
    named = re.findall(r"`([\w/*.]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text())
    assert named
    assert [name for name in named if not fnmatch.filter(paths, f"*/{name}") and name not in paths] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []
