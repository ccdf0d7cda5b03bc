"""What is looked at before MPI starts: launchers that are gone, the loopback interface, shared memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dash_hpc.errors import UsageError
from dash_hpc.execution.mpi import host
from dash_hpc.execution.mpi.host import HostUnfit, check_host, check_launcher, first_of_host, under_launcher
from dash_hpc.execution.mpi.launch import promise

MPICH = "MPICH Version: 5.0.2"
MIB = 1 << 20


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """A server, as a launcher leaves its address."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        yield server


def test_pmi_that_is_gone_is_told_with_its_variables() -> None:
    """The descriptor of PMI is the launcher's end of a socket; a number that is left over is none, or another file."""
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull) as null:
        for descriptor, gone in ((ours.fileno(), False), (null.fileno(), True), (999, True), ("x", True)):
            environ = {"PMI_SIZE": "4", "PMI_RANK": "1", "PMI_FD": str(descriptor)}
            if not gone:
                check_launcher(promise(environ), environ)
                continue
            with pytest.raises(UsageError, match=r"that launcher is gone; .*unset PMI_FD PMI_RANK PMI_SIZE, or give"):
                check_launcher(promise(environ), environ)


def test_address_at_which_nobody_answers_is_left_over(door: socket.socket) -> None:
    port = door.getsockname()[1]
    pmi = {"PMI_SIZE": "4", "PMI_RANK": "0", "PMI_PORT": f"127.0.0.1:{port}"}
    pmix = {"OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "0", "PMIX_SERVER_URI41": f"x@0.0;tcp4://127.0.0.1:{port}"}
    for environ in (pmi, pmix):
        check_launcher(promise(environ), environ)
    door.close()
    for environ in (pmi, pmix):
        with pytest.raises(UsageError, match="is gone"):
            check_launcher(promise(environ), environ)


def test_what_cannot_be_known_is_left_to_mpi() -> None:
    check_launcher(None, {})
    for environ in ({"PMI_SIZE": "4", "PMI_RANK": "0"}, {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}):
        check_launcher(promise(environ), environ)


def test_launcher_above_is_seen(tmp_path: Path) -> None:
    code = "from dash_hpc.execution.mpi.host import under_launcher; print(under_launcher())"
    for name, seen in (("hydra_pmi_proxy", "True"), ("slurmstepd", "True"), ("a) 1 (shell", "False")):
        # The kernel names a process after the file that it was started from.
        (tmp_path / name).symlink_to(sys.executable)
        inner = f"import subprocess, sys; subprocess.run(['sh', '-c', {sys.executable!r} + ' -c \"' + {code!r} + '\"'])"
        done = subprocess.run([tmp_path / name, "-c", inner], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == seen, done.stderr
    assert not under_launcher()


def test_first_rank_of_a_host_speaks() -> None:
    assert first_of_host({})
    assert first_of_host({"MPI_LOCALRANKID": "0"})
    assert not first_of_host({"SLURM_LOCALID": "2"})
    assert not first_of_host({"OMPI_COMM_WORLD_LOCAL_RANK": "1"})


@pytest.mark.parametrize(
    ("free", "environ", "need"),
    [
        (8 * MIB, {"MPI_LOCALNRANKS": "4"}, ""),
        (4 * MIB, {"MPI_LOCALNRANKS": "4"}, "4.0 MiB free, and 4 ranks of MPI need 5.0"),
        (1 * MIB, {}, "1.0 MiB free, and 1 rank of MPI need 1.2"),
        (30 * MIB, {"SLURM_STEP_TASKS_PER_NODE": "32(x2),8"}, "and 32 ranks of MPI need 40.0"),
    ],
)
def test_room_in_shared_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, environ: dict[str, str], need: str
) -> None:
    """MPICH 5.0.2 takes 1.01 MiB for each rank of a host (measured with 1 to 16)."""
    usage = SimpleNamespace(f_bavail=free // 4096, f_frsize=4096, f_flag=0)
    monkeypatch.setattr(host, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda path: usage)
    check_host("Open MPI v5.0.11", environ)
    if not need:
        check_host(MPICH, environ)
        return
    with pytest.raises(HostUnfit, match=need):
        check_host(MPICH, environ)
    # A rank that comes after the first one has taken it finds it there.
    (tmp_path / "mpich_shm_0_0").write_bytes(bytes(40 * MIB))
    check_host(MPICH, environ)


def test_no_shared_memory_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "SHARED_MEMORY", tmp_path / "none")
    with pytest.raises(HostUnfit, match=r"none, in which MPI's ranks meet, cannot be used \(No such file"):
        check_host(MPICH, {})


def test_no_loopback_interface() -> None:
    """In a network namespace of its own, as a sandbox makes one."""
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespace may be made here")
    code = (
        "from dash_hpc.execution.mpi.host import HostUnfit, check_host\n"
        f"try:\n    check_host({MPICH!r}, {{}})\nexcept HostUnfit as error:\n    print(error)"
    )
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "MPI needs the loopback interface, which does not work (Network is unreachable)" in done.stdout
    assert "ip link set lo up" in done.stdout
