"""The batch scripts: templates of the folder ``slurm/`` with a job's values in them.

Two quoting rules meet in a batch script. The shell's: every value is one word (``shell_word``). Slurm's own, for the
``#SBATCH`` lines, which no shell reads: a value that is not plain stands between double quotes, with a backslash before
double quotes and backslashes. (Outside of quotes Slurm breaks at an escaped space, between single quotes it eats
backslashes.)
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import dash_hpc
from dash_hpc.errors import UsageError
from dash_hpc.execution.machine.container import digest_lines, mounts
from dash_hpc.execution.slurm.options import JobOptions
from dash_hpc.shown import harmless, shell_word, shown

__all__ = ["call_script", "directive", "job_script", "own_command", "report_script", "template"]

_LONGEST_NAME = 120


def template(name: str) -> str:
    """Return the text of a template, from the installed package or the source tree.

    Raises
    ------
    UsageError
        When the installation lacks it.
    """
    package = Path(dash_hpc.__file__).resolve().parent
    for folder in (package / "slurm", package.parent / "slurm"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise UsageError(f"the template {name} is missing from this installation; install dash-hpc again")


def own_command() -> list[str]:
    """Return the words that start this dash-hpc on another host of the cluster."""
    script = Path(sys.executable).parent / "dash-hpc"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "dash_hpc"]


def directive(option: str) -> str:
    """Return ``option`` (such as ``--job-name=a b``) as an ``#SBATCH`` line.

    Raises
    ------
    UsageError
        When it holds a line break or another letter that acts on its surroundings.
    """
    if not harmless(re.sub("[\udc80-\udcff]", "", option)):  # bytes that are not UTF-8 do nothing
        raise UsageError(
            f"{option}: a line break or control character cannot be given to sbatch; leave it out, or name another "
            "folder"
        )
    name, equals, value = option.partition("=")
    if not re.fullmatch(r"[\w@%+=:,./\[\]-]*", value, flags=re.ASCII):
        value = '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
    return f"#SBATCH {name}{equals}{value}"


def job_script(
    study: str,
    folder: Path,
    options: JobOptions,
    command: Sequence[str] | None = None,
    inputs: Iterable[Path] = (),
) -> str:
    """Return the script that works on a study: one MPI job, or the slices of an array.

    Parameters
    ----------
    study : str
        Name of the study; becomes the job's name.
    folder : Path
        Absolute path of the store.
    options : JobOptions
    command : sequence of str, optional
        What starts dash-hpc there; this installation by default, or the container's.
    inputs : iterable of Path
        Folders and files that a container must show besides ``folder``, to be read only.
    """
    array = options.kind == "array"
    lines = _directives(study, folder, options, "slurm-%A_%a.out" if array else "slurm-%j.out")
    tasks = 1 if array else options.tasks_per_node or 1
    nodes = 1 if array else options.nodes
    lines += [f"--nodes={nodes}", f"--ntasks-per-node={tasks}", f"--cpus-per-task={options.cpus_per_task}"]
    if options.memory:
        lines.append(f"--mem={options.memory}")
    if options.gpus_per_node:
        lines.append(f"--gpus-per-node={options.gpus_per_node}")
    lines.append("--requeue")
    if options.grace:
        lines.append(f"--signal=B:USR1@{options.grace}")
    if array:
        limit = f"%{options.parallel}" if options.parallel else ""
        lines.append(f"--array=1-{options.parts}{limit}")
    lines += options.sbatch
    launch = [] if array else _launch(options)
    # The one thing in the script that only the job knows: its number in the array.
    part = f'--part "$SLURM_ARRAY_TASK_ID/{options.parts}"' if array else ""
    return _fill(
        "job.sbatch",
        SBATCH="\n".join(directive(line) for line in lines),
        FOLDER=shell_word(str(folder)),
        COMMAND=_words(_command(folder, options, command, inputs)),
        LAUNCH=_words(launch),
        PART=part,
        OPTIONS=_words(_run_options(options)),
        GRACE=str(options.grace),
        SETUP="\n".join(_setup(options)),
    )


def report_script(study: str, folder: Path, options: JobOptions, command: Sequence[str] | None = None) -> str:
    """Return the script that writes the report after an array."""
    lines = _directives(study, folder, options, "slurm-%j.out")
    lines += ["--nodes=1", "--ntasks=1", *options.sbatch]
    return _fill(
        "report.sbatch",
        SBATCH="\n".join(directive(line) for line in lines),
        FOLDER=shell_word(str(folder)),
        COMMAND=_words(_command(folder, options, command)),
        SETUP="\n".join(_setup(options)),
    )


def call_script(name: str, folder: Path, options: JobOptions, command: Sequence[str] | None = None) -> str:
    """Return the script of one call of a SlurmExecutor, which lies in ``folder``."""
    lines = _directives(name, folder, options, "slurm-%j.out")
    lines += ["--nodes=1", "--ntasks=1", f"--cpus-per-task={options.cpus_per_task}", "--requeue"]
    if options.memory:
        lines.append(f"--mem={options.memory}")
    if options.gpus_per_node:
        lines.append(f"--gpus-per-node={options.gpus_per_node}")
    return _fill(
        "call.sbatch",
        SBATCH="\n".join(directive(line) for line in [*lines, *options.sbatch]),
        FOLDER=shell_word(str(folder)),
        COMMAND=_words(_command(folder, options, command)),
        SETUP="\n".join(_setup(options)),
    )


def _directives(study: str, folder: Path, options: JobOptions, log: str) -> list[str]:
    # In a file name of sbatch, %% is a percent sign.
    log_path = str(folder / "log").replace("%", "%%")
    lines = [f"--job-name={shown(study, _LONGEST_NAME)}", f"--output={log_path}/{log}", "--open-mode=append"]
    lines.append(f"--time={options.time}")
    for name, value in (("partition", options.partition), ("account", options.account)):
        if value:
            lines.append(f"--{name}={value}")
    if options.exclude:
        lines.append(f"--exclude={','.join(options.exclude)}")
    return lines


def _launch(options: JobOptions) -> list[str]:
    words = list(options.launcher)
    beside = Path(sys.executable).parent / words[0]
    if words[0] in ("mpiexec", "mpirun") and options.container is None and shutil.which(beside):
        words[0] = str(beside)
    if words[0] == "srun" and options.cpus_per_task > 1:
        words.append(f"--cpus-per-task={options.cpus_per_task}")
    return words


def _run_options(options: JobOptions) -> list[str]:
    """The words for ``dash-hpc run``; what is its default is left out."""
    words = ["--engine", "local" if options.kind == "array" else "mpi"]
    if options.device != "cpu":
        words += ["--device", options.device]
    if options.pack is not None:
        words += ["--pack", str(options.pack)]
    return words


def _setup(options: JobOptions) -> list[str]:
    return [*(digest_lines(options.container) if options.container is not None else ()), *options.setup]


def _command(
    folder: Path, options: JobOptions, command: Sequence[str] | None, inputs: Iterable[Path] = ()
) -> list[str]:
    if options.container is None:
        return list(command) if command is not None else own_command()
    gpu = ["--nv"] if options.gpus_per_node else []
    bind = mounts([(folder, True), *((Path(path), False) for path in inputs)])
    return [*options.container_command, *gpu, *bind, options.container, *options.container_dash_hpc]


def _words(words: Iterable[str]) -> str:
    return " ".join(map(shell_word, words))


def _fill(name: str, **values: str) -> str:
    text = re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], template(name))
    # A template's line whose value is empty leaves no gap.
    return re.sub(r"\n{3,}", "\n\n", text)
