"""What the launcher promised: read from the environment, before MPI is touched.

The trap this guards against: ``srun`` without ``--mpi``, or with that of another MPI, starts N processes each of which
is a world of its own and does the whole study. The launchers leave the number of ranks in the environment, so that it
can be compared with the size of the world.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dash_hpc.errors import UsageError

__all__ = ["Engine", "Promise", "check_family", "check_world", "choose_engine", "left_over", "promise"]

_MOST_NAMES = 12
Engine = Literal["auto", "local", "mpi"]

# In this order: Hydra starts its proxies through srun, so that under it Slurm's step counts proxies, not ranks.
_SOURCES = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "Open MPI's mpiexec"),
    ("PMI_SIZE", "PMI_RANK", "PMI"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MVAPICH's mpiexec"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun"),
)


@dataclass(frozen=True)
class Promise:
    """How many ranks the launcher said it started, which one this is, and the variable that says so."""

    size: int
    rank: int
    launcher: str
    variable: str


def promise(environ: Mapping[str, str] | None = None) -> Promise | None:
    """Return what the launcher promised; None when this process was not started by one.

    In a batch script itself (``sbatch`` without ``srun``) there is no step, and so no promise.
    """
    environ = os.environ if environ is None else environ
    for size, rank, launcher in _SOURCES:
        number = environ.get(size, "")
        if size.startswith("SLURM") and "SLURM_STEP_ID" not in environ:
            continue
        if number.isascii() and number.isdigit():
            own = environ.get(rank, "0")
            launcher = _named(launcher, environ)
            return Promise(int(number), int(own) if own.isdigit() else 0, launcher, size)
    return None


def _named(launcher: str, environ: Mapping[str, str]) -> str:
    """Name a launcher with its version, where it leaves one in the environment."""
    if version := environ.get("OMPI_VERSION" if launcher.startswith("Open MPI") else "", ""):
        return f"mpiexec of Open MPI {version}"
    if launcher == "PMI" and "HYDI_CONTROL_FD" in environ:
        return "mpiexec of MPICH (Hydra)"
    if plugin := environ.get("SLURM_MPI_TYPE"):
        return f"srun --mpi={plugin}"
    return launcher


def choose_engine(engine: Engine, environ: Mapping[str, str] | None = None) -> Literal["local", "mpi"]:
    """Return "mpi" under a launcher of several ranks (or when asked for), else "local".

    What is asked for is done: the variables may be left over from a launcher that is long gone. Where they are not,
    only the first of the ranks gets the lease of the driver, and the others say so.
    """
    if engine != "auto":
        return engine
    made = promise(environ)
    return "local" if made is None or made.size == 1 else "mpi"


def left_over(made: Promise, environ: Mapping[str, str] | None = None) -> str:
    """Return what to do when no launcher is there any more and only its variables are."""
    environ = os.environ if environ is None else environ
    # A user's choices (OMPI_MCA_btl) are not the launcher's promise, and the allocation (SLURM_JOB_ID) may be there.
    stems = {
        "OMPI_COMM_WORLD_SIZE": ("OMPI_COMM_WORLD_", "PMIX_"),
        "PMI_SIZE": ("PMI_",),
        "MV2_COMM_WORLD_SIZE": ("MV2_COMM_WORLD_", "PMI_"),
        "SLURM_STEP_NUM_TASKS": ("SLURM_STEP_",),
    }
    names = sorted(name for name in environ if name.startswith(stems.get(made.variable, (made.variable,))))
    shown = " ".join([*names[:_MOST_NAMES], *(["…"] if len(names) > _MOST_NAMES else [])])
    return f"if {made.variable} is only left over from an earlier launch: unset {shown}, or give --engine local"


def check_family(made: Promise | None, library: str, environ: Mapping[str, str] | None = None) -> None:
    """Refuse, before MPI starts, a launcher whose ranks this library cannot join.

    MPICH under Open MPI's mpiexec ends every rank at once with a message about PMI versions that helps nobody.

    Raises
    ------
    UsageError
        With the versions of both.
    """
    environ = os.environ if environ is None else environ
    if made is None or made.variable != "OMPI_COMM_WORLD_SIZE" or "open mpi" in library.lower():
        return
    # An MPICH that was built for PMIx, and told to use it, does join.
    if environ.get("MPIR_CVAR_PMI_VERSION", "").lower() != "pmix":
        raise UsageError(_mismatch(made, library, "which cannot join it", environ))


def _mismatch(made: Promise, library: str, what: str, environ: Mapping[str, str]) -> str:
    inside = environ.get("APPTAINER_CONTAINER") or environ.get("SINGULARITY_CONTAINER")
    where = f"the image {Path(inside).name} has {library}" if inside else f"this Python has {library}"
    plugin = "pmix" if "open mpi" in library.lower() else "pmi2"
    return (
        f"{made.launcher} started {made.size} processes ({made.variable}={made.size}), but {where}, {what}: start with "
        f"srun -K --mpi={plugin}, or with the mpiexec of the same MPI"
        + (", on the host or (for one node) inside the image" if inside else "")
        + f"; {left_over(made, environ)}"
    )


def check_world(size: int, made: Promise | None, library: str, environ: Mapping[str, str] | None = None) -> None:
    """Compare the size of the world with the launcher's promise.

    Parameters
    ----------
    size : int
        Number of ranks of ``MPI.COMM_WORLD``.
    made : Promise, optional
    library : str
        Name of the MPI library, for the remedy.

    Raises
    ------
    UsageError
        When they differ, or when a single rank was started without any launcher.
    """
    if made is None and size == 1:
        raise UsageError("--engine mpi needs a launcher: mpiexec -n 4 dash-hpc run …, or srun -K --mpi=pmi2 dash-hpc …")
    if made is None or made.size == size:
        return
    raise UsageError(
        _mismatch(made, library, f"which sees a world of {size}", os.environ if environ is None else environ)
    )
