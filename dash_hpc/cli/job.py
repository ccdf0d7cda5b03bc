"""``job begin``, ``job down``, ``job end`` and ``job call``: what the batch scripts call."""

from __future__ import annotations

from pathlib import Path

import click

from dash_hpc.cli.common import Command, parse_part, say

__all__ = ["job"]

_folder = click.argument("folder", type=click.Path(path_type=Path))


@click.group()
def job() -> None:
    """Keep the record of a Slurm job (called by its script)."""


@job.command(cls=Command)
@_folder
@click.option("--nodes", default="", help="Hosts of this attempt, separated by spaces or line breaks.")
@click.option("--down", default="", help="Hosts that are down now.")
@click.pass_context
def begin(ctx: click.Context, folder: Path, nodes: str, down: str) -> None:
    """Open an attempt."""
    from dash_hpc.execution.slurm.attempts import begin as begin_attempt

    verdict = begin_attempt(folder, nodes.split(), down.split())
    say(f"dash-hpc: {verdict.text}", err=True)
    ctx.exit(verdict.code)


@job.command(cls=Command)
@_folder
@click.option("--down", default="", help="Hosts that are down now.")
def down(folder: Path, down: str) -> None:
    """Remember which hosts of this attempt are down."""
    from dash_hpc.execution.slurm.attempts import note_failed

    note_failed(folder, down.split())


@job.command(cls=Command)
@_folder
@click.option("--code", type=int, required=True, help="Exit code of the launcher.")
@click.option("--signal", default="", help="USR1, TERM or nothing.")
@click.option("--grace", type=int, default=0, help="Seconds of warning before the time limit.")
@click.option("--state", default="", help="State and time left, as squeue prints them.")
@click.option("--down", default="", help="Hosts that are down now.")
@click.option("--part", callback=parse_part, help="K/N, in an array.")
@click.pass_context
def end(
    ctx: click.Context,
    folder: Path,
    code: int,
    signal: str,
    grace: int,
    state: str,
    down: str,
    part: tuple[int, int] | None,
) -> None:
    """Close an attempt; leave with 75 when the job shall go back into the queue."""
    from dash_hpc.execution.slurm.attempts import end as end_attempt
    from dash_hpc.execution.study_run import part_of
    from dash_hpc.store import planned_ids

    own = None if part is None else part_of(planned_ids(folder), part)
    verdict = end_attempt(folder, code, signal, grace, state, own, down.split())
    say(f"dash-hpc: {verdict.text}", err=True)
    ctx.exit(verdict.code)


@job.command(cls=Command)
@_folder
@click.pass_context
def call(ctx: click.Context, folder: Path) -> None:
    """Execute one call of a SlurmExecutor."""
    from dash_hpc.execution.slurm.executor import answer_call

    ctx.exit(0 if answer_call(folder) else 1)
