"""Submission, states and cancellation against a faked Slurm."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dash_hpc.errors import UsageError
from dash_hpc.execution.slurm import commands
from dash_hpc.store import is_store

if TYPE_CHECKING:
    from tests.slurm.conftest import Command, FakeSlurm


def test_dry_run_prints_the_script_and_touches_nothing(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command
) -> None:
    code, out, _ = command("submit", study, "--output", tmp_path / "out", "--nodes", 2, "--dry-run")
    assert code == 0
    assert out.startswith("#!/bin/bash\n#SBATCH --job-name=tiny\n")
    assert "#SBATCH --nodes=2\n" in out
    assert not (tmp_path / "out").exists()
    assert fake_slurm.calls("sbatch") == []


def test_mpi_job_is_planned_submitted_and_written_down(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command
) -> None:
    folder = tmp_path / "a folder; $(touch x)"
    code, out, err = command("submit", study, "--output", folder, "--sbatch", "--qos=long")
    assert code == 0, err
    assert out.startswith("job 17 submitted\n")
    assert f"dash-hpc status '{folder}'" in out
    assert is_store(folder)
    script = folder / "log" / "job-1.sbatch"
    assert fake_slurm.calls("sbatch") == [["--parsable", str(script)]]
    assert "#SBATCH --qos=long\n" in script.read_text()
    assert json.loads((folder / "log" / "job-17.json").read_text())["kind"] == "mpi"
    # The next one keeps its own script beside.
    assert command("submit", study, "--output", folder)[0] == 0
    assert (folder / "log" / "job-2.sbatch").exists()


def test_array_gets_a_report_job_that_waits_for_it(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command
) -> None:
    folder = tmp_path / "out"
    code, out, err = command("submit", study, "--output", folder, "--array", 2, "--parallel", 1, "--json")
    assert code == 0, err
    assert json.loads(out)["job"] == "17"
    assert json.loads(out)["report_job"] == "18"
    first, second = fake_slurm.calls("sbatch")
    assert first == ["--parsable", str(folder / "log" / "job-1.sbatch")]
    assert second[1:3] == ["--dependency=afterok:17", "--kill-on-invalid-dep=yes"]
    assert "#SBATCH --array=1-2%1\n" in (folder / "log" / "job-1.sbatch").read_text()


def test_refusal_of_sbatch_is_told_in_one_line(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command
) -> None:
    fake_slurm.set("sbatch", "sbatch: error: a greeting\nsbatch: error: invalid partition specified: x\n", 1)
    code, _, err = command("submit", study, "--output", tmp_path / "out", "--partition", "x")
    assert code == 2
    assert err == "dash-hpc: error: sbatch: sbatch: error: invalid partition specified: x\n"
    fake_slurm.set("sbatch", "welcome\n")
    code, _, err = command("submit", study, "--output", tmp_path / "out")
    assert code == 2
    assert "gave no job id" in err


def test_states_come_from_the_queue(fake_slurm: FakeSlurm) -> None:
    fake_slurm.set(
        "squeue",
        "17|RUNNING|n[1-2]|1:00|2026-01-01T00:00:00|main|None\n"
        "18_1|RUNNING|n1|9:00|N/A|main|None\n18_2|PENDING||10:00|N/A|main|Resources | now\n",
    )
    fake_slurm.set("squeue order", "12\n18_2\n")
    states = commands.job_states(["17", "18"])
    assert [(s.job, s.state, s.nodes, s.time_left) for s in states["17"]] == [("17", "RUNNING", "n[1-2]", "1:00")]
    assert [(s.job, s.state, s.position) for s in states["18"]] == [("18_1", "RUNNING", 0), ("18_2", "PENDING", 2)]
    assert states["18"][1].reason == "Resources | now"


def test_ended_jobs_come_from_accounting(fake_slurm: FakeSlurm) -> None:
    fake_slurm.set("squeue", "slurm_load_jobs error: Invalid job id specified", 1)
    fake_slurm.set("sacct", "17|CANCELLED by 0|0:15|n1\n18_1|COMPLETED|0:0|n1\n18_2|FAILED|1:0|n2\n")
    states = commands.job_states(["17", "18"])
    assert [s.state for s in states["17"]] == ["CANCELLED"]
    assert [(s.job, s.state) for s in states["18"]] == [("18_1", "COMPLETED"), ("18_2", "FAILED")]
    assert fake_slurm.calls("scontrol") == []


def test_without_accounting_the_controller_is_asked(fake_slurm: FakeSlurm) -> None:
    fake_slurm.set("squeue", "")
    fake_slurm.set("scontrol", "JobId=17 JobName=a JobState=COMPLETED Reason=None ExitCode=0:0 NodeList=n1\n")
    assert [(s.state, s.nodes) for s in commands.job_states(["17"])["17"]] == [("COMPLETED", "n1")]


def test_no_answer_is_unknown_never_finished(fake_slurm: FakeSlurm) -> None:
    fake_slurm.set("squeue", "slurm_load_jobs error: Unable to contact slurm controller", 1)
    fake_slurm.set("sacct", "17|COMPLETED|0:0|n1\n")
    assert [(s.state, s.reason) for s in commands.job_states(["17"])["17"]] == [
        ("UNKNOWN", "the scheduler does not answer")
    ]
    fake_slurm.set("squeue", "", "hang")
    assert commands.job_states(["17"], 0.5)["17"][0].state == "UNKNOWN"
    fake_slurm.set("squeue", "")
    fake_slurm.set("sacct", "", 1)
    fake_slurm.set("scontrol", "slurm_load_jobs error: Invalid job id specified", 1)
    assert commands.job_states(["17"])["17"][0].reason == "Slurm no longer knows this job"


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("squeue", "", "hang"),
        ("squeue", "17|RUNNING|n1|1:00|N/A|main|None", "endless"),
        ("squeue", "17|RUNNING|n1|1:00|N/A|main|None\n" * 200_000, 0),
        ("squeue", "slurm_load_jobs error: x\n" * 300_000, 1),
        ("sacct", "", "hang"),
        ("sacct", "17|COMPLETED|0:0|n1", "endless"),
        ("scontrol", "", "hang"),
        ("scontrol", "JobId=17 JobState=COMPLETED ", "endless"),
    ],
)
def test_status_is_there_in_seconds_whatever_the_scheduler_does(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command,
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, code: int | str,
) -> None:  # fmt: skip
    """Without end, a million lines, or nothing: unknown. 4 s are the limit of all questions together."""
    folder = tmp_path / "out"
    assert command("submit", study, "--output", folder)[0] == 0
    for other in ("squeue", "sacct", "scontrol"):
        fake_slurm.set(other, "", 0 if other == "squeue" else 1)
    fake_slurm.set(name, text, code)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    answer, out, err = command("status", folder, "--json")
    # The rest is the time that the stand-ins, which are Python, take to start and to write on a busy machine.
    assert time.monotonic() - began < 4.0 + 6.0
    assert (answer, err) == (0, "")
    [job] = json.loads(out)["jobs"]
    assert (job["job"], job["state"]) == ("17", "UNKNOWN")
    assert "not answer" in job["reason"] or "no longer knows" in job["reason"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100 << 10  # KiB


def test_limit_of_the_questions_is_the_users(fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_HPC_SCHEDULER_SECONDS", "0.2")
    fake_slurm.set("squeue", "", "hang")
    began = time.monotonic()
    assert commands.job_states(["17"])["17"][0].reason == "the scheduler does not answer"
    assert time.monotonic() - began < 3.5
    monkeypatch.setenv("DASH_HPC_SCHEDULER_SECONDS", "soon")
    with pytest.raises(UsageError, match="DASH_HPC_SCHEDULER_SECONDS must be a positive number"):
        commands.job_states(["17"])


def test_strange_answers_are_no_states(fake_slurm: FakeSlurm) -> None:
    fake_slurm.set(
        "squeue", f"|||||||\n17_{'9' * 5000}|RUNNING||||m|\n17_²|RUNNING||||m|\n17\n\x00\n18|RUNNING|n|1|2|m|\n"
    )
    states = commands.job_states(["17", "18"])
    assert [s.state for s in states["17"]] == ["RUNNING", "RUNNING"]
    assert [s.job for s in states["18"]] == ["18"]
    fake_slurm.set("sbatch", "9" * 5000 + "\n")
    with pytest.raises(UsageError, match="gave no job id") as told:
        commands.submit(Path("x"))
    assert len(str(told.value)) < 500


# What Slurm 22.05, its pmi2 plugin, Hydra and Open MPI 5 set in a step, and what belongs to site and user.
STEP_NAMES = """SLURM_JOB_ID SLURM_JOBID SLURM_STEP_ID SLURM_STEPID SLURM_CPU_BIND SLURM_CPU_BIND_LIST
SLURM_CPU_BIND_TYPE SLURM_CPU_BIND_VERBOSE SLURM_CPUS_PER_TASK SLURM_MEM_PER_CPU SLURM_MEM_PER_NODE SLURM_MEM_BIND
SLURM_NTASKS SLURM_NPROCS SLURM_NNODES SLURM_NODELIST SLURM_DISTRIBUTION SLURM_TASKS_PER_NODE SLURM_PROCID SLURM_LOCALID
SLURM_GTIDS SLURM_GPUS SLURM_EXPORT_ENV SLURM_STEP_NUM_TASKS SLURM_MPI_TYPE SLURM_OVERLAP SLURM_EXACT
SLURM_WORKING_CLUSTER SLURMD_NODENAME SLURMD_DEBUG SLURM_THREADS_PER_CORE SLURM_HINT SBATCH_CPU_BIND
SBATCH_MEM_BIND_LIST SRUN_DEBUG CUDA_VISIBLE_DEVICES PMI_RANK PMI_SIZE PMI_FD PMI_JOBID PMI2_FD PMIX_RANK PMIX_NAMESPACE
PMIX_SERVER_URI41 OMPI_COMM_WORLD_SIZE OMPI_UNIVERSE_SIZE OMPI_FILE_LOCATION OMPI_MCA_num_procs PRTE_LAUNCHED
HYDI_CONTROL_FD MPI_LOCALNRANKS MPI_LOCALRANKID MV2_COMM_WORLD_RANK PALS_RANKID"""
OWN_NAMES = """SLURM_CONF SBATCH_PARTITION SBATCH_ACCOUNT SBATCH_EXPORT OMPI_MCA_btl OMPI_ALLOW_RUN_AS_ROOT PMIX_MCA_gds
HYDRA_IFACE FI_PROVIDER OMP_NUM_THREADS HOME PATH DASH_HPC_DATA MY_SLURM_NOTE"""


def test_job_inherits_nothing_of_the_step_that_submits_it(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    step, own = STEP_NAMES.split(), OWN_NAMES.split()
    for name in (*step, *own):
        if name not in ("PATH", "HOME"):
            monkeypatch.setenv(name, "1")
    assert command("submit", study, "--output", tmp_path / "out")[0] == 0
    seen = fake_slurm.environment("sbatch")
    assert [name for name in step if name in seen] == []
    assert [name for name in own if name not in seen] == []


def test_gpus_of_a_workstation_are_the_users_choice(fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of any allocation nobody but the user has named them."""
    for name in ("SLURM_JOB_ID", "SLURM_JOBID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    commands.submit(Path("x"))
    assert fake_slurm.environment("sbatch")["CUDA_VISIBLE_DEVICES"] == "2"


def test_own_filters_of_the_user_do_not_hide_jobs(fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    fake_slurm.set("squeue", "17|PENDING|n1|1:00|N/A|main|None\n")
    assert commands.job_states(["17"])["17"][0].state == "PENDING"
    seen = fake_slurm.environment("squeue")
    assert "SQUEUE_STATES" not in seen
    assert seen["SLURM_CONF"] == "/etc/slurm/slurm.conf"


def test_without_slurm_everything_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commands.job_states(["17"])["17"][0].state == "UNKNOWN"
    with pytest.raises(UsageError, match="sbatch is not on PATH"):
        commands.submit(tmp_path / "x")


def test_status_shows_the_job_beside_the_store(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command
) -> None:
    folder = tmp_path / "out"
    assert command("submit", study, "--output", folder)[0] == 0
    fake_slurm.set("squeue", "17|PENDING||10:00|N/A|main|Priority\n")
    fake_slurm.set("squeue order", "3\n4\n17\n")
    (folder / "log" / "slurm-17.out").write_text("ValueError: mild\ndash-hpc: error: no room\nall is well\n")
    code, out, _ = command("status", folder)
    assert code == 0
    assert "job 17 (mpi): pending, number 3 in the queue, Priority" in out
    assert "last error in the log: dash-hpc: error: no room\n" in out
    assert command("status", folder, "--check")[0] == 3
    fake_slurm.set("squeue", "", 1)
    assert "job 17 (mpi): unknown" in command("status", folder)[1]


def test_cancel_ends_what_has_not_ended(study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command) -> None:
    folder = tmp_path / "out"
    for _ in range(2):
        assert command("submit", study, "--output", folder)[0] == 0
    fake_slurm.set("squeue", "18|RUNNING|n1|1:00|N/A|main|None\n")
    fake_slurm.set("sacct", "17|COMPLETED|0:0|n1\n")
    fake_slurm.set("scancel")
    code, out, _ = command("cancel", folder)
    assert (code, out) == (0, "cancelled: 18\n")
    assert fake_slurm.calls("scancel") == [["18"]]
    fake_slurm.set("squeue", "")
    fake_slurm.set("sacct", "18|CANCELLED|0:0|n1\n17|COMPLETED|0:0|n1\n")
    assert command("cancel", folder)[1] == "no job of this study waits or runs\n"


def test_cancel_says_so_when_slurm_does_not_answer(
    study: Path, tmp_path: Path, fake_slurm: FakeSlurm, command: Command
) -> None:
    folder = tmp_path / "out"
    assert command("submit", study, "--output", folder)[0] == 0
    fake_slurm.set("squeue", "Unable to contact slurm controller", 1)
    code, out, err = command("cancel", folder)
    assert code == 2
    assert out == ""
    assert "does not answer" in err


def test_script_names_a_folder_by_its_bytes(study: Path, tmp_path: Path, fake_slurm: FakeSlurm) -> None:
    """Latin-1 ``ü``; also where the locale knows ASCII only."""
    folder = os.fsencode(tmp_path) + b"/lat\xfcn"
    words = [sys.executable, "-m", "dash_hpc", "submit", os.fsencode(study), b"--output", folder]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    for more in ([], ["--dry-run"]):
        done = subprocess.run([*words, *more], capture_output=True, check=True, env=environment)
    line = next(line for line in done.stdout.splitlines() if line.startswith(b"folder="))
    read = subprocess.run(["bash", "-c", line + b'; printf %s "$folder"'], capture_output=True, check=True)
    assert read.stdout == folder
    assert (Path(os.fsdecode(folder)) / "log" / "job-1.sbatch").read_bytes() == done.stdout
    assert fake_slurm.environment("sbatch")["PYTHONUTF8"] == "0"
