"""Submission, states and cancellation against a faked Slurm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dash_hpc.cli import main
from dash_hpc.errors import UsageError
from dash_hpc.execution import slurm
from dash_hpc.execution.journal import Journal
from dash_hpc.execution.slurm_jobs import begin, end, failed_nodes, histories, note_failed, record
from dash_hpc.store import is_store

if TYPE_CHECKING:
    from conftest import FakeSlurm


def command(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    out, err = capfd.readouterr()
    return int(left.value.code or 0), out, err


def test_dry_run_prints_the_script_and_touches_nothing(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = command(capfd, "submit", study, "--output", tmp_path / "out", "--nodes", 2, "--dry-run")
    assert code == 0
    assert out.startswith("#!/bin/bash\n#SBATCH --job-name=tiny\n")
    assert "#SBATCH --nodes=2\n" in out
    assert not (tmp_path / "out").exists()
    assert fake_slurm.calls("sbatch") == []


def test_mpi_job_is_planned_submitted_and_written_down(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a folder; $(touch x)"
    code, out, err = command(capfd, "submit", study, "--output", folder, "--sbatch", "--qos=long")
    assert code == 0, err
    assert out.startswith("job 17 submitted\n")
    assert f"dash-hpc status '{folder}'" in out
    assert is_store(folder)
    script = folder / "log" / "job-1.sbatch"
    assert fake_slurm.calls("sbatch") == [["--parsable", str(script)]]
    assert "#SBATCH --qos=long\n" in script.read_text()
    assert json.loads((folder / "log" / "job-17.json").read_text())["kind"] == "mpi"
    # The next one keeps its own script beside.
    assert command(capfd, "submit", study, "--output", folder)[0] == 0
    assert (folder / "log" / "job-2.sbatch").exists()


def test_array_gets_a_report_job_that_waits_for_it(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    code, out, err = command(capfd, "submit", study, "--output", folder, "--array", 2, "--parallel", 1, "--json")
    assert code == 0, err
    assert json.loads(out)["job"] == "17"
    assert json.loads(out)["report_job"] == "18"
    first, second = fake_slurm.calls("sbatch")
    assert first == ["--parsable", str(folder / "log" / "job-1.sbatch")]
    assert second[1:3] == ["--dependency=afterok:17", "--kill-on-invalid-dep=yes"]
    assert "#SBATCH --array=1-2%1\n" in (folder / "log" / "job-1.sbatch").read_text()


def test_refusal_of_sbatch_is_told_in_one_line(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_slurm.set("sbatch", "sbatch: error: a greeting\nsbatch: error: invalid partition specified: x\n", 1)
    code, _, err = command(capfd, "submit", study, "--output", tmp_path / "out", "--partition", "x")
    assert code == 2
    assert err == "dash-hpc: error: sbatch: sbatch: error: invalid partition specified: x\n"
    fake_slurm.set("sbatch", "welcome\n")
    code, _, err = command(capfd, "submit", study, "--output", tmp_path / "out")
    assert code == 2
    assert "gave no job id" in err


def test_states_come_from_the_queue(fake_slurm: FakeSlurm) -> None:
    fake_slurm.set(
        "squeue",
        "17|RUNNING|n[1-2]|1:00|2026-01-01T00:00:00|main|None\n"
        "18_1|RUNNING|n1|9:00|N/A|main|None\n18_2|PENDING||10:00|N/A|main|Resources | now\n",
    )
    fake_slurm.set("squeue order", "12\n18_2\n")
    states = slurm.job_states(["17", "18"])
    assert [(s.job, s.state, s.nodes, s.time_left) for s in states["17"]] == [("17", "RUNNING", "n[1-2]", "1:00")]
    assert [(s.job, s.state, s.position) for s in states["18"]] == [("18_1", "RUNNING", 0), ("18_2", "PENDING", 2)]
    assert states["18"][1].reason == "Resources | now"


def test_ended_jobs_come_from_accounting(fake_slurm: FakeSlurm) -> None:
    fake_slurm.set("squeue", "slurm_load_jobs error: Invalid job id specified", 1)
    fake_slurm.set("sacct", "17|CANCELLED by 0|0:15|n1\n18_1|COMPLETED|0:0|n1\n18_2|FAILED|1:0|n2\n")
    states = slurm.job_states(["17", "18"])
    assert [s.state for s in states["17"]] == ["CANCELLED"]
    assert [(s.job, s.state) for s in states["18"]] == [("18_1", "COMPLETED"), ("18_2", "FAILED")]
    assert fake_slurm.calls("scontrol") == []


def test_without_accounting_the_controller_is_asked(fake_slurm: FakeSlurm) -> None:
    fake_slurm.set("squeue", "")
    fake_slurm.set("scontrol", "JobId=17 JobName=a JobState=COMPLETED Reason=None ExitCode=0:0 NodeList=n1\n")
    assert [(s.state, s.nodes) for s in slurm.job_states(["17"])["17"]] == [("COMPLETED", "n1")]


def test_no_answer_is_unknown_never_finished(fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_slurm.set("squeue", "slurm_load_jobs error: Unable to contact slurm controller", 1)
    fake_slurm.set("sacct", "17|COMPLETED|0:0|n1\n")
    assert [(s.state, s.reason) for s in slurm.job_states(["17"])["17"]] == [
        ("UNKNOWN", "the scheduler does not answer")
    ]
    monkeypatch.setattr(slurm, "SECONDS", 0.5)
    fake_slurm.set("squeue", "", "hang")
    assert slurm.job_states(["17"])["17"][0].state == "UNKNOWN"
    fake_slurm.set("squeue", "")
    fake_slurm.set("sacct", "", 1)
    fake_slurm.set("scontrol", "slurm_load_jobs error: Invalid job id specified", 1)
    assert slurm.job_states(["17"])["17"][0].reason == "Slurm no longer knows this job"


def test_without_slurm_everything_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.job_states(["17"])["17"][0].state == "UNKNOWN"
    with pytest.raises(UsageError, match="sbatch is not on PATH"):
        slurm.submit(tmp_path / "x")


def test_status_shows_the_job_beside_the_store(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert command(capfd, "submit", study, "--output", folder)[0] == 0
    fake_slurm.set("squeue", "17|PENDING||10:00|N/A|main|Priority\n")
    fake_slurm.set("squeue order", "3\n4\n17\n")
    (folder / "log" / "slurm-17.out").write_text("ValueError: mild\ndash-hpc: error: no room\nall is well\n")
    code, out, _ = command(capfd, "status", folder)
    assert code == 0
    assert "job 17 (mpi): pending, number 3 in the queue, Priority" in out
    assert "last error in the log: dash-hpc: error: no room\n" in out
    assert command(capfd, "status", folder, "--check")[0] == 3
    fake_slurm.set("squeue", "", 1)
    assert "job 17 (mpi): unknown" in command(capfd, "status", folder)[1]


def test_cancel_ends_what_has_not_ended(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    for _ in range(2):
        assert command(capfd, "submit", study, "--output", folder)[0] == 0
    fake_slurm.set("squeue", "18|RUNNING|n1|1:00|N/A|main|None\n")
    fake_slurm.set("sacct", "17|COMPLETED|0:0|n1\n")
    fake_slurm.set("scancel")
    code, out, _ = command(capfd, "cancel", folder)
    assert (code, out) == (0, "cancelled: 18\n")
    assert fake_slurm.calls("scancel") == [["18"]]
    fake_slurm.set("squeue", "")
    fake_slurm.set("sacct", "18|CANCELLED|0:0|n1\n17|COMPLETED|0:0|n1\n")
    assert command(capfd, "cancel", folder)[1] == "no job of this study waits or runs\n"


def test_cancel_says_so_when_slurm_does_not_answer(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert command(capfd, "submit", study, "--output", folder)[0] == 0
    fake_slurm.set("squeue", "Unable to contact slurm controller", 1)
    code, out, err = command(capfd, "cancel", folder)
    assert code == 2
    assert out == ""
    assert "does not answer" in err


def test_failed_node_is_left_out_of_the_next_submission(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert command(capfd, "submit", study, "--output", folder)[0] == 0
    begin(folder, ["n1", "n2"], [], {"SLURM_JOB_ID": "17"})
    verdict = begin(folder, ["n1", "n3"], ["n2", "n9"], {"SLURM_JOB_ID": "17", "SLURM_RESTART_COUNT": "1"})
    assert verdict.code == 0
    assert "attempt 1 was lost without warning; failed: n2" in verdict.text
    assert failed_nodes(folder) == ["n2"]
    code, _, err = command(capfd, "submit", study, "--output", folder, "--exclude", "n5")
    assert code == 0
    assert "node n2 failed under an earlier job and is left out" in err
    assert "#SBATCH --exclude=n5,n2\n" in (folder / "log" / "job-2.sbatch").read_text()


@pytest.fixture
def folder(study: Path, tmp_path: Path, fake_slurm: FakeSlurm, capfd: pytest.CaptureFixture[str]) -> Path:
    assert command(capfd, "submit", study, "--output", tmp_path / "out")[0] == 0
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


def test_record_of_a_job_survives_strange_files(folder: Path) -> None:
    (folder / "log" / "job-x.json").write_text("{")
    (folder / "log" / "job-99.json").write_text("[]")
    record(folder, "18", kind="mpi")
    from dash_hpc.execution.slurm_jobs import jobs

    assert [entry["job"] for entry in jobs(folder)] == ["17", "18"]
