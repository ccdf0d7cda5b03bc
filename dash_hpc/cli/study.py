"""``init`` and ``run``: from nothing to a study file, and from a study file to results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dash_hpc.cli.common import (
    DONE,
    FAILED,
    INTERRUPTED,
    Command,
    device_options,
    json_option,
    parse_part,
    print_json,
    print_table,
    say,
)
from dash_hpc.errors import UsageError
from dash_hpc.shown import shell_path

if TYPE_CHECKING:
    from dash_hpc.execution.machine.signals import StopFlag
    from dash_hpc.execution.mpi.executor import MPIExecutor
    from dash_hpc.execution.mpi.launch import Engine
    from dash_hpc.store import Store

__all__ = ["init", "run"]

# Runs that a dry run lists as JSON; of more it tells the number.
_MOST_LISTED = 10_000


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path), default=Path("study.toml"))
@click.option(
    "--example",
    default="quick",
    show_default=True,
    help="quick, sim350, hema_b, or a comparison: benchmark_sim350, benchmark_sim350_5, prior_quality, ablations, "
    "lambda_map or schedule.",
)
def init(file: Path, example: str) -> None:
    """Write a commented study file to start from (default: study.toml).

    An existing file is not overwritten.

    \b
    Example:
      dash-hpc init my-study.toml --example quick
    """
    from dash_hpc.study.templates import starter

    text = starter(example)
    try:
        with file.open("x", encoding="utf-8", newline="\n") as target:
            target.write(text)
    except FileExistsError:
        raise UsageError(f"{file} exists and stays as it is; name another file") from None
    except FileNotFoundError:
        raise UsageError(f"{file.parent}: no such folder; make it first") from None
    say(f"wrote {file}; run it with: dash-hpc run {shell_path(file)}")


@click.command(cls=Command)
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace one setting; may be repeated.")
@click.option("--output", type=click.Path(path_type=Path), help="Output folder. [default: that of the study]")
@click.option("--workers", type=click.IntRange(min=1), help="Processes at a time. [default: one per core, or per GPU]")
@device_options
@click.option(
    "--engine",
    type=click.Choice(["auto", "local", "mpi"]),
    default="auto",
    show_default=True,
    help="auto: the MPI ranks when started by mpiexec or srun, else this machine.",
)
@click.option("--part", metavar="K/N", callback=parse_part, help="Only part K (from 1) of N; for arrays of jobs.")
@click.option("--fresh", is_flag=True, help="Begin anew; a folder with files is refused without --move-to.")
@click.option("--move-to", type=click.Path(path_type=Path), help="With --fresh: the former output folder's new name.")
@click.option("--dry-run", is_flag=True, help="Check study and data, forecast runs, disk, memory and time, and stop.")
@click.option(
    "--probe",
    type=click.FloatRange(min=0, max=600),
    metavar="SECONDS",
    help="With --dry-run: try runs so long to tell time and memory; 0: not. [default: 2, more for many strategies]",
)
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    study: Path,
    overrides: tuple[str, ...],
    output: Path | None,
    workers: int | None,
    device: str,
    pack: int | None,
    engine: Engine,
    part: tuple[int, int] | None,
    fresh: bool,
    move_to: Path | None,
    dry_run: bool,
    probe: float | None,
    as_json: bool,
) -> None:
    """Train and prune all models of a study, then write the report.

    Runs that are done are not repeated, and those under way go on: the same command resumes a study after a signal, a
    crash or a reboot. A run that fails is recorded with its reason; the others go on. On SIGTERM, SIGINT (Ctrl-C),
    SIGHUP (unless under nohup), SIGUSR1 or SIGUSR2 the runs under way make a checkpoint and the command leaves with
    exit code 3; a second signal leaves at once.

    \b
    Example:
      dash-hpc run quick.toml --set training.epochs=50 --set sweep.seeds=0..4
    """
    from dash_hpc.execution.mpi.launch import choose_engine

    if move_to is not None and not fresh:
        raise click.UsageError("--move-to belongs to --fresh; without it the study goes on where it is", ctx)
    if probe is not None and not dry_run:
        raise click.UsageError("--probe belongs to --dry-run", ctx)
    if fresh and part is not None:
        raise click.UsageError("--fresh clears the folder of all parts; give it without --part", ctx)

    def work(executor: MPIExecutor | None = None, stop: StopFlag | None = None) -> int:
        where = (workers, device, pack)
        return _work(study, overrides, output, where, part, fresh, move_to, dry_run, probe, as_json, executor, stop)

    # A dry run starts nothing, whatever a launcher has left in the environment.
    if dry_run or choose_engine(engine) == "local":
        from dash_hpc.execution.machine.signals import StopFlag

        # Before the large imports: a signal that comes early must not mean death.
        with StopFlag(starting=True) as stop:
            ctx.exit(work(stop=stop))
    from dash_hpc.execution.mpi.session import mpi_session

    on_gpu = device != "cpu"
    ctx.exit(mpi_session(work, announce=lambda text: say(text, err=True), on_gpu=on_gpu) or DONE)


def _work(
    study: Path,
    overrides: tuple[str, ...],
    output: Path | None,
    where: tuple[int | None, str, int | None],
    part: tuple[int, int] | None,
    fresh: bool,
    move_to: Path | None,
    dry_run: bool,
    probe: float | None,
    as_json: bool,
    executor: MPIExecutor | None,
    stop: StopFlag | None,
) -> int:
    from dash_hpc.study import load_study

    workers, device, pack = where
    plan = load_study(study, overrides)
    folder = output if output is not None else plan.output
    if dry_run:
        from dash_hpc.data import level_lines
        from dash_hpc.execution.forecast import forecast
        from dash_hpc.execution.planning import data_summaries, planned_runs

        runs = planned_runs(plan)
        levels, further = data_summaries(plan)
        if not as_json:
            say(f"{plan.name}: {len(runs):,} runs, output in {folder}")
            for line in level_lines(levels, further):
                say(line)
        needs = forecast(plan, output=folder, workers=workers, device=device, pack=pack, seconds=probe, runs=runs)
        if as_json:
            few = len(runs) <= _MOST_LISTED
            print_json(
                {
                    "study": plan.name,
                    "output": folder,
                    "data": levels[0][1].as_dict(),
                    "levels": [{"level": name, "data": told.as_dict()} for name, told in levels],
                    "further_levels": further,
                    "forecast": needs.as_dict(),
                    "runs": [{"id": run.id, **run.spec} for run in runs] if few else None,
                }
            )
        else:
            for line in needs.lines():
                say(line)
        return DONE

    from dash_hpc.execution import run_study

    store = run_study(
        plan,
        output=folder,
        workers=workers,
        device=device,
        pack=pack,
        executor=executor,
        part=part,
        fresh=fresh,
        move_to=move_to,
        stop=stop,
    )
    if part is not None:
        return _end_of_part(store, part, as_json)
    # Imported here, for the first epoch should not wait for it.
    from dash_hpc.report import summary_rows, summary_table, write_report

    counts = store.counts()
    report = write_report(store) if counts["done"] else None
    if as_json:
        rows = summary_rows(store) if counts["done"] else []
        print_json({"study": plan.name, "output": folder, "runs": counts, "report": report, "results": rows})
    else:
        if counts["done"]:
            print_table(summary_table(store))
            say(f"report: {report}")
        _print_failures(store)
    if counts["pending"] or counts["running"]:
        say(f"dash-hpc: not complete; dash-hpc run {shell_path(study)} goes on from here", err=True)
        return INTERRUPTED
    return FAILED if counts["failed"] else DONE


def _end_of_part(store: Store, part: tuple[int, int], as_json: bool) -> int:
    """Other parts may be under way, so that table and report have to wait for all of them."""
    from dash_hpc.execution.study_run import part_of

    own = part_of(store.planned, part)
    states = [store.status(run_id) for run_id in own]
    counts = {"planned": len(own), **{state: states.count(state) for state in ("done", "failed", "running")}}
    if as_json:
        print_json({"study": store.name, "output": store.folder, "part": list(part), "runs": counts})
    else:
        say(f"part {part[0]} of {part[1]}: {counts['done']} of {len(own)} runs done, {counts['failed']} failed")
        _print_failures(store)
    if counts["done"] + counts["failed"] < len(own):
        return INTERRUPTED
    return FAILED if counts["failed"] else DONE


def _print_failures(store: Store, most: int = 5) -> None:
    failed = [run_id for run_id, state in store.column("status").items() if state == "failed"]
    reasons = store.column("reason")
    for run_id in failed[:most]:
        say(f"failed: run {run_id}: {reasons[run_id]}", err=True)
    if len(failed) > most:
        say(f"… and {len(failed) - most} more; dash-hpc status lists them", err=True)
