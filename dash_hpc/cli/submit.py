"""``submit`` and ``cancel``: a study as a job of Slurm."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from dash_hpc.cli.common import Command, json_option, parse_device, print_json, say
from dash_hpc.errors import UsageError
from dash_hpc.names import to_bytes
from dash_hpc.shown import shell_path

__all__ = ["cancel", "submit"]

_positive = click.IntRange(min=1)


@click.command(cls=Command)
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace one setting; may be repeated.")
@click.option("--output", type=click.Path(path_type=Path), help="Output folder. [default: that of the study]")
@click.option("--array", type=_positive, metavar="N", help="N jobs with a slice of the study each, not one MPI job.")
@click.option("--parallel", type=_positive, metavar="P", help="At most so many slices at a time.")
@click.option("--nodes", type=_positive, help="Of the MPI job. [default: 1]")
@click.option("--tasks-per-node", type=_positive, help="MPI ranks per node. [default: 1]")
@click.option("--cpus-per-task", type=_positive, help="Cores, and runs at a time, of a rank or slice. [default: 1]")
@click.option("--gpus-per-node", type=_positive, help="GPUs, shared by the ranks of a node in turn.")
@click.option("--device", metavar="NAME", callback=parse_device, help="As of run; cuda needs GPUs in the request.")
@click.option("--pack", type=_positive, metavar="N", help="As of run.")
@click.option("--memory", metavar="SIZE", help="Per node, such as 16G.")
@click.option("--time", metavar="LIMIT", help="Time limit, such as 2:00:00. [default: 12:00:00]")
@click.option("--partition")
@click.option("--account")
@click.option("--exclude", multiple=True, metavar="NODE", help="Not on this node; may be repeated.")
@click.option("--grace", type=click.IntRange(min=0), help="Seconds of warning before the time limit. [default: 120]")
@click.option("--container", metavar="IMAGE", help="Apptainer image to run in.")
@click.option("--launcher", metavar="WORDS", help="What starts the ranks. [default: srun -K --mpi=pmi2]")
@click.option("--sbatch", multiple=True, metavar="OPTION", help="Further #SBATCH line, such as --qos=long.")
@click.option("--profile", type=click.Path(path_type=Path), help="Site defaults. [~/.config/dash-hpc/slurm.toml]")
@click.option("--dry-run", is_flag=True, help="Print the script and stop.")
@json_option
def submit(
    study: Path,
    overrides: tuple[str, ...],
    output: Path | None,
    array: int | None,
    launcher: str | None,
    profile: Path | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Submit a study to Slurm: one MPI job over nodes, or with --array many small jobs and a report job.

    The job checkpoints and requeues itself before its time is up, and resumes. Nodes that failed under an earlier
    job of this study are left out.

    \b
    Example:
      dash-hpc submit study.toml --nodes 4 --tasks-per-node 32 --time 8:00:00 --dry-run
    """
    from dash_hpc.execution.planning import input_folders
    from dash_hpc.execution.slurm.attempts import failed_nodes
    from dash_hpc.execution.slurm.options import load_options
    from dash_hpc.execution.slurm.script import job_script
    from dash_hpc.study import load_study

    plan = load_study(study, overrides)
    folder = (output if output is not None else plan.output).absolute()
    given |= {"kind": "array" if array else None, "parts": array}
    given["launcher"] = _words(launcher) if launcher is not None else None
    avoided = [name for name in failed_nodes(folder) if name not in given["exclude"]]
    given["exclude"] = (*given["exclude"], *avoided)
    options = load_options(given, profile)
    inputs = input_folders(plan) if options.container else []
    script = job_script(plan.name, folder, options, inputs=inputs)
    if dry_run:
        click.echo(to_bytes(script), nl=False)
        return

    from dash_hpc.execution.slurm.submit import submit_study

    for name in avoided:
        say(f"dash-hpc: node {name} failed under an earlier job and is left out", err=True)
    job, report, log = submit_study(plan, folder, options, script)
    if as_json:
        print_json({"job": job, "report_job": report, "output": folder, "log": log, "excluded": avoided})
        return
    say(f"job {job} submitted" + (f", and job {report} for the report after it" if report else ""))
    place = shell_path(folder)
    say(f"follow it:  dash-hpc status {place}")
    say(f"its log:    {log}")
    say(f"stop it:    dash-hpc cancel {place}")


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def cancel(folder: Path, as_json: bool) -> None:
    """Cancel the jobs of a study that have not ended; runs checkpoint, and a new submit goes on from there.

    \b
    Example:
      dash-hpc cancel results/quick
    """
    from dash_hpc.execution.slurm.submit import cancel_jobs

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give the output folder of a study")
    jobs = cancel_jobs(folder)
    if as_json:
        print_json({"cancelled": jobs})
    else:
        say(f"cancelled: {', '.join(jobs)}" if jobs else "no job of this study waits or runs")


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--launcher {text!r}: {error}") from error
    if not words:
        raise UsageError("--launcher is empty; name a command such as 'srun -K --mpi=pmi2'")
    return words
