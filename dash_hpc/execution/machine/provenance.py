"""Where, when and with what a run was made."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import subprocess
from datetime import datetime, timezone
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import dash_hpc
from dash_hpc.execution.machine.container import image_of_this_process
from dash_hpc.execution.threads import thread_count

__all__ = ["now", "provenance"]


def now() -> str:
    """Return the time, UTC, ISO 8601 to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


@lru_cache(maxsize=1)
def _fixed() -> dict[str, Any]:
    import h5py
    import numpy

    from dash_hpc.ops import native_info

    package = Path(dash_hpc.__file__).resolve().parent
    return {
        "dash_hpc": dash_hpc.__version__,
        "code": _digest(package, [package / "rng.py", *_sources(package)]),
        "git": _git_revision(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": _version("scipy"),
        "torch": _version("torch"),
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "native": {**native_info(), "build": _digest(package, sorted(package.glob("_native*.so")))},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        **({} if (image := image_of_this_process()) is None else {"container": image}),
    }


def provenance() -> dict[str, Any]:
    """Return versions (dash-hpc, its code, git revision, Python, NumPy, SciPy, torch, h5py, HDF5), native level and
    build, host, processor, threads and process id; in a container also which image. Plain, JSON-able.
    """
    return {**_fixed(), "threads": thread_count(), "pid": os.getpid()}


# The packages that a run's numbers come from: a change of words in a report makes no other code.
_NUMBERS_FROM = ("data", "evaluation", "models", "ops", "pruning", "training")


def _sources(package: Path) -> list[Path]:
    return [path for name in _NUMBERS_FROM for path in sorted((package / name).rglob("*.py"))]


def _digest(package: Path, files: list[Path]) -> str:
    """Return 16 hexadecimal digits that stand for the names and contents of files; "" when there are none to read."""
    whole = hashlib.sha256()
    found = False
    for path in files:
        try:
            content = path.read_bytes()
        except OSError:
            continue
        found = True
        whole.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
        whole.update(content)
    return whole.hexdigest()[:16] if found else ""


def _version(package: str) -> str:
    """Return the version of a package that this run may never load; "" when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git_revision() -> str:
    """Return the commit of a source checkout ("+changes" when files differ from it), else of the image, else ""."""
    package = Path(dash_hpc.__file__).resolve().parent
    if not (package.parent / ".git").exists():
        return str((image_of_this_process() or {}).get("revision", ""))
    revision = _git(package, "rev-parse", "HEAD")
    if not revision:
        return ""
    return revision + ("+changes" if _git(package, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
