"""Every operation of the store fails once, in every way: by an error, for good, or by the death of the process."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from life import NAMES, STEPS, Life, complaints, finish_life, scratch, through

from dash_hpc.errors import StoreError
from dash_hpc.store import FileLayer

OPERATIONS = (
    "make_folder",
    "open",
    "write",
    "sync",
    "close",
    "sync_file",
    "rename",
    "sync_folder",
    "remove",
    "remove_folder",
)
ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "ESTALE", "ENOENT")}
ACTIONS = (*ERRORS, "ENOSPC for good", "half a write", "death before", "death after")


class Died(BaseException):
    """The process is gone: nothing of it runs any more, so no ``except`` and no file operation has an effect."""


class FailingLayer(FileLayer):
    """Does what it should until the n-th operation (from 1); then acts; counts all operations."""

    def __init__(self, at: int = 0, action: str = "") -> None:
        self.at = at
        self.action = action
        self.count = 0
        self.seen: list[str] = []
        self._dead = False

    def __getattribute__(self, name: str) -> Any:
        if name not in OPERATIONS:
            return super().__getattribute__(name)
        return lambda *arguments: self._do(name, *arguments)

    def _do(self, name: str, *arguments: Any) -> Any:
        if self._dead:
            raise Died
        self.count += 1
        self.seen.append(name)
        real = getattr(FileLayer, name)
        for_good = self.action == "ENOSPC for good" and name in {"make_folder", "open", "write", "sync", "close"}
        if self.at and (self.count == self.at or (for_good and self.count > self.at)):
            if self.action == "death before":
                self._die(name, arguments)
            if self.action == "death after":
                real(self, *arguments)
                self._die(name, arguments)
            if self.action == "half a write" and name == "write":
                os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if name == "close":
                # The descriptor is gone even when closing fails.
                os.close(arguments[0])
            code = ERRORS.get(self.action.split(" ")[0], errno.EIO)
            raise OSError(code, os.strerror(code))
        return real(self, *arguments)

    def _die(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._dead = True
        raise Died


@dataclass
class Trials:
    """Outcome of a campaign."""

    count: int = 0
    failures: list[str] = None  # type: ignore[assignment]
    operations: int = 0

    def __post_init__(self) -> None:
        self.failures = self.failures or []


def fail_points(actions: Iterable[str] = ACTIONS, *, every: int = 1) -> Trials:
    """Let each operation of each step fail; check, then repeat the step and finish; ``every`` n-th operation only."""
    trials = Trials()
    with scratch() as place:
        life = Life.live(place / "golden")
        for step, name in enumerate(NAMES):
            start = place / f"before-{step}"
            _grow(start, place / f"before-{step - 1}", step)
            counter = FailingLayer()
            shutil.copytree(start, place / "count", symlinks=True)
            with through(counter):
                STEPS[name](place / "count")
            shutil.rmtree(place / "count")
            trials.operations += counter.count
            for at in range(1, counter.count + 1):
                if every > 1 and (at + step) % every:
                    continue
                for action in actions:
                    if action == "half a write" and counter.seen[at - 1] != "write":
                        continue
                    trials.count += 1
                    label = f"step {name!r}, operation {at} ({counter.seen[at - 1]}), {action}"
                    trials.failures += [
                        f"{label}: {text}" for text in _trial(start, place / "trial", life, step, at, action)
                    ]
    return trials


def _grow(target: Path, previous: Path, step: int) -> None:
    target.mkdir()
    if step:
        shutil.copytree(previous, target, dirs_exist_ok=True)
        STEPS[NAMES[step - 1]](target)


def _trial(start: Path, folder: Path, life: Life, step: int, at: int, action: str) -> list[str]:
    shutil.copytree(start, folder)
    wrong: list[str] = []
    try:
        with through(FailingLayer(at, action)):
            try:
                STEPS[NAMES[step]](folder)
            except Died:
                if not action.startswith("death"):
                    wrong.append("died")
            except StoreError as error:
                if "\n" in str(error) or str(folder) not in str(error):
                    wrong.append(f"not one line with a path: {error}")
        wrong += complaints(folder, life, step)
        wrong += finish_life(folder, life, step)
    except Exception as error:
        wrong.append(f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(folder)
    return wrong
