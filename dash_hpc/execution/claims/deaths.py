"""Runs that kill their worker: counted in the store, so that restarts do not hide them.

A worker that dies may have been killed from outside, by a scheduler or for another run's appetite. A run is at fault
when its workers die three times in a row at the same place (the epoch under way), or ten times without a new
checkpoint in between.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dash_hpc.errors import StoreError
from dash_hpc.execution.claims.lease import LEASE_FOLDER, Lease
from dash_hpc.store import publish_note, run_path, set_aside
from dash_hpc.store.checkpoint import checkpoint_paths, read_checkpoint
from dash_hpc.store.notes import read_note, record, text, whole

__all__ = ["MAX_STUCK", "MAX_TRIES", "Deaths", "count_death", "deaths_path", "forget_deaths", "read_deaths"]

MAX_TRIES = 3
MAX_STUCK = 10
_MOST = 1 << 31
_count = whole(0, _MOST)
_DEATHS = record(
    {"tries": _count, "stuck": _count, "place": text(40), "epoch": whole(-1, 1 << 62), "reason": text(10_000)}
)


@dataclass(frozen=True)
class Deaths:
    """What is known of a run's dead workers.

    Attributes
    ----------
    tries : int
        Deaths in a row at ``place``.
    stuck : int
        Deaths in a row without a new checkpoint.
    place : str
        What the last one was at, for example "epoch 12".
    epoch : int
        Epoch of the checkpoint at the last death, 0 without one.
    reason : str
        How the last one died.
    """

    tries: int = 0
    stuck: int = 0
    place: str = ""
    epoch: int = -1
    reason: str = ""

    @property
    def too_many(self) -> bool:
        """Whether the run is to be set aside."""
        return self.tries >= MAX_TRIES or self.stuck >= MAX_STUCK

    @property
    def times(self) -> int:
        """How often in a row, by the rule that is nearer to its limit."""
        return max(self.tries, self.stuck) if self.stuck >= MAX_STUCK else self.tries


def deaths_path(folder: Path | str, run_id: str) -> Path:
    """Return where the deaths of a run are counted."""
    run_path(folder, run_id)
    return Path(folder) / LEASE_FOLDER / run_id[:2] / f"{run_id}.deaths.json"


def read_deaths(folder: Path | str, run_id: str, tell: Callable[[str], object] = lambda text: None) -> Deaths:
    """Return the count of a run. One that cannot be read counts as none; it is renamed, and ``tell`` gets a line."""
    path = deaths_path(folder, run_id)
    if not path.is_symlink() and not path.exists():
        return Deaths()
    try:
        return Deaths(**read_note(path, _DEATHS))
    except StoreError as error:
        with suppress(StoreError):
            tell(f"run {run_id}: {error}; it is now {set_aside(path).name}, and counting begins anew")
    return Deaths()


def count_death(
    folder: Path | str, run_id: str, reason: str, tell: Callable[[str], object] = lambda text: None
) -> Deaths:
    """Note that a worker died at this run, and return the count with it; ``tell`` as of :func:`read_deaths`.

    Raises
    ------
    StoreError
        When it cannot be written.
    """
    before = read_deaths(folder, run_id, tell)
    held = Lease(folder, run_id).look()
    place = held.note if held is not None and not held.free else ""
    epoch = _checkpoint_epoch(folder, run_id)
    now = Deaths(
        tries=min(before.tries + 1, _MOST) if place == before.place else 1,
        stuck=min(before.stuck + 1, _MOST) if epoch <= before.epoch else 1,
        place=place,
        epoch=epoch,
        reason=reason[:10_000],
    )
    publish_note(deaths_path(folder, run_id), vars(now))
    return now


def forget_deaths(folder: Path | str, run_id: str) -> None:
    """The run is done: it was not at fault."""
    with suppress(OSError):
        deaths_path(folder, run_id).unlink()


def _checkpoint_epoch(folder: Path | str, run_id: str) -> int:
    epochs = [0]
    for path in checkpoint_paths(folder, run_id):
        if path.exists():
            with suppress(StoreError):
                epochs.append(read_checkpoint(path, arrays=False).epoch)
    return max(epochs)
