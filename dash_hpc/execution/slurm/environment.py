"""What Slurm's commands inherit of the shell that calls them: nothing of a step that this shell may be in.

``sbatch`` hands its environment on to the job, and ``srun`` there obeys what it finds: the binding, the memory and the
tasks of the caller's own step, which say nothing about the new job.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["caller_environment", "job_environment"]

#: Settings of the site or the user, not of an allocation.
_KEPT = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"}
#: Set by Slurm for a job or step, and by what launches MPI ranks in it. A user's own choices stay: SBATCH_* (but what
#: Slurm itself writes there), OMPI_MCA_*, PMIX_MCA_*, PRTE_MCA_*, HYDRA_*.
_STEP = re.compile(
    r"""SLURM(D|_.*|D_.*)?
    | SBATCH_(CPU_BIND|MEM_BIND).*
    | SRUN_DEBUG
    | PMI2?_.* | PMIX_(?!MCA_).* | PALS?_.* | HYDI_.* | MPI_LOCAL(NRANKS|RANKID)
    | OMPI_(?!MCA_|ALLOW_).* | OMPI_MCA_((ess|orte|pmix|prte|plm|initial)_.*|PREFIXES|cpu_type|num_procs)
    | PRTE_(?!MCA_|ALLOW_).*
    | MV2_COMM_WORLD_.* | MPIRUN_.*""",
    re.VERBOSE,
)
#: GPUs of the caller's step; the new job gets its own.
_GPUS = {"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"}
#: Filters and formats of the user's own questions, which would change the answers to ours.
_QUESTION = re.compile(r"(SQUEUE|SACCT|SCANCEL|SCONTROL)_.*|SHOW_(ALL|FEDERATION|LOCAL|CONFLICTS)|SLURM_TIME_FORMAT")


def job_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without what belongs to the caller's step, for ``sbatch``."""
    inside = "SLURM_JOB_ID" in environ or "SLURM_JOBID" in environ
    return {
        name: value
        for name, value in environ.items()
        if name in _KEPT or not (_STEP.fullmatch(name) or (inside and name in _GPUS))
    }


def caller_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without the user's own filters and formats, for ``squeue`` and the like."""
    return {name: value for name, value in environ.items() if not _QUESTION.fullmatch(name)}
