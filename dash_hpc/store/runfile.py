"""One run, one file, one writer: from the first epoch to the kept network.

``/history`` has one row per epoch, ``/events`` one per pruned tensor and event, ``/metrics`` one per metric,
``/evidence`` what is known of single edges, where a strategy says something of them; seconds stand apart under
``/timing`` and the circumstances under ``/provenance``, so that the rest of two equal runs is equal bit for bit
(:func:`dash_hpc.store.compare.compare_runs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.columns import is_possible
from dash_hpc.store.envelope import open_envelope, to_bytes
from dash_hpc.store.evidence import Evidence, read_evidence, write_evidence
from dash_hpc.store.hdf5 import Group
from dash_hpc.store.network import Network, gene_count, read_network, write_network
from dash_hpc.store.notes import anything, listing, record, text, whole
from dash_hpc.store.publish import canonical_json, make_folder, publish_bytes
from dash_hpc.store.schema import (
    LARGEST_UNFOLDING,
    LONGEST_TEXT,
    RUN_FORMAT,
    RUN_VERSION,
    SPEC,
    STATES,
    check_claims,
    read_json,
    read_table,
    row_count,
    run_path,
    write_table,
    write_text,
)

__all__ = ["PROVENANCE", "Columns", "RunRecord", "RunWriter", "is_time", "read_run"]

_FLUSH_SECONDS = 5.0
#: Circumstances of a run, as far as readers look into them.
PROVENANCE = record(
    {},
    {
        **dict.fromkeys(("dash_hpc", "git", "python", "numpy", "host", "cpu", "device", "started", "ended"), text()),
        "side_by_side": whole(1, 1 << 20),
        "command": listing(text(LONGEST_TEXT, name=True)),
        "native": record({}, {"built_isas": listing(text())}, anything),
        "container": record({}, others=anything),
        "resumed": listing(record({"at": text()}, {"changes": listing(text())}, anything)),
        "moved": listing(record({"at": text(), "from": text()}, others=anything)),
    },
    anything,
)
Columns = dict[str, np.ndarray]
Column = Sequence[Any] | np.ndarray


@dataclass(frozen=True)
class RunRecord:
    """Everything in a run file.

    Attributes
    ----------
    status : str
        ``"running"``, ``"done"`` or ``"failed"``.
    reason : str
        One line: why it failed; empty otherwise.
    complete : bool
        Whether the writer has ended the record: no further publication follows.
    epochs : int
        Number of epochs in the history.
    history, events : dict of 1-D arrays
        Columns of equal length, including those in seconds; empty when read with ``tables=False``.
    metrics : dict of float
        Empty until the run is done.
    epoch : int or None
        The kept epoch; None until the run is done.
    n_genes : int or None
        Number of genes of the kept network; None until the run is done.
    network : Network or None
        None until the run is done, and when it was read with ``network=False``.
    timing : dict of float
        Seconds of the parts of the whole run.
    evidence : Evidence or None
        What its strategy found out about single edges, where it does; None when read with ``tables=False``.
    """

    path: Path
    run_id: str
    status: str
    reason: str
    complete: bool
    spec: dict[str, Any]
    provenance: dict[str, Any]
    epochs: int = 0
    history: Columns = field(default_factory=dict)
    events: Columns = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    epoch: int | None = None
    n_genes: int | None = None
    network: Network | None = None
    stop_reason: str = ""
    notes: tuple[str, ...] = ()
    timing: dict[str, float] = field(default_factory=dict)
    evidence: Evidence | None = None


class RunWriter:
    """Publishes the file of one run, each time as a whole.

    Parameters
    ----------
    folder : path
        The store; it must be there.
    run_id : str
        16 hexadecimal digits.
    spec, provenance : dict
        JSON-able; what was run, and where and with what.
    clock : callable
        Monotonic seconds.
    interval : float
        Least number of seconds between two publications by :meth:`update`.
    guard : callable, optional
        Called right before each publication takes effect; raises when the run is no longer the caller's.

    Raises
    ------
    StoreError
        From every method that publishes, when the file cannot be written.
    """

    def __init__(
        self,
        folder: Path | str,
        run_id: str,
        spec: Mapping[str, Any],
        provenance: Mapping[str, Any],
        *,
        clock: Callable[[], float] = time.monotonic,
        interval: float = _FLUSH_SECONDS,
        guard: Callable[[], None] | None = None,
    ) -> None:
        self._guard = guard
        self.path = run_path(folder, run_id)
        self._folder = Path(folder)
        self.provenance = dict(provenance)
        self._run_id = run_id
        self._spec = dict(spec)
        self._clock = clock
        self._interval = interval
        self._published = -float("inf")
        self._history: Mapping[str, Column] = {}
        self._events: Sequence[Mapping[str, Any]] | Columns = []

    def begin(self) -> None:
        """Publish the record as running, with an empty history."""
        self._publish("running")

    def update(self, history: Mapping[str, Column], events: Sequence[Mapping[str, Any]] = ()) -> bool:
        """Take the history and events so far; publish them when the last publication is old enough.

        Returns whether the file was published. The caller may go on to change its lists.
        """
        self._history, self._events = history, events
        if self._clock() - self._published < self._interval:
            return False
        self._publish("running")
        return True

    def finish(
        self,
        *,
        history: Mapping[str, Column],
        events: Sequence[Mapping[str, Any]],
        weights: Mapping[str, Any],
        masks: Mapping[str, np.ndarray],
        epoch: int,
        metrics: Mapping[str, float],
        genes: Sequence[str] = (),
        stop_reason: str = "",
        notes: Sequence[str] = (),
        timing: Mapping[str, float] | None = None,
        evidence: Evidence | None = None,
    ) -> None:
        """Publish the record as done: the last write of a run that ended well."""
        self._history, self._events = history, events

        def rest(file: h5py.File) -> None:
            write_table(file, "metrics", _named_values(metrics))
            write_network(file, weights, masks, epoch=epoch, genes=genes)
            write_table(file["timing"], "total", _named_values(timing or {}))
            write_text(file, "notes", canonical_json([str(note) for note in notes]))
            if evidence is not None:
                write_evidence(file, evidence)

        self._publish("done", stop_reason=stop_reason, rest=rest)

    def fail(self, reason: str) -> None:
        """Publish the record as failed, with ``reason`` as one line and the history so far."""
        self._publish("failed", reason=" ".join(str(reason).split()) or "no reason was given")

    def resume_from(self, record: RunRecord) -> None:
        """Take over history and events of an earlier, unfinished record of the same run."""
        self._history, self._events = dict(record.history), dict(record.events)

    def _publish(
        self,
        status: str,
        *,
        reason: str = "",
        stop_reason: str = "",
        rest: Callable[[h5py.File], None] | None = None,
    ) -> None:
        def fill(file: h5py.File) -> None:
            text = {"format": RUN_FORMAT, "run_id": self._run_id, "status": status, "reason": reason}
            for key, value in {**text, "stop_reason": stop_reason}.items():
                file.attrs[key] = value
            file.attrs["version"] = np.int64(RUN_VERSION)
            file.attrs["complete"] = status != "running"
            write_text(file, "spec", canonical_json(self._spec))
            write_text(file, "provenance", canonical_json(self.provenance))
            file.create_group("timing")
            for name, columns in (("history", self._history), ("events", _columns(self._events))):
                times = {key: values for key, values in columns.items() if is_time(key)}
                rows = len(next(iter(columns.values()), ()))
                write_table(file, name, {key: v for key, v in columns.items() if key not in times}, rows=rows)
                write_table(file["timing"], name, times, rows=rows)
            if rest is not None:
                rest(file)

        data = to_bytes(RUN_FORMAT, RUN_VERSION, fill)
        # Only the first publication may make folders: one that vanishes later was unmounted or removed.
        first = self._published == -float("inf")
        if first:
            make_folder(self.path.parent, root=self._folder)
        publish_bytes(self.path, data, make_parents=first, guard=self._guard)
        self._published = self._clock()


def read_run(path: Path | str, *, tables: bool = True, network: bool = True, data: bytes | None = None) -> RunRecord:
    """Read a run file, checked as a whole.

    Parameters
    ----------
    path : path
    tables, network : bool
        Whether to read history and events, and the kept network; the file is checked as a whole anyway.
    data : bytes, optional
        The bytes of the run file, when they come from elsewhere; ``path`` then only says from where.

    Raises
    ------
    StoreError
        Missing, foreign, of another version, truncated or damaged file; with its path and the remedy.
    """
    path = Path(path)
    with open_envelope(path, RUN_FORMAT, RUN_VERSION, data) as file:
        return _record(path, file, tables, network)


def _record(path: Path, file: Group, tables: bool, network: bool) -> RunRecord:
    check_claims(file, LARGEST_UNFOLDING)
    texts = {key: str(file.attribute(key, str)) for key in ("run_id", "status", "reason", "stop_reason")}
    if texts["status"] not in STATES:
        raise StoreError(f"status {texts['status'][:20]!r} is none of {', '.join(STATES)}")
    history, timing = file.group("history"), file.group("timing")
    count = row_count(history)

    def table(name: str) -> Columns:
        return read_table(file, name) | read_table(timing, name) if tables else {}

    done = texts["status"] == "done"
    return RunRecord(
        path=path,
        run_id=texts["run_id"],
        status=texts["status"],
        reason=texts["reason"],
        complete=bool(file.attribute("complete", bool)),
        spec=read_json(file, "spec", SPEC),
        provenance=read_json(file, "provenance", PROVENANCE),
        epochs=count,
        history=table("history"),
        events=table("events"),
        metrics=_metrics(file) if done else {},
        epoch=file.group("network").attribute("epoch", int) if done else None,
        n_genes=gene_count(file) if done else None,
        network=read_network(file) if network else None,
        stop_reason=texts["stop_reason"],
        notes=tuple(read_json(file, "notes", listing(text(LONGEST_TEXT)))) if done else (),
        timing=_values_by_name(read_table(timing, "total")) if done else {},
        evidence=read_evidence(file) if done and tables else None,
    )


def is_time(key: str) -> bool:
    """Return whether a column holds seconds, which differ between equal runs."""
    return key.startswith("seconds") or key.endswith("_seconds")


def _columns(rows: Sequence[Mapping[str, Any]] | Columns) -> Mapping[str, Column]:
    if isinstance(rows, dict):
        return rows
    keys = list(dict.fromkeys(key for row in rows for key in row))
    columns: dict[str, list[Any]] = {}
    for key in keys:
        values = [row.get(key) for row in rows]
        if any(isinstance(value, str) for value in values):
            values = ["" if value is None else value for value in values]
        columns[key] = values
    return columns


def _named_values(values: Mapping[str, float]) -> dict[str, list[Any]]:
    return {"name": list(values), "value": [float(value) for value in values.values()]}


def _metrics(file: Group) -> dict[str, float]:
    metrics = _values_by_name(read_table(file, "metrics"))
    wrong = next((name for name, value in metrics.items() if not is_possible(name, np.array(value))), None)
    if wrong is not None:
        raise StoreError(f"/metrics: {wrong[:40]!r} cannot be {metrics[wrong]:g}")
    return metrics


def _values_by_name(table: Columns) -> dict[str, float]:
    names, values = table.get("name"), table.get("value")
    if names is None or values is None or len(table) != 2 or (len(values) and values.dtype.kind not in "if"):
        raise StoreError("a table of names and values is missing, or has other columns")
    if names.dtype != object and len(names):
        raise StoreError("a table of names and values has no names")
    return {str(name): float(value) for name, value in zip(names, values, strict=True)}
