"""Slurm's commands: submit, ask, cancel. Every call has a limit, and no answer is "unknown", never "finished"."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dash_hpc.errors import UsageError

__all__ = ["SILENT", "UNKNOWN", "JobState", "SchedulerSilent", "cancel", "job_states", "submit"]

UNKNOWN = "UNKNOWN"
SILENT = "the scheduler does not answer"
SECONDS = 20.0
_FIELD = re.compile(r"(?:^|\s)(JobId|ArrayJobId|ArrayTaskId|JobState|ExitCode|NodeList)=(\S*)")


class SchedulerSilent(UsageError):
    """Slurm is not installed here, does not answer in time, or refuses."""


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
    """Hand a script to sbatch and return the job's id.

    Raises
    ------
    SchedulerSilent
        With sbatch's own last line.
    """
    answer = _ask("sbatch", "--parsable", *options, str(script))
    # "17" or "17;cluster"; sites may print greetings before.
    job = answer.strip().splitlines()[-1].partition(";")[0].strip() if answer.strip() else ""
    if not job.isdigit():
        raise SchedulerSilent(
            f"sbatch gave no job id but {answer.strip()!r}; look with squeue --me before a second try"
        )
    return job


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; raises :class:`SchedulerSilent` when Slurm refuses."""
    if jobs:
        _ask("scancel", *jobs)


def job_states(jobs: Iterable[str]) -> dict[str, list[JobState]]:
    """Ask for jobs by id; of an array, one state per task.

    Asks squeue, then for jobs that have left the queue sacct, and where there is no accounting scontrol.
    """
    wanted = list(dict.fromkeys(jobs))
    found: dict[str, list[JobState]] = {job: [] for job in wanted}
    if not wanted:
        return found
    try:
        rows = _queue(wanted)
    except SchedulerSilent:
        return {job: [JobState(job, UNKNOWN, SILENT)] for job in wanted}
    for state in rows:
        base = state.job.partition("_")[0]
        if base in found:
            found[base].append(state)
    left = [job for job in wanted if not found[job]]
    for state in _ended(left):
        base = state.job.partition("_")[0]
        if base in found:
            found[base].append(state)
    # Tasks of an array that have ended are no longer in the queue while others are.
    for job in wanted:
        if found[job] and job not in left and any("_" in state.job for state in found[job]):
            known = {state.job for state in found[job]}
            found[job] += [state for state in _ended([job]) if state.job not in known]
    for job, states in found.items():
        if not states:
            states.append(JobState(job, UNKNOWN, "Slurm no longer knows this job"))
        states.sort(key=lambda state: [int(part) if part.isdigit() else 0 for part in re.split(r"_", state.job)])
    return found


def _queue(jobs: Sequence[str]) -> list[JobState]:
    form = "%i|%T|%N|%L|%S|%P|%r"
    try:
        text = _ask("squeue", "--noheader", "--array", f"--jobs={','.join(jobs)}", f"--format={form}")
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
                orders[partition] = _order(partition)
            position = orders[partition].index(job) + 1 if job in orders[partition] else 0
        states.append(JobState(job, state, "" if reason == "None" else reason, nodes, left, start, position))
    return states


def _order(partition: str) -> list[str]:
    try:
        text = _ask(
            "squeue", "--noheader", "--array", "--states=PENDING", f"--partition={partition}", "--sort=-p,i",
            "--format=%i",
        )  # fmt: skip
    except SchedulerSilent:
        return []
    return text.split()


def _ended(jobs: Sequence[str]) -> list[JobState]:
    if not jobs:
        return []
    form = "--format=JobID,State,ExitCode,NodeList"
    try:
        text = _ask("sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={','.join(jobs)}", form)
    except SchedulerSilent:
        text = ""
    states = []
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) >= 4 and re.fullmatch(r"\d+(_\d+)?", parts[0]):
            # "CANCELLED by 1000"
            word = parts[1].split()[0] if parts[1] else UNKNOWN
            states.append(JobState(parts[0], word, f"exit code {parts[2]}", parts[3]))
    missing = [job for job in jobs if not any(state.job.partition("_")[0] == job for state in states)]
    return states + [state for job in missing for state in _from_scontrol(job)]


def _from_scontrol(job: str) -> list[JobState]:
    try:
        text = _ask("scontrol", "--oneliner", "show", "job", job)
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


def _ask(*words: str) -> str:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SchedulerSilent(f"{words[0]} is not on PATH; give the command on a host of the cluster") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SchedulerSilent(f"{words[0]} does not answer within {SECONDS:g} s; try again later") from error
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise SchedulerSilent(f"{words[0]}: {lines[-1].strip() if lines else f'exit code {done.returncode}'}")
    return done.stdout
