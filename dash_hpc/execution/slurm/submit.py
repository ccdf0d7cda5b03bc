"""Submit a study's jobs, say how they stand, cancel them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dash_hpc.errors import StoreError
from dash_hpc.execution.machine.streams import say
from dash_hpc.execution.slurm import commands
from dash_hpc.execution.slurm.attempts import histories, jobs, record
from dash_hpc.execution.slurm.options import JobOptions
from dash_hpc.execution.slurm.script import report_script
from dash_hpc.execution.study_run import prepare
from dash_hpc.names import to_bytes
from dash_hpc.store import publish_bytes
from dash_hpc.store.reading import read_tail

if TYPE_CHECKING:
    from dash_hpc.study import Study

__all__ = ["cancel_jobs", "describe_jobs", "submit_study"]

_ACTIVE = {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "REQUEUED", "RESIZING", "REQUEUE_HOLD"}
_TAIL_BYTES = 1 << 16
_ERROR = re.compile(r"^(dash-hpc|srun|slurmstepd[^:]*|sbatch): (internal )?error\b|^\w+(Error|Exception): ")
# What follows from an ordinary end of the ranks, or from the job's own requeue.
_NO_ERROR = re.compile(r"DUE TO JOB REQUEUE|Exited with exit code")


def submit_study(study: Study, folder: Path, options: JobOptions, script: str) -> tuple[str, str, str]:
    """Plan the study into ``folder``, keep the script there, and submit it.

    Returns
    -------
    (str, str, str)
        Job id; id of the report job after an array ("" for an MPI job); path of the log, with Slurm's patterns.

    Raises
    ------
    SchedulerSilent
        When sbatch refuses; the study stays planned.
    """
    prepare(study, folder)
    path = _keep(folder, "job", script)
    job = commands.submit(path)
    log = str(folder / "log" / ("slurm-%A_%a.out" if options.kind == "array" else f"slurm-{job}.out"))
    log = log.replace("%A", job)
    _note(folder, job, kind=options.kind, script=path.name, log=log)
    if options.kind == "mpi":
        return job, "", log
    report = commands.submit(
        _keep(folder, "report", report_script(study.name, folder, options)),
        f"--dependency=afterok:{job}",
        "--kill-on-invalid-dep=yes",
    )
    _note(folder, report, kind="report", log=str(folder / "log" / f"slurm-{report}.out"))
    return job, report, log


def describe_jobs(folder: Path) -> list[dict[str, Any]]:
    """Return each submitted job, and each task of an array, with Slurm's state and what its record says.

    Empty without submitted jobs: then Slurm is not asked.
    """
    submitted = jobs(folder)
    states = commands.job_states(entry["job"] for entry in submitted)
    answer = []
    for entry in submitted:
        attempts = {history.job: history for history in histories(folder, entry["job"])}
        for state in states[entry["job"]]:
            history = attempts.get(state.job)
            log = str(entry.get("log", "")).replace("%a", state.job.partition("_")[2] or "%a")
            answer.append(
                {
                    "job": state.job,
                    "kind": entry.get("kind", ""),
                    "state": state.state,
                    "reason": state.reason,
                    "position": state.position,
                    "nodes": state.nodes,
                    "time_left": state.time_left,
                    "attempts": len(history.attempts) if history else 0,
                    "timeouts": history.count("time-out") if history else 0,
                    "preemptions": history.count("pre-emption") if history else 0,
                    "lost": history.count("lost") if history else 0,
                    "log": log,
                    # Where logs are, whatever place the note names.
                    "last_error": _last_error(folder / "log" / Path(log).name),
                }
            )
    return answer


def cancel_jobs(folder: Path) -> list[str]:
    """Cancel the jobs of ``folder`` that have not ended; return their ids.

    Raises
    ------
    SchedulerSilent
        When Slurm does not answer: nothing is known to be cancelled then.
    """
    states = commands.job_states((entry["job"] for entry in jobs(folder)), commands.SECONDS)
    if any(state.reason == commands.SILENT for group in states.values() for state in group):
        raise commands.SchedulerSilent(
            f"{commands.SILENT}, so nothing was cancelled; try again, or scancel {' '.join(states)}"
        )
    wanted = [job for job, group in states.items() if any(state.state in _ACTIVE for state in group)]
    commands.cancel(wanted)
    return wanted


def _note(folder: Path, job: str, **facts: Any) -> None:
    """Write a job down. Slurm has it already, so that a disk which is full by now must not hide its number."""
    try:
        record(folder, job, **facts)
    except StoreError as error:
        say(f"dash-hpc: job {job} is not written down, so status and cancel will not know it: {error}")


def _keep(folder: Path, name: str, script: str) -> Path:
    k = 1
    while (path := folder / "log" / f"{name}-{k}.sbatch").exists():
        k += 1
    publish_bytes(path, to_bytes(script))
    return path


def _last_error(log: Path) -> str:
    text = read_tail(log, _TAIL_BYTES)
    lines = [line.strip() for line in text.splitlines() if _ERROR.search(line) and not _NO_ERROR.search(line)]
    return lines[-1][:300] if lines else ""
