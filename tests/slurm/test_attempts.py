"""Attempts of a job: what ended them, whether the job goes back into the queue, and which node is at fault."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dash_hpc.execution.machine.journal import Journal
from dash_hpc.execution.slurm.attempts import begin, end, failed_nodes, histories, jobs, note_failed, record

if TYPE_CHECKING:
    from tests.slurm.conftest import Command, FakeSlurm


def test_failed_node_is_left_out_of_the_next_submission(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command
) -> None:
    folder = tmp_path / "out"
    assert command("submit", study, "--output", folder)[0] == 0
    begin(folder, ["n1", "n2"], [], {"SLURM_JOB_ID": "17"})
    verdict = begin(folder, ["n1", "n3"], ["n2", "n9"], {"SLURM_JOB_ID": "17", "SLURM_RESTART_COUNT": "1"})
    assert verdict.code == 0
    assert "attempt 1 was lost without warning; failed: n2" in verdict.text
    assert failed_nodes(folder) == ["n2"]
    code, _, err = command("submit", study, "--output", folder, "--exclude", "n5")
    assert code == 0
    assert "node n2 failed under an earlier job and is left out" in err
    assert "#SBATCH --exclude=n5,n2\n" in (folder / "log" / "job-2.sbatch").read_text()


@pytest.fixture
def folder(study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command) -> Path:
    assert command("submit", study, "--output", tmp_path / "out")[0] == 0
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("code", "signal", "state", "verdict", "word"),
    [
        (3, "USR1", "RUNNING 1:30", 75, "time-out"),
        (3, "USR1", "RUNNING 3:15:00", 75, "pre-emption"),
        (3, "USR1", "", 75, "time-out"),
        (143, "TERM", "RUNNING 3:00", 75, "pre-emption"),
        (143, "TERM", "COMPLETING 3:00", 3, "cancelled"),
        (143, "TERM", "", 3, "cancelled"),
        (137, "", "RUNNING 3:00", 75, "crash"),
        (0, "", "RUNNING 3:00", 75, "crash"),
        (2, "", "RUNNING 3:00", 2, "refused"),
    ],
)
def test_incomplete_study_goes_on_unless_cancelled_or_refused(
    folder: Path, code: int, signal: str, state: str, verdict: int, word: str
) -> None:
    job = {"SLURM_JOB_ID": "17"}
    begin(folder, ["n1"], [], job)
    answer = end(folder, code, signal, 120, state, environ=job)
    assert answer.code == verdict
    assert word in answer.text


def test_preemption_that_tells_only_the_ranks_is_no_crash(folder: Path) -> None:
    """As Slurm does it at the begin of a grace time: TERM to the step, nothing to the script."""
    job = {"SLURM_JOB_ID": "17"}
    begin(folder, ["n1"], [], job)
    journal = Journal(folder / "log" / "driver.log")
    journal.write("SIGTERM: no new runs; those under way make a checkpoint after their epoch")
    answer = end(folder, 3, "", 120, "RUNNING 3:00", environ=job)
    assert (answer.code, histories(folder, "17")[0].count("pre-emption")) == (75, 1)
    # srun -K tells the ranks that are left when one was killed.
    begin(folder, ["n1"], [], job)
    journal.write("SIGTERM: no new runs; those under way make a checkpoint after their epoch")
    assert "crash" in end(folder, 137, "", 120, "RUNNING 3:00", environ=job).text
    # A signal to an earlier attempt explains nothing.
    log = folder / "log" / "driver.log"
    log.write_text("2026-01-01 00:00:00+00:00  SIGTERM: no new runs; those under way make a checkpoint\n")
    begin(folder, ["n1"], [], job)
    assert "crash" in end(folder, 3, "", 120, "RUNNING 3:00", environ=job).text


def test_preemption_without_grace_is_told_from_cancellation_when_the_job_is_back(folder: Path) -> None:
    job = {"SLURM_JOB_ID": "17"}
    begin(folder, ["n1"], [], job)
    assert end(folder, 143, "TERM", 120, "COMPLETING 3:00", environ=job).code == 3
    assert histories(folder, "17")[0].count("cancelled") == 1
    assert begin(folder, ["n1"], [], job).code == 0
    assert (histories(folder, "17")[0].count("cancelled"), histories(folder, "17")[0].count("pre-emption")) == (0, 1)


def test_requeues_without_progress_are_bounded(folder: Path) -> None:
    job = {"SLURM_JOB_ID": "17"}
    codes = []
    for _ in range(3):
        assert begin(folder, ["n1"], [], job).code == 0
        codes.append(end(folder, 3, "USR1", 120, "RUNNING 1:00", environ=job).code)
    assert codes == [75, 75, 1]
    last = begin(folder, ["n1"], [], job)
    assert last.code == 1
    assert "3 attempts in a row trained nothing" in last.text
    # The same bound holds for attempts that were lost without any signal.
    other = {"SLURM_ARRAY_JOB_ID": "18", "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "20"}
    assert [begin(folder, ["n1"], [], other).code for _ in range(4)] == [0, 0, 0, 1]


def test_failed_node_is_remembered_though_it_is_back_at_the_next_attempt(folder: Path) -> None:
    job = {"SLURM_JOB_ID": "17"}
    begin(folder, ["n1", "n2"], [], job)
    note_failed(folder, ["n9"], job)
    assert failed_nodes(folder) == []
    note_failed(folder, ["n2", "n9"], job)
    assert "failed: n2" in begin(folder, ["n1", "n2"], [], job).text
    assert failed_nodes(folder) == ["n2"]


def test_log_that_cannot_be_written_ends_no_job(folder: Path) -> None:
    """``log/`` is full: the attempt begins; without a count of attempts the job does not come back."""
    for path in sorted((folder / "log").iterdir()):
        path.unlink()
    (folder / "log").rmdir()
    (folder / "log").write_text("in the way")
    verdict = begin(folder, ["n1"], environ={"SLURM_JOB_ID": "17"})
    assert verdict.code == 0
    assert "cannot be noted" in verdict.text
    verdict = end(folder, 3, "USR1", 120, "RUNNING 1:00", environ={"SLURM_JOB_ID": "17"})
    assert verdict.code == 3
    assert "not requeued, for attempts cannot be counted" in verdict.text


def test_record_of_a_job_survives_strange_files(folder: Path) -> None:
    (folder / "log" / "job-x.json").write_text("{")
    (folder / "log" / "job-99.json").write_text("[]")
    record(folder, "18", kind="mpi")
    assert [entry["job"] for entry in jobs(folder)] == ["17", "18"]
