"""A stand-in for Slurm: sbatch, squeue, sacct, scontrol and scancel on PATH, with states that a test can set."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dash_hpc.cli import main

Command = Callable[..., tuple[int, str, str]]

FAKE = """#!{python}
import json, os, sys
from pathlib import Path
home = Path({home!r})
name, words = Path(sys.argv[0]).name, sys.argv[1:]
with (home / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps([name, *words]) + "\\n")
(home / f"environment-{{name}}.json").write_text(json.dumps(dict(os.environ)))
state = json.loads((home / "state.json").read_text())
answer = state.get(name)
if name == "sbatch" and answer is None:
    state["next"] = state.get("next", 16) + 1
    (home / "state.json").write_text(json.dumps(state))
    answer = [0, str(state["next"]) + "\\n"]
if name == "squeue" and answer is not None and "--states=PENDING" in words:
    answer = state.get("squeue order", [0, ""])
code, text = answer if answer is not None else [1, name + ": error: Slurm accounting storage is disabled"]
if code == "endless":
    while True:
        print(text)
if code == "hang":
    import time
    time.sleep(60)
(sys.stdout if code == 0 else sys.stderr).write(text)
sys.exit(code)
"""


class FakeSlurm:
    """What the stand-in answers, and what it was asked."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "state.json").write_text("{}")

    def set(self, name: str, text: str = "", code: int | str = 0) -> None:
        """Let the command ``name`` answer with ``text``.

        It comes on stderr when the code is not 0; with "hang" not at all, with "endless" again and again.
        """
        path = self.home / "state.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), name: [code, text]}))

    def calls(self, name: str) -> list[list[str]]:
        """Return the words of each call of ``name``."""
        path = self.home / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [words[1:] for words in map(json.loads, lines) if words[0] == name]

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of the last call of ``name``."""
        return dict(json.loads((self.home / f"environment-{name}.json").read_text()))


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Slurm's commands, faked."""
    home = tmp_path / "fake-slurm"
    home.mkdir()
    for name in ("sbatch", "squeue", "sacct", "scontrol", "scancel"):
        path = home / name
        path.write_text(FAKE.format(python=sys.executable, home=str(home)))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DASH_HPC_SLURM_PROFILE", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    return FakeSlurm(home)


TINY = """\
[study]
name = "tiny"
[data]
kind = "simulate"
genes = 12
regulators = 4
edges = 16
trajectories = 6
[model]
hidden = 4
[training]
epochs = 2
[sweep]
seeds = "0..3"
[[strategy]]
name = "none"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of four runs, as a file; nothing is run here."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return a function that gives a command its words, and returns its exit code and what it says on both streams."""

    def give(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    return give
