"""What a job asks of Slurm: options with checks, and a site's defaults from a profile file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dash_hpc.errors import UsageError
from dash_hpc.ops.cuda import parse_device
from dash_hpc.shown import harmless
from dash_hpc.study.toml import TOMLDecodeError, parse

__all__ = ["PROFILE_VARIABLE", "JobOptions", "load_options", "profile_path"]

PROFILE_VARIABLE = "DASH_HPC_SLURM_PROFILE"


def _one_line(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    if not harmless(text):
        raise ValueError("must be one line without control characters")
    return text


def _option(text: str) -> str:
    if not re.match(r"--[a-z][a-z0-9-]*(=|$)", text):
        raise ValueError("must look like --name or --name=value, such as --qos=long")
    return _one_line(text)


def _device(text: str) -> str:
    try:
        parse_device(text)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return text


Line = Annotated[str, AfterValidator(_one_line)]
Number = Annotated[int, Field(ge=1)]


class JobOptions(BaseModel):
    """What a job asks for. The keys of a profile file are these names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["mpi", "array"] = "mpi"
    partition: Line | None = None
    account: Line | None = None
    time: Line = "12:00:00"
    nodes: Number = 1
    tasks_per_node: Number | None = None
    cpus_per_task: Number = 1
    gpus_per_node: Number | None = None
    device: Annotated[str, AfterValidator(_device)] = Field(default="cpu", description="as dash-hpc run takes it")
    pack: Number | None = Field(default=None, description="runs that advance together in a process")
    memory: Line | None = Field(default=None, description="per node, such as 16G")
    parts: Number = Field(default=4, description="of an array: slices of the study")
    parallel: Number | None = Field(default=None, description="of an array: slices at a time")
    grace: Annotated[int, Field(ge=0)] = Field(
        default=120, description="seconds between the warning and the time limit"
    )
    exclude: tuple[Line, ...] = Field(default=(), strict=False)
    sbatch: tuple[Annotated[str, AfterValidator(_option)], ...] = Field(default=(), strict=False)
    launcher: tuple[Line, ...] = Field(default=("srun", "-K", "--mpi=pmi2"), strict=False)
    setup: tuple[Line, ...] = Field(
        default=(), strict=False, description="shell lines to run first, such as module load"
    )
    container: Line | None = None
    container_command: tuple[Line, ...] = Field(default=("apptainer", "--quiet", "exec"), strict=False)
    container_dash_hpc: tuple[Line, ...] = Field(default=("dash-hpc",), strict=False)


def profile_path(environ: Mapping[str, str] | None = None) -> Path:
    """Return where the site's profile is: DASH_HPC_SLURM_PROFILE, or ``~/.config/dash-hpc/slurm.toml``."""
    environ = os.environ if environ is None else environ
    named = environ.get(PROFILE_VARIABLE)
    if named:
        return Path(named)
    root = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(root) / "dash-hpc" / "slurm.toml"


def load_options(given: Mapping[str, Any], profile: Path | None = None) -> JobOptions:
    """Combine the defaults, the site's profile, and what was given; the later wins.

    Parameters
    ----------
    given : mapping
        Options by name; None and empty tuples count as not given. ``sbatch`` and ``exclude`` add to the profile's.
    profile : path, optional
        A TOML file; without it the one of :func:`profile_path`, if it exists.

    Raises
    ------
    UsageError
        When the profile cannot be read, or a value cannot be what it stands for; names file and key. When the device
        is a GPU and none is requested.
    """
    path = profile if profile is not None else profile_path()
    values = _read(path) if profile is not None or path.is_file() else {}
    _checked(values, str(path))
    chosen = {key: value for key, value in given.items() if value is not None and value != ()}
    for key in ("sbatch", "exclude"):
        if key in chosen:
            chosen[key] = (*values.get(key, ()), *chosen[key])
    options = _checked({**values, **chosen}, "submit")
    if options.device.startswith("cuda") and not _asks_for_gpus(options):
        raise UsageError(
            f"device {options.device} without a GPU in the request: give --gpus-per-node, or your site's option with "
            "--sbatch, such as --sbatch=--gres=gpu:1"
        )
    if options.kind == "mpi" and ":" in options.device:
        raise UsageError(f"device {options.device}: MPI ranks take the GPUs of their host in turn; say cuda or auto")
    return options


def _asks_for_gpus(options: JobOptions) -> bool:
    return options.gpus_per_node is not None or any(re.match(r"--(gres|gpus|tres)", line) for line in options.sbatch)


def _read(path: Path) -> dict[str, Any]:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"profile {path}: {error.strerror}; name a file that exists") from error
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"profile {path}: {error}") from error


def _checked(values: Mapping[str, Any], where: str) -> JobOptions:
    try:
        return JobOptions(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        known = f"; there is {', '.join(JobOptions.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise UsageError(f"{where}: {key} = {first['input']!r}: {message}{known}") from error
