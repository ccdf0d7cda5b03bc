"""The CPU quota that a control group grants: a scheduler or a container may give two cores' time on 64 cores.

Both versions of cgroups, nested groups (the smallest of all limits up the tree counts), and the mounts of containers,
which show a part of the tree or hide where the process is in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

__all__ = ["quota_cores"]


def quota_cores(root: Path = Path("/")) -> int | None:
    """Return how many cores the CPU quota of this process amounts to, rounded up, 1 or more; None without a quota.

    Parameters
    ----------
    root : path
        Where ``/proc`` and the mounts are looked for.
    """
    limits = []
    for folder, read in _groups(root):
        with suppress(OSError, ValueError):
            if (limit := read(folder)) is not None:
                limits.append(limit)
    return max(1, math.ceil(min(limits))) if limits else None


def _groups(root: Path) -> Iterator[tuple[Path, Callable[[Path], float | None]]]:
    """Give each group that this process is in, from its own up, with the function that reads its quota."""
    own = _own_paths(root)
    for kind, inside, mounted in _mounts(root):
        path = own.get(kind)
        if path is None:
            continue
        top = root / mounted.lstrip("/")
        # What lies outside of the part that is mounted cannot be seen; its top is the nearest that can.
        with suppress(ValueError):
            below = PurePosixPath(path).relative_to(inside)
            folder = top if ".." in below.parts else top / below
            while folder != top:
                yield folder, _READERS[kind]
                folder = folder.parent
        yield top, _READERS[kind]


def _own_paths(root: Path) -> dict[str, str]:
    """Return this process's group by kind ("cpu", "v2"), as the kernel names it."""
    paths = {}
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            paths["v2"] = path
        elif "cpu" in controllers.split(","):
            paths["cpu"] = path
    return paths


def _mounts(root: Path) -> Iterator[tuple[str, str, str]]:
    """Give kind, mounted part of the tree, and mount point of each mounted tree that may have CPU quotas."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        inside, mounted = _unescaped(fields[3]), _unescaped(fields[4])
        if kind[0] == "cgroup2":
            yield "v2", inside, mounted
        elif kind[0] == "cgroup" and "cpu" in kind[2].split(","):
            yield "cpu", inside, mounted


def _quota_v1(folder: Path) -> float | None:
    quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text("ascii")) for name in ("quota", "period"))
    return quota / period if quota > 0 and period > 0 else None


def _quota_v2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text("ascii").split()
    return int(quota) / int(period) if quota != "max" and int(period) > 0 else None


_READERS: dict[str, Callable[[Path], float | None]] = {"cpu": _quota_v1, "v2": _quota_v2}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
