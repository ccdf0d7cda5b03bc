"""Standard streams that are full, closed, gone or stuck: the study is done all the same, with the same exit code."""

from __future__ import annotations

import fcntl
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import dash_hpc
from dash_hpc.execution.machine.journal import Journal
from dash_hpc.execution.machine.streams import say
from dash_hpc.execution.progress import Progress
from dash_hpc.execution.study_run import prepare
from dash_hpc.store import Store, open_store
from dash_hpc.store.verify import verify
from dash_hpc.study import load_study

CLI = [sys.executable, "-m", "dash_hpc"]


@pytest.fixture
def quick(tmp_path: Path, small_study: Callable[..., str]) -> Path:
    """Two runs of two epochs."""
    path = tmp_path / "quick.toml"
    path.write_text(small_study("quick", epochs=2, every=2, seeds="[0]"))
    return path


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(dash_hpc.__file__).parents[1]))


def shell(*words: object, streams: str = "") -> subprocess.CompletedProcess[str]:
    """Give the command to a shell, with redirections."""
    line = f"exec {shlex.join(map(str, [*CLI, *words]))} {streams}"
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=120)


def assert_done(folder: Path) -> None:
    """All runs are there, and each file is what it was when it was written: no message has landed in one."""
    store = open_store(folder)
    assert store.counts()["done"] == store.counts()["planned"] == 2
    assert verify(folder).findings == []


@pytest.mark.parametrize(
    "streams",
    [
        "2>/dev/full",
        ">/dev/full",
        ">/dev/full 2>&1",
        "2>&-",
        "1>&-",
        "0<&- 1>&- 2>&-",
        "1>&- 2>/dev/full",
        "2</dev/null",
    ],
)
def test_study_is_done_whatever_the_streams_are(quick: Path, tmp_path: Path, streams: str) -> None:
    # A part writes no report, which would take most of the time; with the first two the whole command is tried.
    part = [] if streams in ("2>/dev/full", ">/dev/full") else ["--part", "1/1"]
    done = shell("run", quick, "--workers", "1", "--output", tmp_path / "out", *part, streams=streams)
    assert done.returncode == 0
    assert_done(tmp_path / "out")
    if streams == ">/dev/full":
        assert "standard output takes no more (No space left on device)" in done.stderr


def test_failures_keep_their_exit_code_and_a_mistake_its_own(quick: Path, tmp_path: Path) -> None:
    wrong = ["--set", "solver.max_steps=11", "--set", "training.epochs=3", "--workers", "1", "--output", tmp_path / "o"]
    assert shell("run", quick, *wrong, streams="2>/dev/full").returncode == 1
    assert open_store(tmp_path / "o").counts()["failed"] == 2
    assert shell("status", tmp_path / "o", "--check", streams=">/dev/full 2>/dev/full").returncode == 1
    assert shell("run", tmp_path / "none.toml", streams="2>/dev/full").returncode == 2
    assert shell("run", tmp_path / "none.toml", streams="1>&- 2>&-").returncode == 2


def test_answer_that_cannot_be_written_is_no_success(planned: Path) -> None:
    """Where the answer is all there is: not with exit code 0, as if the file were complete."""
    done = shell("status", planned, "--json", streams=">/dev/full")
    assert done.returncode == 2
    assert done.stderr == (
        "dash-hpc: standard output takes no more (No space left on device): the answer is not complete\n"
    )


def test_reader_that_has_seen_enough_is_no_error(planned: Path) -> None:
    words = shlex.join([*CLI, "status", str(planned), "--json"])
    line = f"({words}; echo $? >{planned}/code) | head -c 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("{", "")
    assert (planned / "code").read_text() == "0\n"


def test_reader_of_the_messages_leaves(quick: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [*CLI, "run", quick, "--workers", "1", "--output", tmp_path / "out", "--part", "1/1"]
    assert subprocess.run(words, stdout=writer, stderr=writer, check=False, timeout=120).returncode == 0
    os.close(writer)
    assert_done(tmp_path / "out")


def test_reader_of_the_messages_stands_still(quick: Path, tmp_path: Path) -> None:
    """A stopped pager, a terminal on hold: a pipe that is full and that nobody reads."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    words = [*CLI, "run", quick, "--workers", "1", "--output", tmp_path / "out", "--part", "1/1"]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=writer, check=False, timeout=120)
    os.close(writer)
    os.close(reader)
    assert done.returncode == 0
    assert_done(tmp_path / "out")


def test_terminal_goes_away(quick: Path, tmp_path: Path) -> None:
    """With a live table on it."""
    terminal, end = os.openpty()
    words = [*CLI, "run", quick, "--workers", "1", "--output", tmp_path / "out", "--part", "1/1"]
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(words, stdin=end, stdout=end, stderr=end, env=environment, start_new_session=True)
    os.close(end)
    assert os.read(terminal, 4096)
    os.close(terminal)
    assert process.wait(120) == 0
    assert_done(tmp_path / "out")


def test_log_on_a_full_disk(quick: Path, tmp_path: Path) -> None:
    """Only ``log/``: the driver's and the workers' lines are lost, the runs are not."""
    folder = tmp_path / "out"
    prepare(load_study(quick), folder)
    mount = f"mount -t tmpfs -o size=4k none {folder}/log && (cat /dev/zero >{folder}/log/full 2>/dev/null; true)"
    words = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system may be mounted here")
    wrong = ["--set", "sweep.seeds=[0]", "--workers", "1", "--part", "1/1", "--output", str(folder)]
    done = subprocess.run([*words, *CLI, "run", str(quick), *wrong], capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert_done(folder)


def test_study_of_a_script_is_done_without_streams(quick: Path, tmp_path: Path) -> None:
    """Called from Python, with all three closed: the files that open first must not become standard error."""
    code = (
        f"from dash_hpc import run_study; run_study({str(quick)!r}, output={str(tmp_path / 'out')!r}, workers=1)\n"
        "import os; file = os.open('/dev/null', os.O_RDONLY); assert file > 2, file"
    )
    done = subprocess.run(["sh", "-c", f"exec {sys.executable} -c {shlex.quote(code)} 0<&- 1>&- 2>&-"], check=False)
    assert done.returncode == 0
    assert_done(tmp_path / "out")


class Refusing(io.StringIO):
    """A terminal that went away."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("mode", ["live", "plain"])
def test_progress_goes_on_without_its_stream(whole: Store, mode: str) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (Refusing(), closed):
        clock = [0.0]
        shown = Progress(whole, mode, stream=stream, clock=lambda clock=clock: clock[0])  # type: ignore[arg-type]
        shown.echo("a line")
        clock[0] = 20.0
        assert shown.tick([]) is not None
        shown.close()


def test_messages_reach_streams_of_other_encodings(tmp_path: Path) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    say("λ = 0.5 in lat\udcfcn", stream)
    assert raw.getvalue() == b"? = 0.5 in lat?n\n"
    lines: list[str] = []
    Journal(tmp_path / "log", lines.append).write("in lat\udcfcn")
    assert (tmp_path / "log").read_text().endswith("  in lat\\xfcn\n")
