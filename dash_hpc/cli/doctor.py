"""``doctor``: what is installed, and what this machine offers."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import click

from dash_hpc.cli.common import FAILED, Command, json_option, print_json, say

__all__ = ["doctor"]


@click.command(cls=Command)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(), help="Report free space here. [default: this folder]"
)
@click.option("--mpi", "ranks", is_flag=True, help="Check the MPI ranks and the folder from each of them.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, folder: Path, ranks: bool, as_json: bool) -> None:
    """Check this installation and this machine; add the answer to a report of a problem.

    With --mpi, under a launcher: number of ranks, hosts, binding, and from every rank whether the folder shows the
    files of the others, renames whole files, has room, and how far the clocks are apart. Takes two seconds.

    Leaves with 1 when something that is needed is broken.

    \b
    Example:
      dash-hpc doctor --json > doctor.json
      mpiexec -n 4 dash-hpc doctor --mpi --folder results
    """
    if ranks:
        ctx.exit(_examine_ranks(folder, as_json))
    facts, problems = _examine(folder)
    if as_json:
        print_json({**facts, "problems": problems})
    else:
        width = max(len(name) for name in facts)
        for name, value in facts.items():
            say(f"{name:<{width}}  {value}")
        for problem in problems:
            say(f"problem: {problem}")
        if not problems:
            say("all is well")
    ctx.exit(FAILED if problems else 0)


def _examine_ranks(folder: Path, as_json: bool) -> int:
    from dash_hpc.execution.mpi.check import check_ranks

    answer = check_ranks(folder)
    if answer is None:  # this is not rank 0
        return 0
    if as_json:
        print_json(answer)
    else:
        say(f"{len(answer['ranks'])} ranks on {answer['hosts']} hosts, {answer['library']}")
        for rank in answer["ranks"]:
            free = f"{rank['free_bytes'] / 2**30:.1f} GiB free"
            say(f"{rank['binding']}; {free}, clock {1000 * rank['clock_offset']:+.1f} ms")
        for warning in answer["warnings"]:
            say(f"warning: {warning}")
        for problem in answer["problems"]:
            say(f"problem: {problem}")
        say(f"took {answer['seconds']:.1f} s" + ("" if answer["problems"] else "; all is well"))
    return FAILED if answer["problems"] else 0


def _examine(folder: Path) -> tuple[dict[str, Any], list[str]]:
    import h5py
    import numpy as np
    import pandas as pd
    import scipy
    import torch

    from dash_hpc import __version__

    problems: list[str] = []
    facts: dict[str, Any] = {
        "dash-hpc": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "torch": torch.__version__,
        "torch threads": torch.get_num_threads(),
        "CUDA in torch": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no device",
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "pandas": pd.__version__,
        "h5py": f"{h5py.__version__}, HDF5 {h5py.version.hdf5_version}",
        "native module": _native(problems),
        "GPU": _gpu(),
        "cores": _cores(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        "mpi4py": "installed" if importlib.util.find_spec("mpi4py") else "not installed",
        "MPI launcher": shutil.which("mpiexec") or shutil.which("srun") or "none found",
        "DASH_HPC_DATA": _data_root(problems),
        "free space": _free_space(folder, problems),
    }
    return facts, problems


def _native(problems: list[str]) -> str:
    from dash_hpc.errors import NativeError
    from dash_hpc.ops import native_info

    try:
        info = native_info()
    except NativeError as error:
        problems.append(str(error))
        return "broken"
    if not info["available"]:
        problems.append("the native module is missing, so training is correct but slow; reinstall dash-hpc to build it")
        return "missing"
    return f"{info['isa']}, built with {', '.join(map(str, info['built_isas']))}, compiler {info['compiler']}"


def _gpu() -> str:
    from dash_hpc.ops.cuda import gpu_info

    info = gpu_info()
    if not info["devices"]:
        return f"none ({info['problem'] or 'no device'})"
    names = ", ".join(f"{gpu['name']} ({gpu['capability'][0]}.{gpu['capability'][1]})" for gpu in info["devices"])
    return f"{names}; built for {info['architectures']}"


def _cores() -> str:
    from dash_hpc.execution.cgroup import quota_cores
    from dash_hpc.execution.threads import available_cores

    quota = quota_cores()
    limit = "" if quota is None else f" (CPU quota of the control group: {quota})"
    return f"{available_cores()} usable of {os.cpu_count() or 1}{limit}"


def _data_root(problems: list[str]) -> str:
    root = os.environ.get("DASH_HPC_DATA")
    if not root:
        return "not set (only needed for published data sets)"
    if not Path(root).is_dir():
        problems.append(f"DASH_HPC_DATA = {root}: no such folder")
        return f"{root} (missing)"
    return root


def _free_space(folder: Path, problems: list[str]) -> str:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        problems.append(f"{folder}: {error.strerror}")
        return "unknown"
    return f"{free / 2**30:.1f} GiB in {folder.resolve()}"
