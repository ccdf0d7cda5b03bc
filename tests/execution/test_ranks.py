"""What the launcher promised, how cores and GPUs are shared out, and repeated signals of a scheduler."""

from __future__ import annotations

import signal

import pytest

from dash_hpc.errors import UsageError
from dash_hpc.execution.machine.binding import Place, bindings, describe, here, warnings_of
from dash_hpc.execution.machine.signals import StopFlag
from dash_hpc.execution.mpi.launch import check_family, check_world, choose_engine, promise

SRUN = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_NTASKS": "4"}
# Hydra's proxies are one step of Slurm with one task per node: the step's numbers are not those of the ranks.
HYDRA_IN_SLURM = {**SRUN, "SLURM_STEP_NUM_TASKS": "2", "PMI_SIZE": "4", "PMI_RANK": "3"}


@pytest.mark.parametrize(
    ("environ", "size", "rank"),
    [
        (SRUN, 4, 2),
        (HYDRA_IN_SLURM, 4, 3),
        ({"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "7", "PMIX_RANK": "7"}, 8, 7),
        ({"PMI_SIZE": "x", "PMI_RANK": "1"}, None, None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}, None, None),
        ({}, None, None),
    ],
)
def test_promise_of_each_launcher(environ: dict[str, str], size: int | None, rank: int | None) -> None:
    made = promise(environ)
    assert (made and made.size, made and made.rank) == (size, rank)


def test_engine_follows_the_launcher() -> None:
    assert choose_engine("auto", {}) == "local"
    assert choose_engine("auto", SRUN) == "mpi"
    assert choose_engine("auto", {**SRUN, "SLURM_STEP_NUM_TASKS": "1"}) == "local"
    assert choose_engine("mpi", {}) == "mpi"
    assert choose_engine("local", SRUN) == "local"


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        (SRUN, "SLURM_STEP_ID SLURM_STEP_NUM_TASKS"),
        ({"PMI_SIZE": "4", "PMI_RANK": "2", "PMI_FD": "9", "HOME": "/"}, "PMI_FD PMI_RANK PMI_SIZE"),
        (
            {"OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "1", "OMPI_MCA_btl": "tcp,self"},
            "OMPI_COMM_WORLD_SIZE PMIX_RANK",
        ),
    ],
)
def test_variables_that_are_left_over_are_named(environ: dict[str, str], names: str) -> None:
    made = promise(environ)
    assert made is not None
    with pytest.raises(UsageError, match=f"unset {names}, or give --engine local"):
        check_world(1, made, "MPICH Version: 5.0.2", environ)
    # Without them nothing is promised any more.
    assert promise({name: value for name, value in environ.items() if name not in names.split()}) is None


def test_world_of_another_size_is_refused_with_the_remedy() -> None:
    check_world(4, promise(SRUN), "MPICH Version: 5.0.2")
    check_world(3, None, "MPICH Version: 5.0.2")
    with pytest.raises(UsageError, match=r"srun started 4 .* Python has MPICH Version: 5.0.2, .* world of 1: "):
        check_world(1, promise(SRUN), "MPICH Version: 5.0.2")
    with pytest.raises(UsageError, match="--mpi=pmix"):
        check_world(1, promise(SRUN), "Open MPI v5.0.11")
    with pytest.raises(UsageError, match="needs a launcher"):
        check_world(1, None, "Open MPI v5.0.11")


OPENMPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "OMPI_VERSION": "5.0.11"}


def test_launcher_and_library_of_different_families_are_both_named() -> None:
    """As with an image whose MPI is not the host's."""
    image = {"APPTAINER_CONTAINER": "/images/dash.sif"}
    check_family(promise(OPENMPI), "Open MPI v5.0.10", OPENMPI)
    check_family(promise(SRUN), "MPICH Version: 5.0.2", SRUN)
    check_family(None, "MPICH Version: 5.0.2", {})
    check_family(promise(OPENMPI), "MPICH Version: 4.2", {**OPENMPI, "MPIR_CVAR_PMI_VERSION": "pmix"})
    with pytest.raises(UsageError) as told:
        check_family(promise(OPENMPI), "MPICH Version: 5.0.2", {**OPENMPI, **image})
    assert str(told.value) == (
        "mpiexec of Open MPI 5.0.11 started 4 processes (OMPI_COMM_WORLD_SIZE=4), but the image dash.sif has MPICH "
        "Version: 5.0.2, which cannot join it: start with srun -K --mpi=pmi2, or with the mpiexec of the same MPI, on "
        "the host or (for one node) inside the image; if OMPI_COMM_WORLD_SIZE is only left over from an earlier "
        "launch: unset OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE, or give --engine local"
    )
    hydra = {"PMI_SIZE": "4", "PMI_RANK": "0", "HYDI_CONTROL_FD": "7"}
    with pytest.raises(UsageError, match=r"mpiexec of MPICH .* dash.sif has Open MPI v5.0.11, .* of 1.*pmix"):
        check_world(1, promise(hydra), "Open MPI v5.0.11", {**hydra, **image})
    plugin = {"PMI_SIZE": "4", "PMI_RANK": "0", "SLURM_MPI_TYPE": "pmi2"}
    with pytest.raises(UsageError, match="srun --mpi=pmi2 started 4"):
        check_world(1, promise(plugin), "Open MPI v5.0.11", plugin)


def place(rank: int, host: str = "n1", cores: int = 8, granted: int | None = None, gpus: str = "") -> Place:
    return Place(rank, host, 100 + rank, tuple(range(cores)), granted or cores, tuple(gpus.split()))


def test_ranks_of_a_host_share_its_cores_and_gpus() -> None:
    got = bindings([place(0, gpus="0 1"), place(1, "n2"), place(2, gpus="0 1"), place(3, gpus="0 1")])
    assert [b.local_rank for b in got] == [0, 0, 1, 2]
    assert [b.cores for b in got] == [(0, 1), tuple(range(8)), (2, 3), (4, 5)]
    assert [b.threads for b in got] == [2, 8, 2, 2]
    assert [b.gpu for b in got] == ["0", "", "1", "0"]
    assert describe(got[2]) == (
        "rank 2 on n1: local rank 1 of 3, cores 2-3 (bound by dash-hpc), 2 runs at a time, GPU 1"
    )
    assert warnings_of([place(k) for k in range(8)]) == []


def test_ranks_with_a_gpu_get_one_call_at_a_time() -> None:
    got = bindings([place(0, gpus="0 1"), place(1, "n2"), place(2, gpus="0 1")], on_gpu=True)
    assert [b.threads for b in got] == [1, 8, 1]
    assert [b.cores for b in got] == [(0, 1, 2, 3), tuple(range(8)), (4, 5, 6, 7)]
    assert [b.gpu for b in got] == ["0", "", "1"]


def test_more_ranks_than_cores_are_warned_of() -> None:
    places = [place(k, cores=2) for k in range(4)]
    assert [b.cores for b in bindings(places)] == [(0,), (1,), (0,), (1,)]
    assert [b.threads for b in bindings(places)] == [1] * 4
    assert warnings_of(places) == ["n1: 4 ranks share 2 cores; start one rank per core"]


def test_binding_of_the_launcher_is_kept() -> None:
    bound = [Place(k, "n1", k, (2 * k, 2 * k + 1), 4, ()) for k in range(2)]
    got = bindings(bound)
    assert [b.cores for b in got] == [(0, 1), (2, 3)]
    assert {b.bound_by for b in got} == {"launcher"}
    assert [b.threads for b in got] == [2, 2]


def test_part_of_a_host_is_not_guessed() -> None:
    """Slurm granted 4 of 64 cores without saying which: two jobs must not both take the first four."""
    got = bindings([place(k, cores=64, granted=4) for k in range(4)])
    assert {b.bound_by for b in got} == {"nobody"}
    assert [b.threads for b in got] == [1] * 4


def test_environment_names_the_gpus() -> None:
    assert here(0, {"CUDA_VISIBLE_DEVICES": "2, GPU-ab"}).gpus == ("2", "GPU-ab")
    assert here(0, {"CUDA_VISIBLE_DEVICES": ""}).gpus == ()
    assert here(0, {"CUDA_VISIBLE_DEVICES": "", "SLURM_CPUS_ON_NODE": "3"}).granted == 3


def test_scheduler_may_send_several_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with StopFlag(leave=left.append) as flag:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1):
            signal.raise_signal(number)
    assert flag.reason == "SIGUSR1"
    assert left == []
    monkeypatch.delenv("SLURM_JOB_ID")
    with StopFlag(leave=left.append):
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)
    assert left == [3]
