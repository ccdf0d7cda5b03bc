"""Calls as jobs: answers, errors, jobs that end without either; Slurm is faked, the call itself is real."""

from __future__ import annotations

import math
from concurrent.futures import wait
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dash_hpc.cli import main
from dash_hpc.errors import UsageError, WorkerDied
from dash_hpc.execution import JobOptions, SlurmExecutor
from dash_hpc.execution.slurm import executor as module

if TYPE_CHECKING:
    from tests.slurm.conftest import FakeSlurm


def call(folder: Path) -> int:
    with pytest.raises(SystemExit) as left:
        main(["job", "call", str(folder)])
    return int(left.value.code or 0)


def test_calls_come_back_with_their_values_and_errors(tmp_path: Path, fake_slurm: FakeSlurm) -> None:
    fake_slurm.set("squeue", "17|RUNNING|n1|1:00|N/A|main|None\n18|RUNNING|n1|1:00|N/A|main|None\n")
    with SlurmExecutor(tmp_path / "calls", JobOptions(memory="1G"), poll=0.05) as executor:
        good = executor.submit(math.gcd, 12, 18)
        bad = executor.submit(math.sqrt, -1)
        assert wait([good, bad], timeout=0.3).not_done
        assert "#SBATCH --mem=1G\n" in (tmp_path / "calls" / "call-1" / "call.sbatch").read_text()
        assert call(tmp_path / "calls" / "call-1") == 0
        assert call(tmp_path / "calls" / "call-2") == 1
        assert good.result(10) == 6
        with pytest.raises(Exception, match="ValueError: "):
            bad.result(10)


def test_job_without_an_answer_fails_its_call(
    tmp_path: Path, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ASK_SECONDS", 0.1)
    monkeypatch.setattr(module, "_LATE_SECONDS", 0.3)
    fake_slurm.set("squeue", "cannot contact", 1)
    with SlurmExecutor(tmp_path / "calls", poll=0.05) as executor:
        future = executor.submit(math.gcd, 12, 18)
        # No answer of the scheduler is not the end of the job.
        assert wait([future], timeout=1).not_done
        fake_slurm.set("squeue", "")
        fake_slurm.set("sacct", "17|NODE_FAIL|0:0|n1\n")
        with pytest.raises(WorkerDied, match=r"job 17 ended without an answer \(node_fail"):
            future.result(20)


def test_what_cannot_be_called_is_refused_at_once(tmp_path: Path, fake_slurm: FakeSlurm) -> None:
    with pytest.raises(UsageError, match="poll"):
        SlurmExecutor(tmp_path, poll=0)
    with SlurmExecutor(tmp_path / "calls", poll=0.05) as executor:
        with pytest.raises(UsageError, match="not a module-level function"):
            executor.submit(lambda: None)
        with pytest.raises(UsageError, match="positional"):
            executor.submit(math.gcd, a=1)
        with pytest.raises(TypeError):
            executor.submit(math.gcd, object())
    with pytest.raises(UsageError, match="closed"):
        executor.submit(math.gcd, 1, 2)
    assert fake_slurm.calls("sbatch") == []
