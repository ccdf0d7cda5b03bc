"""How far a study is: a live table on a terminal, plain dated lines in a job's log.

Everything comes from the store, whose run files are at most five seconds behind, so it does not matter which engine
works, and the workers are not asked.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TextIO

import numpy as np

from dash_hpc.errors import StoreError, UsageError
from dash_hpc.execution.machine.streams import say
from dash_hpc.shown import LINE, NAME, console, rich_text, shown
from dash_hpc.store import Store
from dash_hpc.study import STRATEGIES, total_epochs

if TYPE_CHECKING:
    from rich.console import Console, Group

__all__ = ["Mode", "Progress", "RunView", "Snapshot", "line", "snapshot", "table"]

Mode = Literal["auto", "live", "plain", "none"]
_LINE_SECONDS = 15.0
_MOST_ROWS = 20
# Looking must not cost the workers their cores: at most one part in so many of the time goes into it.
_SHARE = 20


@dataclass(frozen=True)
class RunView:
    """A run under way: where it stands."""

    run_id: str
    label: str
    epoch: int
    epochs: int
    validation_mse: float
    sparsity: float


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment. ``best_mse``, ``mean_sparsity`` are over done runs (NaN without any); ``work`` counts
    ended runs and the trained share of those under way.
    """

    name: str
    planned: int
    done: int
    failed: int
    running: tuple[RunView, ...]
    best_mse: float
    mean_sparsity: float
    work: float
    elapsed: float = float("nan")
    eta: float = float("nan")


def snapshot(store: Store, active: Collection[str] | None = None) -> Snapshot:
    """Look at a store as of its last refresh.

    Parameters
    ----------
    store : Store
    active : collection of str, optional
        Ids that are being worked at; left out, all runs whose file says "running".
    """
    states = store.column("status")
    if active is None:
        active = [run_id for run_id, state in states.items() if state == "running"]
    # A retried or repeated run has an old record until its worker starts it again.
    views = tuple(view for run_id in active if (view := _view(store, run_id)) is not None)
    under_way = set(active)
    ended = {run_id: state for run_id, state in states.items() if state != "running" and run_id not in under_way}
    done = [run_id for run_id, state in ended.items() if state == "done"]
    # On one base where the records have it: a strategy's own m would make shares of different things.
    best, sparsity = store.column("validation_mse"), store.column("study_sparsity") or store.column("sparsity")
    return Snapshot(
        name=store.name or store.folder.name,
        planned=len(store.planned) or len(states),
        done=len(done),
        failed=len(ended) - len(done),
        running=views,
        best_mse=min((best[run_id] for run_id in done if run_id in best), default=float("nan")),
        mean_sparsity=_mean([sparsity[run_id] for run_id in done if run_id in sparsity]),
        work=len(ended) + sum(view.epoch / view.epochs for view in views if view.epochs),
    )


def line(state: Snapshot) -> str:
    """Return the state as one line of text."""
    left = state.planned - state.done - state.failed - len(state.running)
    parts = [f"{state.done} of {state.planned} runs done", f"{len(state.running)} running"]
    parts += [f"{state.failed} failed", f"{left} waiting"]
    if np.isfinite(state.best_mse):
        parts.append(f"best validation MSE {state.best_mse:.4g}")
    if np.isfinite(state.mean_sparsity):
        parts.append(f"mean sparsity {100 * state.mean_sparsity:.1f} %")
    return ", ".join(parts) + _times(state)


def table(state: Snapshot) -> Group:
    """Return the state for a terminal: the line, and below it a table with one row per run under way."""
    from rich.console import Group
    from rich.table import Table

    title = rich_text(f"{shown(state.name, NAME)}: {line(state)}", LINE, "bold")
    if not state.running:
        return Group(title)
    rows = Table()
    for name in ("run", "strategy", "epoch", "validation MSE", "sparsity"):
        rows.add_column(name, justify="left" if name in {"run", "strategy"} else "right", no_wrap=True)
    for view in state.running[:_MOST_ROWS]:
        epoch = f"{view.epoch} / {view.epochs}" if view.epochs else str(view.epoch)
        mse = f"{view.validation_mse:.4g}" if np.isfinite(view.validation_mse) else "–"
        share = f"{100 * view.sparsity:.1f} %" if np.isfinite(view.sparsity) else "–"
        rows.add_row(view.run_id, rich_text(view.label), epoch, mse, share)
    if len(state.running) > _MOST_ROWS:
        rows.add_row("…", f"{len(state.running) - _MOST_ROWS} more", "", "", "")
    return Group(title, rows)


class Progress:
    """Shows a study while it runs; :meth:`tick` looks at the store when it is time.

    Parameters
    ----------
    store : Store
        Refreshed here.
    mode : str
        "live" table, "plain" lines, "none", or "auto": live on a terminal, else plain.
    stream : text stream
        Standard error by default.
    clock : callable
        Monotonic seconds.

    Raises
    ------
    UsageError
        When ``mode`` is none of these.
    """

    def __init__(
        self,
        store: Store,
        mode: Mode = "auto",
        *,
        workers: int = 1,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if mode not in ("auto", "live", "plain", "none"):
            raise UsageError(f"progress must be auto, live, plain or none, got {mode!r}")
        shown_on = stream or sys.stderr
        if mode == "auto":
            mode = "live" if _able(shown_on) else "plain"
        self._stream = shown_on
        self.mode = mode
        self._store = store
        self._workers = workers
        self._clock = clock
        self._began = clock()
        self._work_at_start: float | None = None
        self._next_look = self._began
        self._next_line = self._began + _LINE_SECONDS
        self._last_line = ""
        self._live: Any = None
        self._console: Console | None = None
        if mode == "live":
            from rich.live import Live

            self._console = console(self._stream)
            self._live = Live(console=self._console, auto_refresh=False)
            with _whoever_looks():
                self._live.start()

    def echo(self, text: str) -> None:
        """Show one line of the journal without disturbing the table."""
        if self._console is not None:
            with _whoever_looks():
                self._console.print(text)
        elif self.mode == "plain":
            say(text, self._stream)

    def tick(self, active: Collection[str]) -> str | None:
        """Look, when it is time, and show; returns a line for the log when one is due."""
        start = self._clock()
        if start < self._next_look:
            return None
        state = self.look(active)
        if self._live is not None:
            with _whoever_looks():
                self._live.update(table(state), refresh=True)
        self._next_look = start + max(1.0, _SHARE * (self._clock() - start))
        if start < self._next_line:
            return None
        self._next_line = start + _LINE_SECONDS
        text = line(state)
        if text.partition(", elapsed")[0] == self._last_line:
            return None
        self._last_line = text.partition(", elapsed")[0]
        return text

    def look(self, active: Collection[str] | None) -> Snapshot:
        """Refresh the store and return its state with the time since the start and the time that is left."""
        state = snapshot(self._store.refresh(), active)
        elapsed = self._clock() - self._began
        if self._work_at_start is None:
            self._work_at_start = state.work
        gained = state.work - self._work_at_start
        left = state.planned - state.work
        eta = elapsed * left / gained if gained > 0 and elapsed > 0 else float("nan")
        return Snapshot(**{**vars(state), "elapsed": elapsed, "eta": eta})

    def close(self) -> None:
        """Show the last state and leave the terminal as it was."""
        if self._live is not None:
            last = table(self.look(()))
            with _whoever_looks():
                self._live.update(last, refresh=True)
            with _whoever_looks():
                self._live.stop()
            self._live = None


def _able(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except ValueError:  # closed
        return False


def _whoever_looks() -> suppress:
    """Go on when a terminal went away, or is a file that is full: what it shows is convenience."""
    return suppress(OSError, ValueError)


def _view(store: Store, run_id: str) -> RunView | None:
    if store.status(run_id) != "running":
        return None
    try:
        record = store.record(run_id, network=False)
    except StoreError:
        return None
    strategy = dict(record.spec["strategy"])
    known = STRATEGIES.get(strategy["name"])
    # What every study has to say of a strategy tells its runs apart best.
    required = {} if known is None else {key: info for key, info in known.model_fields.items() if info.is_required()}
    options = [f"{known.symbols.get(key, key)} {strategy.get(key)}" for key in required if known is not None]

    def last(column: str) -> float:
        values = record.history.get(column)
        return float(values[-1]) if values is not None and values.size else float("nan")

    return RunView(
        run_id=run_id,
        label=" ".join([strategy["name"], *options, f"seed {record.spec['seed']}"]),
        epoch=record.epochs,
        epochs=_epochs(record.spec),
        validation_mse=last("validation_mse"),
        sparsity=last("sparsity"),
    )


def _epochs(spec: Mapping[str, Any]) -> int:
    try:
        return total_epochs(spec)
    except (KeyError, UsageError):  # of a strategy that this version does not know
        return int(spec["training"]["epochs"])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _times(state: Snapshot) -> str:
    text = f", elapsed {_clock_text(state.elapsed)}" if np.isfinite(state.elapsed) else ""
    ahead = np.isfinite(state.eta) and state.work < state.planned
    return text + (f", left about {_clock_text(state.eta)}" if ahead else "")


def _clock_text(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
