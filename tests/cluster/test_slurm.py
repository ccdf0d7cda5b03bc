"""Jobs of a real Slurm: same bits on two nodes, arrays, warnings, kills, cancellation."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from cluster_tools import CLI, Cluster, assert_same, attempts, command, kill, openmpi_python, wait_for

from dash_hpc.store import open_store
from dash_hpc.store.checkpoint import checkpoint_paths

NASTY = '$(touch x); "a b" %j'
MOST_SECONDS_LOST = 5.0
MPI = ("--nodes", 2, "--tasks-per-node", 2)
PAIR = ("--nodes", 2, "--tasks-per-node", 1)


def log_of(folder: Path, job: str) -> str:
    return (folder / "log" / f"slurm-{job}.out").read_text()


@dataclass
class UnderWay:
    """A run as an attempt left it: when its last checkpoint was written, and how long each epoch had taken."""

    saved: float
    epochs: list[int]
    seconds: list[float]


def under_way(folder: Path) -> dict[str, UnderWay]:
    store = open_store(folder)
    found = {}
    for run_id, state in store.column("status").items():
        if state == "running":
            saved = max(path.stat().st_mtime for path in checkpoint_paths(folder, run_id) if path.exists())
            history = store.record(run_id).history
            found[run_id] = UnderWay(saved, list(history["epoch"]), list(history["seconds"]))
    return found


def seconds_repeated(folder: Path, run_id: str, left: UnderWay) -> float:
    """Wall time of the epochs that the attempt had trained and the next one, by its own account, trained again."""
    after = open_store(folder).provenance(run_id)["resumed"][0]["epoch"]
    return sum(seconds for epoch, seconds in zip(left.epochs, left.seconds, strict=True) if epoch > after)


def test_mpi_job_over_two_nodes(
    cluster: Cluster, study: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four ranks over two nodes, pip's mpich, srun --mpi=pmi2; name and folder would like to be commands."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / NASTY
    named = tmp_path / "named.toml"
    named.write_text(study.read_text().replace('"cluster"', f"'{NASTY}'"))
    job = cluster.submit(named, folder, *MPI, f"--sbatch=--comment={NASTY}")
    status = command(*CLI, "status", folder).stdout
    assert re.search(rf"job {job} \(mpi\): (pending|configuring|running|completing)", status)
    assert cluster.wait(job) == "COMPLETED"
    assert_same(reference, folder)
    ranks = json.loads((folder / "log" / "ranks.json").read_text())["ranks"]
    assert len(ranks) == 4
    assert len({rank["host"] for rank in ranks}) == 2
    shown = command("scontrol", "--oneliner", "show", "job", job).stdout
    assert f"JobName={NASTY} " in shown
    assert f"Comment={NASTY} " in shown
    assert log_of(folder, job).count("rank 3 on") == 1
    assert not (tmp_path / "x").exists()
    status = command(*CLI, "status", folder).stdout
    assert status.startswith(f"{NASTY}: 32 ")
    assert f"job {job} (mpi): completed" in status


def test_open_mpi_over_two_nodes_under_pmix(cluster: Cluster, study: Path, reference: Path, out: Path) -> None:
    python = openmpi_python()
    probe = command("srun", "--mpi=pmix", "--nodes=2", "--time=1", "true", code=None)
    if probe.returncode:
        pytest.skip(f"srun --mpi=pmix does not work here: {probe.stderr.strip()[:200]}")
    job = cluster.submit(study, out, *MPI, "--launcher", "srun -K --mpi=pmix", python=python)
    assert cluster.wait(job) == "COMPLETED"
    assert_same(reference, out)
    assert "4 ranks, Open MPI v" in log_of(out, job)


def test_preemption_by_an_urgent_job(cluster: Cluster, study: Path, out: Path) -> None:
    """A job of a partition that takes nodes back: the study's job makes room within its grace time, and comes back."""
    urgent = cluster.preempting_partition()
    # Two runs of ten seconds: Slurm takes its time to make room.
    text = study.read_text().partition('[[strategy]]\nname = "dash"')[0]
    long = out.with_suffix(".toml")
    long.write_text(re.sub(r"epochs = \d+", "epochs = 25000", text.replace("0..7", "0..1"), count=1))
    command(*CLI, "run", long, "--output", out.with_name("reference"))
    job = cluster.submit(long, out, *PAIR)
    cluster.wait_until_training(out)
    words = [
        "sbatch",
        "--parsable",
        f"--partition={urgent}",
        "--nodes=2",
        "--exclusive",
        "--time=1",
        "--output=/dev/null",
    ]
    other = command(*words, "--wrap=sleep 1").stdout.strip()
    cluster.jobs.append(other)
    assert cluster.wait(other) == "COMPLETED"
    assert cluster.wait(job) == "COMPLETED"
    assert_same(out.with_name("reference"), out)
    assert [attempt["cause"] for attempt in attempts(out, job)] == ["pre-emption", "finished"]
    assert attempts(out, job)[0]["gained"]
    assert "1 pre-emption" in command(*CLI, "status", out).stdout


def test_array_of_slices_and_its_report(cluster: Cluster, study: Path, reference: Path, out: Path) -> None:
    job = cluster.submit(study, out, "--array", 4)
    report = str(max(int(path.stem.removeprefix("job-")) for path in (out / "log").glob("job-*.json")))
    assert report != job
    cluster.jobs.append(report)
    assert cluster.wait(job) == "COMPLETED"
    assert cluster.wait(report) == "COMPLETED"
    assert_same(reference, out)
    assert (out / "report" / "index.html").is_file()
    assert len(list((out / "log").glob(f"slurm-{job}_*.out"))) == 4


def test_warning_makes_all_ranks_stop_and_the_job_come_back(
    cluster: Cluster, small: Path, small_reference: Path, out: Path
) -> None:
    job = cluster.submit(small, out, *PAIR)
    cluster.wait_until_training(out)
    warned = time.time()
    # What --signal=B:USR1@… does when the time is nearly up.
    command("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: "cause" in attempts(out, job)[0], 30, "the first attempt has ended")
    first = attempts(out, job)[0]
    assert first["cause"] in ("time-out", "pre-emption")
    assert first["gained"]
    assert datetime.fromisoformat(str(first["ended"])).timestamp() - warned < 15
    stopped = under_way(out)
    assert stopped
    # Each run was kept after the warning, so that only what its last epoch took could be lost.
    assert all(record.saved >= warned for record in stopped.values())
    assert cluster.wait(job) == "COMPLETED"
    assert_same(small_reference, out)
    assert len(attempts(out, job)) == 2
    assert sum(seconds_repeated(out, run_id, record) for run_id, record in stopped.items()) <= MOST_SECONDS_LOST
    log = log_of(out, job)
    assert "SIGUSR1: no new runs" in log
    assert "back into the queue" in log
    assert "Traceback" not in log


def test_killed_rank_and_then_a_whole_node(cluster: Cluster, small: Path, small_reference: Path, out: Path) -> None:
    """srun -K ends the step, the script takes the job back into the queue, and the second attempt resumes."""
    job = cluster.submit(small, out, *PAIR)
    cluster.wait_until_training(out)
    ranks = json.loads((out / "log" / "ranks.json").read_text())["ranks"]
    kill([ranks[1]["pid"]])
    wait_for(lambda: "cause" in attempts(out, job)[0], 60, "the first attempt has ended")
    assert attempts(out, job)[0]["cause"] == "crash"
    cluster.wait_until_training(out, attempt=2)
    # All processes of the job on the node that does not hold the script.
    other = json.loads((out / "log" / "ranks.json").read_text())["ranks"][1]["host"]
    victims = cluster.processes(job, other)
    assert victims
    kill(victims)
    assert cluster.wait(job, 120) == "COMPLETED"
    assert_same(small_reference, out)
    assert open_store(out).problems == ()


def test_cancelled_job_stays_cancelled_and_the_next_resumes(
    cluster: Cluster, small: Path, small_reference: Path, out: Path
) -> None:
    job = cluster.submit(small, out, *PAIR)
    cluster.wait_until_training(out)
    began = time.monotonic()
    assert command(*CLI, "cancel", out).stdout == f"cancelled: {job}\n"
    assert cluster.wait(job, 60) == "CANCELLED"
    wait_for(lambda: not cluster.processes(job), 30, "its processes have ended")
    assert time.monotonic() - began < 60
    trained = open_store(out).column("epochs")
    assert sum(trained.values()) > 0
    # Started twice at once: the second steps back, or finds everything done.
    second = cluster.submit(small, out, *PAIR)
    third = cluster.submit(small, out, "--nodes", 1, "--tasks-per-node", 1)
    cluster.wait(second)
    cluster.wait(third)
    assert_same(small_reference, out)
    # Between the two, and the one that was cancelled, each run came to its end once.
    ends = Counter(re.findall(r"run (\w{16}): done", (out / "log" / "driver.log").read_text()))
    assert ends == Counter(open_store(out).planned)


def test_srun_without_mpi_is_refused_in_one_line(cluster: Cluster, study: Path, out: Path) -> None:
    words = ["srun", "--mpi=none", "-N2", "-n4", "-t", "1", *CLI, "run", study, "--output", out]
    done = command(*words, code=None)
    lines = [line for line in done.stderr.splitlines() if line.startswith("dash-hpc")]
    assert len(lines) == 1
    assert "start with srun -K --mpi=" in lines[0]
    assert done.returncode == 2
    assert not out.exists()


def test_failing_runs_end_the_job_with_1_and_the_others_are_done(cluster: Cluster, study: Path, out: Path) -> None:
    job = cluster.submit(study, out, *PAIR, "--set", "solver.max_steps=11", "--set", "sweep.seeds=0..3")
    assert cluster.wait(job) == "FAILED"
    assert "ExitCode=1:0" in command("scontrol", "--oneliner", "show", "job", job).stdout
    counts = open_store(out).counts()
    assert counts["failed"] >= 1
    assert counts["done"] >= 1
    assert counts["failed"] + counts["done"] == counts["planned"]
    assert "step" in re.findall(r"^failed: run \w+: (.*)$", command(*CLI, "status", out).stdout, re.M)[0]
    assert len(attempts(out, job)) == 1
