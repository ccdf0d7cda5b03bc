"""Open the output folder of a study: all runs as one table, and each run's history, events and network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.bundle import Member
from dash_hpc.store.evidence import Evidence
from dash_hpc.store.index import Index, merged_names, read_index, row_or_problem, write_index
from dash_hpc.store.makers import Mixture, mixtures
from dash_hpc.store.network import Network
from dash_hpc.store.plan import PLAN_FILE, is_store, planned_spec, read_plan
from dash_hpc.store.runfile import RunRecord, read_run
from dash_hpc.store.scan import RunFile, choose, read_data, scan, scan_bundles
from dash_hpc.store.schema import runs_folder

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Store", "open_store"]

# The columns that every table has, even that of an empty store.
_TEXTS = ("status", "reason", "strategy", "stop_reason")
_NUMBERS = ("seed", "epoch", "epochs", "sparsity", "validation_mse")
_FIRST_COLUMNS = ("status", "reason", "strategy", "seed")


def open_store(folder: Path | str) -> Store:
    """Open the output folder of a study for reading.

    Damaged or foreign files do not hide the others: ``Store.problems`` lists them.

    Raises
    ------
    StoreError
        When the folder is missing or is not the output of a study.
    """
    return Store(folder)


class Store:
    """All runs of one study. Opened by :func:`open_store`; shows the state at that time, see :meth:`refresh`.

    Attributes
    ----------
    folder : Path
    name : str
        Name of the study; empty when the plan cannot be read.
    planned : tuple of str
        Run ids of the present plan, longest run first.
    extra : tuple of str
        Ids of run files that belong to an earlier plan of this folder; they are not in :attr:`runs`.
    problems : tuple of str
        One line per file that could not be used.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise StoreError(f"{self.folder}: no such folder; give the output folder of a study")
        if not is_store(self.folder) and not runs_folder(self.folder).is_dir():
            raise StoreError(f"{self.folder}: not the output folder of a study, it has no {PLAN_FILE}")
        self.name = ""
        self.planned: tuple[str, ...] = ()
        self.extra: tuple[str, ...] = ()
        self.problems: tuple[str, ...] = ()
        self._cache: dict[str, tuple[RunFile, dict[str, Any] | str]] = {}
        self._rows: list[dict[str, Any]] = []
        self._bundles: dict[tuple[Path, int, int, int], list[Member]] = {}
        self._frame: pd.DataFrame | None = None
        self._indexed = False
        self._plan_stamp: tuple[int, int, int] | None = None
        self._plan_problems: tuple[str, ...] = ()
        self.refresh()

    def __repr__(self) -> str:
        counts = ", ".join(f"{number} {state}" for state, number in self.counts().items())
        return f"<Store {str(self.folder)!r}: {counts}>"

    def __len__(self) -> int:
        return len(self._rows)

    def refresh(self) -> Store:
        """Look at the folder again (only changed files are read) and return the store itself."""
        files, problems = scan(self.folder)
        # Bundles are looked at last: a run that is compacted meanwhile is then seen twice, never not at all.
        bundled, more = scan_bundles(self.folder, self._bundles)
        problems += more
        self._read_plan(problems)
        indexed = self._read_index(problems, len(files) + len(bundled))

        def look_up(file: RunFile) -> dict[str, Any] | str:
            known = self._cache.get(file.run_id)
            if known is not None and known[0] == file:
                return known[1]
            if indexed is not None and indexed.stamp(file.run_id) == (file.mtime_ns, file.size):
                return indexed.row(file.run_id)
            return row_or_problem(file)

        cache, more = choose(files, bundled, look_up)
        problems += more
        usable = {key: value[1] for key, value in cache.items() if isinstance(value[1], dict)}
        order = self.planned or tuple(usable)
        planned = set(order)
        self._cache = cache
        self._rows = [usable[run_id] for run_id in order if run_id in usable]
        self.extra = tuple(run_id for run_id in usable if run_id not in planned)
        self.problems = (*problems, *(value[1] for value in cache.values() if isinstance(value[1], str)))
        self._frame = None
        return self

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run of the plan that has started, in the plan's order; index ``run_id``.

        Columns: ``status`` ("running", "done", "failed"), ``reason``, ``strategy``, ``seed``, the strategies' options
        (``lambda_ppi``, ``rewind``, …; NaN or "" where a strategy has none), ``epoch`` (the kept one), ``epochs``
        (trained), ``stop_reason``, seconds, all metrics (NaN until a run is done), the rest of the spec as
        ``section.key``, and what the run was made with as ``made.<what>``. An option that is called like something else
        stands as ``option.<name>``. Changing the table does not change the store.
        """
        if self._frame is None:
            self._frame = _table(self._rows)
        return self._frame.copy()

    def column(self, name: str) -> dict[str, Any]:
        """Return one column of :attr:`runs` by run id, without runs that lack it; cheap for thousands of runs."""
        return {row["run_id"]: row[name] for row in self._rows if row.get(name) is not None}

    def mixtures(self) -> list[Mixture]:
        """Return in what the done runs differ besides their specs (versions, devices, …); empty when in nothing."""
        return mixtures(self._rows)

    @property
    def pending(self) -> tuple[str, ...]:
        """Ids of planned runs that have no file yet."""
        return tuple(run_id for run_id in self.planned if run_id not in self._cache)

    def counts(self) -> dict[str, int]:
        """Return the number of runs by state: planned, done, failed, running, pending (not started), damaged."""
        states = [row["status"] for row in self._rows]
        damaged = sum(isinstance(value[1], str) for value in self._cache.values())
        return {
            "planned": len(self.planned),
            **{state: states.count(state) for state in ("done", "failed", "running")},
            "pending": len(self.pending),
            "damaged": damaged,
        }

    def status(self, run_id: str) -> str:
        """Return "done", "failed", "running", "pending" or "damaged" as of the last refresh."""
        entry = self._cache.get(run_id)
        if entry is None:
            return "pending"
        return entry[1]["status"] if isinstance(entry[1], dict) else "damaged"

    def record(self, run_id: str, *, tables: bool = True, network: bool = True) -> RunRecord:
        """Read a run's file.

        Parameters
        ----------
        run_id : str
            The id, or its beginning when only one run begins so.

        Raises
        ------
        StoreError
            When there is no such run, or its file is damaged.
        """
        full = self._resolve(run_id)
        try:
            return self._read(full, tables, network)
        except StoreError:
            # It may have been compacted, or replaced, since the folder was looked at.
            return self.refresh()._read(full, tables, network)

    def history(self, run_id: str) -> pd.DataFrame:
        """Return one row per epoch: epoch, train_mse, validation_mse, lr, sparsity, seconds."""
        import pandas as pd

        return pd.DataFrame(self.record(run_id, network=False).history)

    def events(self, run_id: str) -> pd.DataFrame:
        """Return one row per pruning event and tensor."""
        import pandas as pd

        return pd.DataFrame(self.record(run_id, network=False).events)

    def evidence(self, run_id: str) -> Evidence:
        """Return what is known of single edges.

        Raises
        ------
        StoreError
            When the run is not done, or its strategy says nothing of single edges.
        """
        record = self.record(run_id, network=False)
        if record.evidence is None:
            done = record.status == "done"
            reason = f"its strategy is {record.spec['strategy']['name']}" if done else f"it is {record.status}"
            raise StoreError(f"run {record.run_id} has no evidence on edges: {reason}; strategy evidence gives some")
        return record.evidence

    def network(self, run_id: str) -> Network:
        """Return the kept network.

        Raises
        ------
        StoreError
            When the run is not done.
        """
        record = self.record(run_id, tables=False)
        if record.network is None:
            reason = f" ({record.reason})" if record.reason else ""
            raise StoreError(
                f"run {record.run_id} is {record.status}{reason}: it has no network; choose a run that is done"
            )
        return record.network

    def weights(self, run_id: str) -> dict[str, Any]:
        """Return the tensors of the kept network by name, and ``"masks"``: the dict of the masks."""
        network = self.network(run_id)
        return {**network.weights, "masks": network.masks}

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return the metrics; empty until the run is done."""
        return self.record(run_id, tables=False, network=False).metrics

    def spec(self, run_id: str) -> dict[str, Any]:
        """Return the spec of a run, from its file or, before it has started, from the plan."""
        full = self._resolve(run_id)
        if full not in self._cache:
            return planned_spec(self.folder, full)
        return self.record(full, tables=False, network=False).spec

    def provenance(self, run_id: str) -> dict[str, Any]:
        """Return where, when and with which versions the run was made."""
        return self.record(run_id, tables=False, network=False).provenance

    def write_index(self) -> None:
        """Publish ``index.h5`` with all ended runs, as of the last refresh."""
        rows = [
            (file, row) for file, row in self._cache.values() if isinstance(row, dict) and row["status"] != "running"
        ]
        write_index(self.folder, rows)

    def _read(self, run_id: str, tables: bool, network: bool) -> RunRecord:
        entry = self._cache.get(run_id)
        if entry is None:
            raise StoreError(f"run {run_id} in {self.folder} has not started; dash-hpc run starts it")
        record = read_run(entry[0].path, tables=tables, network=network, data=read_data(entry[0]))
        if record.run_id != run_id:
            raise StoreError(f"{entry[0].path}: holds run {record.run_id}, not {run_id}; move it elsewhere")
        return record

    def _read_plan(self, problems: list[str]) -> None:
        path = self.folder / PLAN_FILE
        try:
            status = path.lstat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            stamp = None
        if stamp is not None and stamp == self._plan_stamp:
            problems += self._plan_problems
            return
        self._plan_stamp = stamp
        try:
            plan = read_plan(self.folder)
        except StoreError as error:
            self.planned, self.name = (), ""
            self._plan_problems = (str(error),)
        else:
            self.planned, self.name, self._plan_problems = plan.ids, plan.header.study, plan.problems(path)
        problems += self._plan_problems

    def _read_index(self, problems: list[str], runs: int) -> Index | None:
        # Once is enough: later changes are in the run files, which are looked at anyway.
        if self._indexed:
            return None
        self._indexed = True
        try:
            return read_index(self.folder, runs)
        except StoreError as error:
            problems.append(f"{error}; dash-hpc reindex writes it anew")
            return None

    def _resolve(self, run_id: str) -> str:
        known = dict.fromkeys([*self.planned, *self._cache])
        if run_id in known:
            return run_id
        matches = [key for key in known if run_id and key.startswith(run_id)]
        if len(matches) == 1:
            return matches[0]
        what = f"{len(matches)} runs begin so" if matches else "no such run"
        raise StoreError(f"run {run_id!r} in {self.folder}: {what}; see the table of runs for the ids")


def _table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    # Loaded here: drivers and workers count runs and need no tables.
    import pandas as pd

    names = [name for name in merged_names(rows) if name != "run_id"]
    names += [name for name in _TEXTS + _NUMBERS if name not in names]
    first = [name for name in _FIRST_COLUMNS if name in names]
    last = [n for n in names if ("." in n and not n.startswith("option.")) or n == "data_digest"]
    middle = [name for name in names if name not in first and name not in last]
    columns = {name: _column(name, [row.get(name) for row in rows]) for name in [*first, *middle, *last]}
    return pd.DataFrame(columns, index=pd.Index([row["run_id"] for row in rows], name="run_id", dtype=object))


def _column(name: str, values: list[Any]) -> Any:
    if not values:
        return np.empty(0, dtype=object if name in _TEXTS else np.float64)
    kinds = {type(value) for value in values}
    if kinds <= {bool}:
        return np.array(values, dtype=bool)
    if kinds <= {int}:
        return np.array(values, dtype=np.int64)
    if kinds <= {int, float, type(None)}:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if str in kinds:
        values = ["" if value is None or value != value else value for value in values]
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
