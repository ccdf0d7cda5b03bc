"""``init`` and ``run``: from nothing to a study file, and from a study file to results."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dash_hpc.cli.common import DONE, FAILED, INTERRUPTED, Command, json_option, print_json, print_table
from dash_hpc.errors import UsageError

__all__ = ["init", "run"]


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path), default=Path("study.toml"))
@click.option("--example", default="quick", show_default=True, help="quick, sim350 or hema_b.")
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
    click.echo(f"wrote {file}; run it with: dash-hpc run {file}")


@click.command(cls=Command)
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace one setting; may be repeated.")
@click.option("--output", type=click.Path(path_type=Path), help="Output folder. [default: that of the study]")
@click.option("--workers", type=click.IntRange(min=1), help="Processes at a time. [default: one per core]")
@click.option("--dry-run", is_flag=True, help="Check the study and its data, count the runs, and stop.")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    study: Path,
    overrides: tuple[str, ...],
    output: Path | None,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train and prune all models of a study, then write the report.

    Runs that are done are not repeated: the same command resumes an interrupted study. A run that fails is recorded
    with its reason; the others go on.

    \b
    Example:
      dash-hpc run quick.toml --set training.epochs=50 --set sweep.seeds=0..4
    """
    from dash_hpc.study import load_study

    plan = load_study(study, overrides)
    folder = output if output is not None else plan.output
    if dry_run:
        from dash_hpc.data import digest
        from dash_hpc.study import plan as plan_runs

        runs = plan_runs(plan, digest(plan.data_spec(), base=plan.base))
        if as_json:
            print_json({"study": plan.name, "output": folder, "runs": [{"id": r.id, **r.spec} for r in runs]})
        else:
            click.echo(f"{plan.name}: {len(runs)} runs, output in {folder}")
        return

    from dash_hpc.execution import run_study
    from dash_hpc.report import summary_rows, summary_table, write_report

    store = run_study(plan, output=folder, workers=workers)
    counts = store.counts()
    report = write_report(store) if counts["done"] else None
    if as_json:
        rows = summary_rows(store) if counts["done"] else []
        print_json({"study": plan.name, "output": folder, "runs": counts, "report": report, "results": rows})
    else:
        if counts["done"]:
            print_table(summary_table(store))
            click.echo(f"report: {report}")
        _print_failures(store)
    if counts["pending"] or counts["running"]:
        click.echo(f"dash-hpc: not complete; dash-hpc run {study} goes on from here", err=True)
        ctx.exit(INTERRUPTED)
    ctx.exit(FAILED if counts["failed"] else DONE)


def _print_failures(store: object, most: int = 5) -> None:
    runs = store.runs  # type: ignore[attr-defined]
    failed = runs[runs["status"] == "failed"]
    for run_id, reason in failed["reason"].head(most).items():
        print(f"failed: run {run_id}: {reason}", file=sys.stderr)
    if len(failed) > most:
        print(f"… and {len(failed) - most} more; dash-hpc status lists them", file=sys.stderr)
