"""The image runs: alone, under MPI, for ordinary users, as a job; and gives the host's bits."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_tools import CLI, Cluster, assert_same, attempts, command, openmpi_python, wait_for

from dash_hpc.store import open_store

MPIEXEC = Path(sys.executable).parent / "mpiexec"
MOST_BYTES = 700_000_000
# Nothing of the host but what is bound, not even its environment and its processes.
ALONE = ["apptainer", "--quiet", "exec", "--containall"]
# Ranks need the launcher's environment; nothing of the host's files but what is bound.
RANK = ["apptainer", "--quiet", "exec", "--no-mount", "home,cwd,tmp"]


def images_of(folder: Path) -> list[dict[str, str]]:
    store = open_store(folder)
    return [store.provenance(run_id)["container"] for run_id in store.planned]


def test_image_tests_itself_and_says_what_it_is(image: Path) -> None:
    assert image.stat().st_size <= MOST_BYTES
    done = command("apptainer", "test", image)
    assert "built with baseline, avx2, avx512" in done.stdout
    assert "all is well" in done.stdout
    assert "MPICH Version" in done.stdout
    labels = command("apptainer", "inspect", "--json", image).stdout
    values = json.loads(labels)["data"]["attributes"]["labels"]
    assert values["org.opencontainers.image.version"]
    assert len(values["org.opencontainers.image.revision"].partition("+")[0]) == 40
    assert values["org.opencontainers.image.created"].endswith("Z")
    assert "mpiexec -n 4 apptainer exec" in command("apptainer", "run-help", image).stdout
    assert command("apptainer", "run", image, "--version").stdout == command(*CLI, "--version").stdout


def test_study_inside_with_one_folder_bound(image: Path, boxed: Path, boxed_reference: Path, tmp_path: Path) -> None:
    shutil.copy(boxed, tmp_path)
    command(*ALONE, "--bind", tmp_path, image, "dash-hpc", "run", tmp_path / boxed.name, "--output", tmp_path / "out")
    assert_same(boxed_reference, tmp_path / "out")
    assert (tmp_path / "out" / "report" / "index.html").is_file()
    made = images_of(tmp_path / "out")[0]
    assert made["mpi"] == "mpich"
    assert made["content"].startswith("sha256:")
    # A second look from the host finds everything in order.
    command(*CLI, "verify", tmp_path / "out")


def test_ranks_in_containers_under_the_hosts_launcher(
    image: Path, boxed: Path, boxed_reference: Path, tmp_path: Path
) -> None:
    if not MPIEXEC.exists():
        pytest.skip("no mpiexec beside this interpreter; pip install 'dash-hpc[mpi]'")
    shutil.copy(boxed, tmp_path)
    words = [*RANK, "--bind", tmp_path, image, "dash-hpc", "run", tmp_path / boxed.name, "--output", tmp_path / "out"]
    done = command(MPIEXEC, "-n", 4, *words)
    assert_same(boxed_reference, tmp_path / "out")
    assert done.stderr.count("rank 3 on ") == 1
    assert len(json.loads((tmp_path / "out" / "log" / "ranks.json").read_text())["ranks"]) == 4


def test_launcher_of_another_mpi_is_refused_in_one_line(image: Path, boxed: Path, tmp_path: Path) -> None:
    python = openmpi_python()
    words = ["apptainer", "--quiet", "exec", "--bind", boxed.parent, image, "dash-hpc", "run", boxed, "--output"]
    done = command(python.parent / "mpiexec", "-n", 4, *words, boxed.parent / "never", code=None)
    lines = [line for line in done.stderr.splitlines() if line.startswith("dash-hpc")]
    assert len(lines) == 1, done.stderr
    assert "mpiexec of Open MPI " in lines[0]
    assert f"but the image {image.name} has MPICH Version: " in lines[0]
    assert done.returncode == 2
    assert not (boxed.parent / "never").exists()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may use: pytest's own is for one user only."""
    folder = Path(tempfile.mkdtemp(prefix="dash-hpc-test-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_ordinary_user(image: Path, boxed: Path, boxed_reference: Path, shared: Path) -> None:
    """Alone, and with ranks that have a user namespace each."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    shutil.copy(boxed, shared)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", f"HOME={shared}"]
    if subprocess.run([*user, "test", "-r", image], check=False).returncode:
        copy = shared / "dash-hpc.sif"
        shutil.copy(image, copy)
        image = copy
    run = ["dash-hpc", "run", shared / boxed.name, "--output"]
    command(*user, *ALONE, "--bind", shared, image, *run, shared / "alone", cwd=shared)
    assert_same(boxed_reference, shared / "alone")
    assert (shared / "alone" / "plan.jsonl").stat().st_uid == 65534
    if subprocess.run([*user, "test", "-x", MPIEXEC], check=False).returncode == 0:
        command(*user, MPIEXEC, "-n", 2, *RANK, "--bind", shared, image, *run, shared / "ranks", cwd=shared)
    else:
        command(*user, *ALONE, "--bind", shared, image, "mpiexec", "-n", 2, *run, shared / "ranks", cwd=shared)
    assert_same(boxed_reference, shared / "ranks")


def test_job_of_slurm_with_the_image(
    cluster: Cluster, image: Path, boxed: Path, boxed_reference: Path, tmp_path: Path
) -> None:
    """Every rank in the image, over two nodes; the digest of the image in each run's file."""
    job = cluster.submit(boxed, tmp_path / "out", "--nodes", 2, "--tasks-per-node", 2, "--container", image)
    assert cluster.wait(job) == "COMPLETED"
    assert_same(boxed_reference, tmp_path / "out")
    hosts = {rank["host"] for rank in json.loads((tmp_path / "out" / "log" / "ranks.json").read_text())["ranks"]}
    assert len(hosts) == 2
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    assert {facts["sha256"] for facts in images_of(tmp_path / "out")} == {digest}
    assert f"SHA-256 {digest}" in (tmp_path / "out" / "report" / "index.html").read_text()


def test_warning_passes_into_the_containers_and_the_job_comes_back(
    cluster: Cluster, image: Path, boxed: Path, tmp_path: Path
) -> None:
    long = tmp_path / "long.toml"
    long.write_text(boxed.read_text().replace("0..3", "0..1").replace("epochs = 60", "epochs = 5000"))
    command(*CLI, "run", long, "--output", tmp_path / "reference")
    out = tmp_path / "out"
    job = cluster.submit(long, out, "--nodes", 2, "--tasks-per-node", 1, "--container", image)
    cluster.wait_until_training(out)
    warned = time.monotonic()
    command("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: "cause" in attempts(out, job)[0], 30, "the first attempt has ended")
    assert time.monotonic() - warned < 30
    assert attempts(out, job)[0]["cause"] in ("time-out", "pre-emption")
    assert attempts(out, job)[0]["gained"]
    assert cluster.wait(job) == "COMPLETED"
    assert_same(tmp_path / "reference", out)
    assert len(attempts(out, job)) == 2
