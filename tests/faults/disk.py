"""Real file systems that refuse: full, out of files, read-only, gone. On a small tmpfs of a mount namespace of its own.

Run as a script inside ``unshare --mount``; :func:`refusals` and :func:`study_on_full_disk` start it so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from failpoints import Trials
from life import NAMES, STEPS, Life, complaints, finish_life, scratch

from dash_hpc.errors import StoreError

_PAGE = 4096


def mounts_possible() -> bool:
    """Return whether this process may mount a tmpfs in a namespace of its own."""
    with scratch() as place:
        return (
            subprocess.run([*_unshare(), "mount", "-t", "tmpfs", "x", str(place)], capture_output=True).returncode == 0
        )


def refusals(every: int = 1) -> Trials:
    """Full disk at every page, out of inodes, read-only and vanished at every step: earlier files intact, then on."""
    return _inside("refusals", every)


def study_on_full_disk() -> Trials:
    """A whole study meets a full disk in the middle: one line, exit code 2; with room, the same command goes on."""
    return _inside("study", 1)


def _unshare() -> list[str]:
    return ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


def _inside(case: str, every: int) -> Trials:
    with scratch() as place:
        done = subprocess.run(
            [*_unshare(), sys.executable, __file__, case, str(every), str(place)],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        return Trials(1, [f"{case}: exit code {done.returncode}"])
    return Trials(**json.loads(done.stdout.splitlines()[-1]))


def _mount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)


def _remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def _live_until_refused(folder: Path) -> tuple[int, str]:
    """Live until a step is refused; return its number (that of the end when none is) and the message."""
    for step, name in enumerate(NAMES):
        try:
            STEPS[name](folder)
        except StoreError as error:
            return step, str(error)
    return len(NAMES), ""


def _trial(
    life: Life, place: Path, label: str, options: str, repair: Callable[[], object], words: tuple[str, ...]
) -> list[str]:
    _mount(place, options)
    try:
        folder = place / "out"
        step, message = _live_until_refused(folder)
        wrong = []
        if step < len(NAMES):
            if "\n" in message or str(folder) not in message or not all(word in message for word in words):
                wrong.append(f"not one line with path, need and free space: {message}")
            if step:
                wrong += complaints(folder, life, step)
        repair()
        wrong += finish_life(folder, life, min(step, len(NAMES) - 1))
    except Exception as error:
        wrong = [f"{type(error).__name__}: {error}"]
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    return [f"{label}: {text}" for text in wrong]


def _refusals(place: Path, every: int) -> Trials:
    trials = Trials()
    life = Life.live(place / "golden")
    disk = place / "disk"
    disk.mkdir()
    pages = 3 + sum(path.stat().st_size // _PAGE + 1 for path in (place / "golden").rglob("*") if path.is_file())
    # Compaction needs run files and bundle at the same time.
    pages += pages + 30
    for count in range(2, pages, every):
        trials.count += 1
        trials.failures += _trial(
            life,
            disk,
            f"disk of {count} pages",
            f"size={count * _PAGE}",
            lambda: _remount(disk, "size=100m"),
            ("No space left on device", "needed", "free there", "make room"),
        )
    for count in range(2, 24, every):
        trials.count += 1
        trials.failures += _trial(
            life,
            disk,
            f"disk of {count} files",
            f"size=100m,nr_inodes={count}",
            lambda: _remount(disk, "nr_inodes=1000"),
            ("No space left on device", "make room"),
        )
    for step in range(1, len(NAMES), every):
        trials.count += 2
        trials.failures += _at_step(life, disk, step, "read-only", "choose a folder that you may write to")
        trials.failures += _at_step(life, disk, step, "vanished", "")
    return trials


def _at_step(life: Life, disk: Path, step: int, how: str, remedy: str) -> list[str]:
    _mount(disk, "size=100m")
    wrong: list[str] = []
    try:
        folder = disk / "out"
        for name in NAMES[:step]:
            STEPS[name](folder)
        if how == "read-only":
            _remount(disk, "ro")
        else:
            folder.rename(disk / "moved")
        try:
            STEPS[NAMES[step]](folder)
        except StoreError as error:
            if "\n" in str(error) or str(folder) not in str(error) or remedy not in str(error):
                wrong.append(f"not one line with path and remedy: {error}")
        else:
            # Without a checkpoint on disk there is nothing to remove.
            if NAMES[step] != "remove checkpoints" and not (how == "vanished" and NAMES[step].startswith("checkpoint")):
                wrong.append("not refused")
        if how == "read-only":
            _remount(disk, "rw")
        else:
            shutil.rmtree(folder, ignore_errors=True)
            (disk / "moved").rename(folder)
        wrong += complaints(folder, life, step)
        wrong += finish_life(folder, life, step)
    except Exception as error:
        wrong.append(f"{type(error).__name__}: {error}")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    return [f"{how} at {NAMES[step]!r}: {text}" for text in wrong]


_STUDY = """
[study]
name = "full"
[data]
kind = "simulate"
genes = 12
regulators = 4
edges = 16
trajectories = 6
test_trajectories = 2
[model]
hidden = 4
[training]
epochs = 100000
early_stop = 0
[sweep]
seeds = [0, 1]
[[strategy]]
name = "none"
"""


def _study(place: Path, _: int) -> Trials:
    disk = place / "disk"
    disk.mkdir()
    # Room enough for the check before the start; what is free is taken later.
    _mount(disk, "size=200m")
    (place / "study.toml").write_text(_STUDY)
    command = [sys.executable, "-m", "dash_hpc", "run", str(place / "study.toml"), "--output", str(disk / "out")]
    wrong = []
    process = subprocess.Popen(
        [*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(disk.glob("out/runs/*/*.h5")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"\0" * _PAGE) == _PAGE:
            pass
    error = process.communicate(timeout=120)[1]
    last = error.strip().splitlines()[-1] if error.strip() else ""
    if process.returncode != 2:
        wrong.append(f"exit code {process.returncode} on a full disk: {last}")
    if not all(word in last for word in ("No space left on device", str(disk / "out"), "needed", "free there")):
        wrong.append(f"the last line on a full disk is {last!r}")
    (disk / "filler").unlink()
    command = [*command, "--set", "training.epochs=5"]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    if again.returncode:
        wrong.append(f"exit code {again.returncode} with room again: {again.stderr[-300:]}")
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
    return Trials(1, wrong)


def main() -> None:
    """Run one case and print its outcome as JSON."""
    case, every, place = sys.argv[1:]
    functions: dict[str, Any] = {"refusals": _refusals, "study": _study}
    trials = functions[case](Path(place), int(every))
    print(json.dumps({"count": trials.count, "failures": trials.failures, "operations": trials.operations}))  # noqa: T201


if __name__ == "__main__":
    main()
