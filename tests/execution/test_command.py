"""Commands that answer without end, too much, nothing, or not in UTF-8: bounded in time and memory, and killed."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import pytest

from dash_hpc.execution.machine.command import MOST_BYTES, ask


def gone(pid: int) -> bool:
    """Whether a process has ended; one that its new parent has not fetched yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 30
    while not gone(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_whole_answer_of_both_streams_and_the_exit_code() -> None:
    answer = ask(["sh", "-c", "echo out; echo err >&2; exit 7"], 60)
    assert (answer.code, answer.out, answer.err, answer.fault) == (7, "out\n", "err\n", "")
    text = "x" * (MOST_BYTES // 2)
    assert ask([sys.executable, "-c", f"print('x' * {len(text)}, end='')"], 60).out == text
    assert ask(["sh", "-c", "printf 'n\\374de 17\\n'"], 60).out == "n\ufffdde 17\n"
    assert ask(["sh", "-c", "cat; echo $A"], 60, environ={**os.environ, "A": "b"}).out == "b\n"
    with pytest.raises(FileNotFoundError):
        ask(["/nonexistent/squeue"], 60)


@pytest.mark.parametrize("stream", ["1", "2"])
def test_endless_answer_is_cut_and_its_command_killed(tmp_path: Path, stream: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = ask(["sh", "-c", f"echo $$ >{tmp_path}/pid; exec yes 17 >&{stream}"], 60)
    assert answer.fault == "answers with more than 4 MiB"
    wait_until_gone(int((tmp_path / "pid").read_text()))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB


@pytest.mark.parametrize(
    "script", ["sleep 600", "trap '' TERM INT HUP; sleep 600; sleep 600", "exec >&- 2>&-; sleep 600"]
)
def test_silence_ends_at_the_limit_with_all_that_was_started(tmp_path: Path, script: str) -> None:
    began = time.monotonic()
    answer = ask(["sh", "-c", f"sleep 601 & echo $! >{tmp_path}/child; {script}"], 0.5)
    assert answer.fault == "does not answer within 0.5 s"
    assert 0.5 <= time.monotonic() - began < 10
    wait_until_gone(int((tmp_path / "child").read_text()))


def test_child_that_keeps_the_pipes_open_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    answer = ask(["sh", "-c", f"sleep 30 & echo $! >{tmp_path}/child; echo 17"], 25)
    assert (answer.code, answer.out, answer.fault) == (0, "17\n", "")
    assert time.monotonic() - began < 20
    os.kill(int((tmp_path / "child").read_text()), 9)
