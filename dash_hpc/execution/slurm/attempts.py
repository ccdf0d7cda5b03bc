"""The life of a job, kept beside the results: what was submitted, each attempt, why it ended, whether to go on.

``log/job-<id>.json`` is written by ``submit``; ``log/attempts-<id>.json`` by the job itself, at the beginning and at
the end of each attempt. An attempt without an end was lost: killed without warning, or with its node.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dash_hpc.errors import Interrupted, StoreError
from dash_hpc.execution.machine.provenance import now
from dash_hpc.store import Store, open_store, publish_note, set_aside
from dash_hpc.store.checkpoint import checkpoint_paths, read_checkpoint
from dash_hpc.store.notes import anything, listing, read_note, text, whole
from dash_hpc.store.notes import record as shape_of
from dash_hpc.store.reading import read_tail

__all__ = [
    "MOST_IDLE_ATTEMPTS",
    "REQUEUE",
    "History",
    "Verdict",
    "begin",
    "damaged_notes",
    "end",
    "failed_nodes",
    "jobs",
    "note_failed",
    "record",
]

REQUEUE = 75
"""Exit code of ``job end`` that asks the script to requeue (EX_TEMPFAIL)."""
MOST_IDLE_ATTEMPTS = 3
"""So many attempts in a row may end without an epoch trained; then the job is not requeued again."""
_TAIL_BYTES = 1 << 20
_count = whole(0, 1 << 53)
_nodes = listing(text(300), 100_000)
_ATTEMPT = shape_of(
    {},
    {
        **dict.fromkeys(("began", "ended", "cause"), text(300)),
        **dict.fromkeys(("restart", "progress", "gained"), _count),
        **dict.fromkeys(("nodes", "failed_nodes"), _nodes),
        "code": whole(),
    },
)
_ATTEMPTS = shape_of({"job": text(100), "attempts": listing(_ATTEMPT)})
_JOB = shape_of(
    {"job": text(18, r"[0-9]+")}, dict.fromkeys(("kind", "script", "log", "submitted"), text(name=True)), anything
)
# Slurm may send the warning up to a minute early.
_EARLY_SECONDS = 75.0


@dataclass(frozen=True)
class Verdict:
    """What the job does now: its exit code (REQUEUE: back into the queue), and a line that says why."""

    code: int
    text: str


@dataclass
class History:
    """The attempts of one job or task."""

    job: str
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def count(self, cause: str) -> int:
        """Return how many attempts ended by "time-out", "pre-emption", "lost", "crash" or "cancelled"."""
        return sum(attempt.get("cause") == cause for attempt in self.attempts)

    def idle(self) -> int:
        """Return how many of the last attempts in a row trained nothing."""
        number = 0
        for attempt in reversed(self.attempts):
            if "cause" not in attempt or attempt.get("gained", 0) > 0:
                break
            number += 1
        return number


def record(folder: Path, job: str, **facts: Any) -> None:
    """Write down a submitted job."""
    publish_note(folder / "log" / f"job-{job}.json", {"job": job, "submitted": now(), **facts})


def jobs(folder: Path) -> list[dict[str, Any]]:
    """Return the submitted jobs of a store, oldest first; :func:`damaged_notes` has the files that cannot be read."""
    found = []
    for path in (folder / "log").glob("job-*.json"):
        with suppress(StoreError):
            note = read_note(path, _JOB)
            if path.name == f"job-{note['job']}.json":
                found.append(note)
    return sorted(found, key=lambda note: int(note["job"]))


def damaged_notes(folder: Path) -> list[str]:
    """Return one line for each file about a job that cannot be read."""
    lines = []
    for pattern, shape in (("job-*.json", _JOB), ("attempts-*.json", _ATTEMPTS)):
        for path in sorted((folder / "log").glob(pattern)):
            try:
                read_note(path, shape)
            except StoreError as error:
                lines.append(f"{error}; left out, move it elsewhere")
    return lines


def histories(folder: Path, job: str) -> list[History]:
    """Return the attempts of a job, or of each task of an array that has begun."""
    result = []
    for path in (folder / "log").glob(f"attempts-{job}*.json"):
        name = path.stem.removeprefix("attempts-")
        if name == job or re.fullmatch(rf"{job}_\d+", name):
            result.append(_history(folder, name))
    return sorted(result, key=lambda history: [int(part) for part in history.job.split("_")])


def failed_nodes(folder: Path) -> list[str]:
    """Return the nodes that were down after an attempt on them was lost."""
    names: dict[str, None] = {}
    for path in sorted((folder / "log").glob("attempts-*.json")):
        for attempt in _history(folder, path.stem.removeprefix("attempts-")).attempts:
            names.update(dict.fromkeys(attempt.get("failed_nodes", ())))
    return list(names)


def begin(
    folder: Path, nodes: Iterable[str] = (), down: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> Verdict:
    """Open an attempt.

    Parameters
    ----------
    nodes : iterable of str
        The hosts of this attempt.
    down : iterable of str
        Hosts that Slurm reports as down now: those of a lost attempt among them are remembered as failed.

    Returns
    -------
    Verdict
        Code 0: go on.
    """
    environ = os.environ if environ is None else environ
    lines: list[str] = []
    history = _history(folder, _job(environ), lines.append)
    progress = _progress(open_store(folder))
    if history.attempts and "cause" not in history.attempts[-1]:
        last = history.attempts[-1]
        failed = sorted(set(last.get("nodes", ())) & set(down) | set(last.get("failed_nodes", ())))
        last |= {"cause": "lost", "gained": max(0, progress - last.get("progress", 0))}
        if failed:
            last["failed_nodes"] = failed
        where = f"; failed: {', '.join(failed)}" if failed else ""
        lines.append(f"attempt {len(history.attempts)} was lost without warning{where}")
    elif history.attempts and history.attempts[-1]["cause"] == "cancelled":
        # A cancelled job does not come back; a pre-emption without grace time looks the same while it happens.
        history.attempts[-1]["cause"] = "pre-emption"
    idle = history.idle()
    if idle >= MOST_IDLE_ATTEMPTS:
        _save(folder, history)
        return Verdict(1, f"{idle} attempts in a row trained nothing, so the job ends; see its log, then submit again")
    history.attempts.append(
        {
            "began": now(),
            "restart": int(environ.get("SLURM_RESTART_COUNT") or 0),
            "nodes": list(nodes),
            "progress": progress,
        }
    )
    lines.append(f"attempt {len(history.attempts)} of job {history.job} begins")
    if problem := _save(folder, history):
        lines.append(f"that cannot be noted ({problem})")
    return Verdict(0, "; ".join(lines))


def note_failed(folder: Path, down: Iterable[str], environ: Mapping[str, str] | None = None) -> None:
    """Remember the hosts of the attempt under way that are down: the job may not live to its end."""
    history = _history(folder, _job(os.environ if environ is None else environ), lambda text: None)
    attempt = history.attempts[-1] if history.attempts else {}
    failed = set(attempt.get("nodes", ())) & set(down)
    if failed:
        attempt["failed_nodes"] = sorted(failed | set(attempt.get("failed_nodes", ())))
        _save(folder, history)


def end(
    folder: Path,
    code: int,
    signal: str,
    grace: int,
    state: str,
    own: Sequence[str] | None = None,
    down: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Verdict:
    """Close an attempt and decide how the job goes on; judged from the store.

    Parameters
    ----------
    code : int
        Exit code of the launcher, which alone decides nothing but "wrong use" (2).
    signal : str
        "USR1" (warned), "TERM", or "" (neither).
    grace : int
        Seconds before the time limit at which Slurm warns.
    state : str
        Slurm's state of the job and its time left ("RUNNING 1:23"); "" when Slurm did not answer.
    own : sequence of str, optional
        The runs of this part; all by default.
    down : iterable of str
        Hosts that Slurm reports as down now; see :func:`begin`.
    """
    environ = os.environ if environ is None else environ
    lines: list[str] = []
    history = _history(folder, _job(environ), lines.append)
    store = open_store(folder)
    states = [store.status(run_id) for run_id in (own if own is not None else store.planned)]
    done, failed = states.count("done"), states.count("failed")
    attempt = history.attempts[-1] if history.attempts else {}
    if not history.attempts:
        history.attempts.append(attempt)
    progress = _progress(store)
    complete = done + failed == len(states)
    cause = "finished" if complete else _cause(code, signal, grace, state, _told(folder, attempt.get("began")))
    failed_here = sorted(set(attempt.get("nodes", ())) & set(down)) if cause == "crash" else []
    if failed_here:
        attempt["failed_nodes"] = failed_here
    attempt |= {
        "ended": now(),
        "cause": cause,
        "code": code,
        "gained": max(0, progress - attempt.get("progress", progress)),
    }
    problem = _save(folder, history)
    counts = "; ".join([f"{done} of {len(states)} runs done, {failed} failed", *lines])
    if complete:
        # Of an array, the report job judges the study as a whole.
        return Verdict(1 if failed and own is None else 0, counts)
    if cause == "cancelled":
        return Verdict(3, f"cancelled (or pre-empted without grace) with {counts}; submit again to go on")
    if cause == "wrong use":
        return Verdict(2, f"the command was refused (see above), with {counts}")
    if history.idle() >= MOST_IDLE_ATTEMPTS:
        return Verdict(1, f"{history.idle()} attempts in a row trained nothing ({cause}); {counts}; not requeued")
    if failed_here:
        cause = f"{cause} (failed: {', '.join(failed_here)})"
    if problem:
        return Verdict(
            3, f"{cause} with {counts}; not requeued, for attempts cannot be counted ({problem}); submit again"
        )
    tally = f"time-outs {history.count('time-out')}, pre-emptions {history.count('pre-emption')}"
    return Verdict(REQUEUE, f"{cause} with {counts}; back into the queue ({tally})")


def _cause(code: int, signal: str, grace: int, state: str, told: bool) -> str:
    word, _, left = state.partition(" ")
    if signal == "USR1":
        seconds = _seconds(left)
        return "pre-emption" if seconds is not None and seconds > grace + _EARLY_SECONDS else "time-out"
    if signal == "TERM":
        # Slurm says RUNNING during the grace time of a pre-emption; a cancelled job says so.
        return "pre-emption" if word == "RUNNING" else "cancelled"
    if told and code == Interrupted.exit_code and word == "RUNNING":
        # The ranks were told to stop, did so in order, and this script was not told: so Slurm begins the grace time of
        # a pre-emption. (srun -K tells the ranks too, when one has crashed, and leaves with that one's code.)
        return "pre-emption"
    return "wrong use" if code == 2 else "crash"


def _told(folder: Path, began: object) -> bool:
    """Return whether the driver wrote down a signal since ``began``."""
    try:
        lines = read_tail(folder / "log" / "driver.log", _TAIL_BYTES).splitlines()
        found = [match[1] for line in lines if (match := re.match(r"(\S+ \S+)  SIG\w+: no new runs", line))]
        # The log has whole seconds.
        since = datetime.fromisoformat(str(began)) - timedelta(seconds=1)
        return bool(found) and datetime.fromisoformat(found[-1]) >= since
    except (OSError, ValueError, TypeError):
        return False


def _seconds(text: str) -> float | None:
    """Read Slurm's [days-][hours:]minutes:seconds."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds


def _progress(store: Store) -> int:
    """Return a number that grows with every epoch that need not be trained again, and with every run ended."""
    states, epochs = store.column("status"), store.column("epochs")
    ended = [run_id for run_id, state in states.items() if state != "running"]
    kept = sum(int(epochs.get(run_id, 0)) for run_id in ended)
    for run_id, state in states.items():
        if state == "running":
            kept += max((_checkpointed(path) for path in checkpoint_paths(store.folder, run_id)), default=0)
    return len(ended) + kept


def _checkpointed(path: Path) -> int:
    try:
        return read_checkpoint(path, arrays=False).epoch
    except StoreError:
        return 0


def _job(environ: Mapping[str, str]) -> str:
    if environ.get("SLURM_ARRAY_JOB_ID") and environ.get("SLURM_ARRAY_TASK_ID"):
        return f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    return environ.get("SLURM_JOB_ID") or "0"


def _history(folder: Path, job: str, tell: Callable[[str], object] | None = None) -> History:
    """Return the attempts of a job; none when they cannot be read. Whoever goes on to write them gives ``tell``: the
    damaged file is renamed and a line says so.
    """
    path = folder / "log" / f"attempts-{job}.json"
    if not path.is_symlink() and not path.exists():
        return History(job)
    try:
        return History(job, read_note(path, _ATTEMPTS)["attempts"])
    except StoreError as error:
        if tell is not None:
            tell(f"{error}; it is now {set_aside(path).name}")
    return History(job)


def _save(folder: Path, history: History) -> str:
    """Write the attempts down; return why that cannot be done, or "": a full log stops no runs."""
    try:
        publish_note(
            folder / "log" / f"attempts-{history.job}.json", {"job": history.job, "attempts": history.attempts}
        )
    except StoreError as error:
        return str(error)
    return ""
