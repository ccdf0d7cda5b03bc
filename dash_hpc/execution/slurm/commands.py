"""Slurm's commands: submit, ask, cancel. Every call has limits, and no answer is "unknown", never "finished"."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dash_hpc.environment import seconds as seconds_of
from dash_hpc.errors import UsageError
from dash_hpc.execution.machine.command import ask
from dash_hpc.execution.slurm.environment import caller_environment, job_environment

__all__ = ["SECONDS", "SILENT", "UNKNOWN", "JobState", "SchedulerSilent", "cancel", "job_states", "submit"]

UNKNOWN = "UNKNOWN"
SILENT = "the scheduler does not answer"
SECONDS = 20.0
"""Limit of a command that changes something."""
_QUESTION_SECONDS = 4.0
_LONGEST_LINE = 300
_NUMBER = re.compile(r"[0-9]{1,18}")


class SchedulerSilent(UsageError):
    """Slurm is not installed here, does not answer in time, or refuses."""


class _NoAnswer(SchedulerSilent):
    """Not a refusal: nothing that could be used was said."""


@dataclass(frozen=True)
class JobState:
    """What Slurm says about a job or one task of an array; "UNKNOWN" when it says nothing.

    ``position`` counts from 1 among the waiting jobs of the partition, by priority; 0 when the job does not wait.
    """

    job: str
    state: str
    reason: str = ""
    nodes: str = ""
    time_left: str = ""
    start: str = ""
    position: int = 0


def submit(script: Path, *options: str) -> str:
    """Hand a script to sbatch and return the job's id. The job inherits nothing of a step that the caller is in.

    Raises
    ------
    SchedulerSilent
        With sbatch's own last line.
    """
    answer = _ask("sbatch", "--parsable", *options, str(script), seconds=SECONDS, environ=job_environment(os.environ))
    # "17" or "17;cluster"; sites may print greetings before.
    job = answer.strip().splitlines()[-1].partition(";")[0].strip() if answer.strip() else ""
    if not _NUMBER.fullmatch(job):
        raise SchedulerSilent(
            f"sbatch gave no job id but {answer.strip()[-_LONGEST_LINE:]!r}; look with squeue --me before a second try"
        )
    return job


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; raises :class:`SchedulerSilent` when Slurm refuses."""
    if jobs:
        _ask("scancel", *jobs, seconds=SECONDS)


def job_states(jobs: Iterable[str], seconds: float | None = None) -> dict[str, list[JobState]]:
    """Ask for jobs by id; of an array, one state per task.

    Asks squeue, then for jobs that have left the queue sacct, and where there is no accounting scontrol; all together
    within ``seconds``: by default DASH_HPC_SCHEDULER_SECONDS, or 4.

    Raises
    ------
    UsageError
        When that variable is not a positive number.
    """
    if seconds is None:
        seconds = seconds_of("DASH_HPC_SCHEDULER_SECONDS", _QUESTION_SECONDS)
    end = time.monotonic() + seconds
    wanted = list(dict.fromkeys(jobs))
    if not wanted:
        return {}
    found: dict[str, dict[str, JobState]] = {job: {} for job in wanted}

    def add(states: Iterable[JobState]) -> None:
        for state in states:
            base = state.job.partition("_")[0]
            if base in found:
                found[base].setdefault(state.job, state)

    try:
        add(_queue(wanted, end))
    except SchedulerSilent:
        return {job: [JobState(job, UNKNOWN, SILENT)] for job in wanted}
    # Tasks of an array that have ended are no longer in the queue while others are.
    arrays = [job for job in wanted if any("_" in name for name in found[job])]
    add(_ended([job for job in wanted if not found[job]], end))
    for job in arrays:
        add(state for state in _ended([job], end) if state.state != UNKNOWN)
    unknown = "Slurm no longer knows this job"
    return {
        job: sorted(states.values(), key=_order_of) if states else [JobState(job, UNKNOWN, unknown)]
        for job, states in found.items()
    }


def _order_of(state: JobState) -> list[int]:
    return [int(part) if _NUMBER.fullmatch(part) else 0 for part in state.job.split("_")]


def _queue(jobs: Sequence[str], end: float) -> list[JobState]:
    form = "%i|%T|%N|%L|%S|%P|%r"
    try:
        text = _ask("squeue", "--noheader", "--array", f"--jobs={','.join(jobs)}", f"--format={form}", end=end)
    except SchedulerSilent as error:
        if "Invalid job id" in str(error):
            return []
        raise
    states = []
    orders: dict[str, list[str]] = {}
    for line in text.splitlines():
        parts = line.split("|", 6)
        if len(parts) < 7:
            continue
        job, state, nodes, left, start, partition, reason = (part.strip() for part in parts)
        position = 0
        if state == "PENDING":
            if partition not in orders:
                orders[partition] = _order(partition, end)
            position = orders[partition].index(job) + 1 if job in orders[partition] else 0
        states.append(JobState(job, state, "" if reason == "None" else reason, nodes, left, start, position))
    return states


def _order(partition: str, end: float) -> list[str]:
    try:
        text = _ask(
            "squeue", "--noheader", "--array", "--states=PENDING", f"--partition={partition}", "--sort=-p,i",
            "--format=%i", end=end,
        )  # fmt: skip
    except SchedulerSilent:
        return []
    return text.split()


def _ended(jobs: Sequence[str], end: float) -> list[JobState]:
    if not jobs:
        return []
    form = "--format=JobID,State,ExitCode,NodeList"
    # What accounting does not say, the controller may: it keeps half of the time.
    half = (time.monotonic() + end) / 2
    try:
        text = _ask("sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={','.join(jobs)}", form, end=half)
    except SchedulerSilent:
        text = ""
    states = []
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) >= 4 and re.fullmatch(r"[0-9]+(_[0-9]+)?", parts[0]):
            # "CANCELLED by 1000"
            word = next(iter(parts[1].split()), UNKNOWN)
            states.append(JobState(parts[0], word, f"exit code {parts[2]}", parts[3]))
    known = {state.job.partition("_")[0] for state in states}
    return states + [state for job in jobs if job not in known for state in _from_scontrol(job, end)]


def _from_scontrol(job: str, end: float) -> list[JobState]:
    try:
        text = _ask("scontrol", "--oneliner", "show", "job", job, end=end)
    except _NoAnswer:
        return [JobState(job, UNKNOWN, f"{SILENT} about a job that has left the queue")]
    except SchedulerSilent:
        return []
    states = []
    for line in text.splitlines():
        fields = dict(
            re.findall(r"(?:^|\s)(JobId|ArrayJobId|ArrayTaskId|JobState|Reason|ExitCode|NodeList)=(\S*)", line)
        )
        if "JobState" not in fields:
            continue
        task = fields.get("ArrayTaskId", "")
        name = f"{fields['ArrayJobId']}_{task}" if "ArrayJobId" in fields else fields.get("JobId", job)
        nodes = fields.get("NodeList", "").replace("(null)", "")
        states.append(JobState(name, fields["JobState"], f"exit code {fields.get('ExitCode', '?')}", nodes))
    return states


def _ask(*words: str, seconds: float | None = None, end: float = 0.0, environ: Mapping[str, str] | None = None) -> str:
    """Give one command and return its output; for so many seconds, or until ``end``."""
    seconds = end - time.monotonic() if seconds is None else seconds
    if seconds <= 0.0:
        raise _NoAnswer(f"{words[0]} was not asked: there was no time left; try again later")
    try:
        answer = ask(words, seconds, environ=caller_environment(os.environ if environ is None else environ))
    except FileNotFoundError as error:
        raise _NoAnswer(f"{words[0]} is not on PATH; give the command on a host of the cluster") from error
    except OSError as error:
        raise _NoAnswer(f"{words[0]} cannot be started: {error.strerror}") from error
    if answer.fault:
        raise _NoAnswer(f"{words[0]} {answer.fault}; try again later")
    if answer.code != 0:
        lines = [line for line in (answer.err or answer.out).splitlines() if line.strip()]
        last = lines[-1].strip()[:_LONGEST_LINE] if lines else f"exit code {answer.code}"
        raise SchedulerSilent(f"{words[0]}: {last}")
    return answer.out
