"""``status``, ``select`` and ``report``: reading the output folder of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dash_hpc.cli.common import DONE, FAILED, INTERRUPTED, Command, json_option, print_json, print_table, say
from dash_hpc.errors import UsageError
from dash_hpc.shown import python_text, rich_text, shell_path

if TYPE_CHECKING:
    from rich.table import Table

    from dash_hpc.evaluation import Level, Selection
    from dash_hpc.store import Store

__all__ = ["report", "select", "status"]

_folder = click.argument("folder", type=click.Path(path_type=Path))


@click.command(cls=Command)
@_folder
@click.option("--check", is_flag=True, help="Leave with 1 when runs failed, with 3 when the study is not complete.")
@json_option
@click.pass_context
def status(ctx: click.Context, folder: Path, check: bool, as_json: bool) -> None:
    """Show how far a study is: runs by state, the best validation error, failures with their reasons.

    Jobs that submit made are shown with the state that Slurm gives them, "unknown" when it gives none.

    \b
    Example:
      dash-hpc status results/quick
    """
    from dash_hpc.execution.slurm.attempts import damaged_notes
    from dash_hpc.execution.slurm.submit import describe_jobs
    from dash_hpc.store import open_store

    store = open_store(folder)
    problems = [*store.problems, *damaged_notes(folder)]
    runs = store.runs
    failed = runs[runs["status"] == "failed"]
    best = _best(runs)
    answer: dict[str, Any] = {
        "study": store.name,
        "folder": folder,
        "runs": store.counts(),
        "best": best,
        "failed": [{"run_id": run_id, "reason": reason} for run_id, reason in failed["reason"].items()],
        "problems": problems,
        "mixtures": [{"what": found.column, "runs": found.counts} for found in store.mixtures()],
        "jobs": describe_jobs(folder),
    }
    code = DONE
    if check:
        counted = answer["runs"]
        complete = counted["done"] + counted["failed"] >= counted["planned"]
        code = (FAILED if counted["failed"] else DONE) if complete else INTERRUPTED
    if as_json:
        print_json(answer)
        ctx.exit(code)
    counts = ", ".join(f"{number} {state}" for state, number in answer["runs"].items() if number)
    say(f"{store.name or folder}: {counts or 'no runs'}")
    if best is not None:
        weights = best.get("active_weights", float("nan"))
        active = f" ({weights:,.0f} active weights)" if weights == weights else ""
        say(
            f"best validation MSE {best['validation_mse']:.4g}: {best['strategy']}, seed {best['seed']}, "
            f"sparsity {best.get('study_sparsity', best['sparsity']):.1%}{active}, run {best['run_id']}"
        )
    for mixture in store.mixtures():
        say(f"mixture: {mixture}")
    for run_id, reason in failed["reason"].items():
        say(f"failed: run {run_id}: {reason}")
    for problem in problems:
        say(f"problem: {problem}")
    for job in answer["jobs"]:
        for line in _job_lines(job):
            say(line)
    ctx.exit(code)


def _job_lines(job: dict[str, Any]) -> list[str]:
    parts = [f"job {job['job']} ({job['kind']}): {job['state'].lower()}"]
    if job["position"]:
        parts.append(f"number {job['position']} in the queue")
    parts += [text for text in (job["reason"], job["nodes"] and f"on {job['nodes']}") if text]
    if job["attempts"] > 1:
        counts = f"{job['timeouts']} time-outs, {job['preemptions']} pre-emptions, {job['lost']} lost"
        parts.append(f"attempt {job['attempts']} ({counts})")
    if job["log"]:
        parts.append(f"log {job['log']}")
    lines = [", ".join(parts)]
    return [*lines, f"  last error in the log: {job['last_error']}"] if job["last_error"] else lines


def _best(runs: Any) -> dict[str, Any] | None:
    from dash_hpc.evaluation import setting_columns

    if "validation_mse" not in runs:
        return None
    done = runs[(runs["status"] == "done") & runs["validation_mse"].notna()]
    if done.empty:
        return None
    row = done.loc[done["validation_mse"].idxmin()]
    options = setting_columns(runs[runs["strategy"] == row["strategy"]], str(row["strategy"]))
    keys = ["strategy", "seed", *options, "validation_mse", "sparsity", "study_sparsity", "active_weights"]
    return {"run_id": row.name, **{key: row[key] for key in keys if key in row}}


@click.command(cls=Command)
@_folder
@click.option(
    "--rule", type=click.Choice(["one_se", "best"]), default="one_se", show_default=True, help="How to choose."
)
@click.option("--strategy", default="dash", show_default=True, help="Whose runs to compare.")
@click.option(
    "--level",
    "wanted",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only the data level with this value, such as data.prior_noise=0.05; may be repeated.",
)
@click.option(
    "--fit",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="After cross-validation: write the study that trains the chosen setting on all training data.",
)
@json_option
def select(folder: Path, rule: str, strategy: str, wanted: tuple[str, ...], fit: Path | None, as_json: bool) -> None:
    """Choose the setting of a strategy: everything that the study varies, by the mean validation error over seeds. The
    true network plays no part, and nothing is chosen across data levels: each has a choice of its own.

    best takes the lowest error. one_se takes the sparsest setting within one standard error of it; of those that differ
    by less than one pruning event the one with the lowest error. Where validation has folds, errors are means over
    folds, and standard errors those of the folds.

    \b
    Example:
      dash-hpc select results/quick --rule one_se
      dash-hpc select results/folds --fit final.toml && dash-hpc run final.toml
    """
    from dash_hpc.evaluation import levels, select_setting
    from dash_hpc.store import open_store

    store = open_store(folder)
    parts = _wanted(levels(store.runs), wanted)
    found: list[tuple[Level, Selection | UsageError]] = []
    for level in parts:
        try:
            found.append((level, select_setting(level.runs, rule, strategy=strategy)))  # type: ignore[arg-type]
        except UsageError as error:
            # A level that is not there yet does not hide the others.
            found.append((level, error))
    if all(isinstance(chosen, UsageError) for _, chosen in found):
        raise UsageError(str(found[0][1]))
    if fit is not None:
        _write_fit(store, found, fit)
    if as_json:
        print_json({"strategy": strategy, "levels": [{"level": level.values, **_as_dict(c)} for level, c in found]})
        return
    for level, chosen in found:
        if level.name:
            say(f"{level.name}:")
        if isinstance(chosen, UsageError):
            say(str(chosen))
            continue
        if chosen.setting:
            print_table(_candidates(chosen))
        say(chosen.reason)
        say(f"best run {chosen.run_id}: dash_hpc.open_store({python_text(folder)}).network({chosen.run_id!r})")
    for mixture in store.mixtures():
        say(f"mixture: {mixture}")
    if fit is not None:
        say(f"wrote {fit}: the chosen setting on all training data; run it with: dash-hpc run {shell_path(fit)}")


def _wanted(levels: list[Level], wanted: tuple[str, ...]) -> list[Level]:
    """The data levels with the values that were asked for."""
    from dash_hpc.evaluation import value_name

    for text in wanted:
        key, _, value = (part.strip() for part in text.partition("="))
        found = [level for level in levels if key in level.values and value_name(level.values[key]) == value]
        if not found:
            there = "; ".join(level.name for level in levels[:6] if level.name) or "the study has one"
            raise UsageError(f"--level {text}: no such data level ({there})")
        levels = found
    return levels


def _write_fit(store: Store, found: list[tuple[Level, Selection | UsageError]], file: Path) -> None:
    from dash_hpc.evaluation import kept_epochs
    from dash_hpc.store import plan_header
    from dash_hpc.study import refit

    if len(found) > 1:
        first = " ".join(f"--level {part.replace(' ', '')}" for part in found[0][0].name.split(", "))
        raise UsageError(f"--fit: the study has {len(found)} data levels; name one, such as {first}")
    level, chosen = found[0]
    if isinstance(chosen, UsageError):
        raise chosen
    runs = chosen.runs_of(level.runs)
    study = refit(
        store.spec(chosen.run_id),
        name=f"{store.name or 'study'}-final",
        base=plan_header(store.folder).base,
        seeds=sorted({int(seed) for seed in runs["seed"]}),
        epochs=kept_epochs(runs),
    )
    try:
        with file.open("x", encoding="utf-8", newline="\n") as target:
            target.write(study.to_toml())
    except FileExistsError:
        raise UsageError(f"{file} exists and stays as it is; name another file") from None
    except FileNotFoundError:
        raise UsageError(f"{file.parent}: no such folder; make it first") from None


def _as_dict(chosen: Selection | UsageError) -> dict[str, Any]:
    if isinstance(chosen, UsageError):
        return {"setting": None, "reason": str(chosen)}
    return {
        "setting": chosen.setting,
        "rule": chosen.rule,
        "asked": chosen.asked,
        "reason": chosen.reason,
        "error": chosen.error,
        "run_id": chosen.run_id,
        "candidates": chosen.candidates.to_dict("records"),
    }


def _candidates(chosen: Selection) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from dash_hpc.evaluation import ERRORS, axis_label, value_name

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    within = ("within one s.e.", "as sparse") if chosen.rule == "one_se" else ("lowest",)
    axes = [rich_text(axis_label(column)) for column in chosen.setting]
    for heading in (*axes, ERRORS[chosen.error], "standard error", "sparsity", "runs", "failed", *within):
        table.add_column(heading, justify="right")
    for row in chosen.candidates.to_dict("records"):
        error = f"{row['se']:.2e}" if row["se"] == row["se"] else "–"
        setting = [rich_text(value_name(row[column])) for column in chosen.setting]
        numbers = (f"{row['validation_mse']:.3e}", error)
        counts = (f"{row['sparsity']:.2%}", str(row["n_runs"]), str(row["n_failed"]))
        verdicts = ["★ chosen" if row["chosen"] else "yes" if row["eligible"] else "no"]
        verdicts += ["yes" if row["sparsest"] else "no"] if chosen.rule == "one_se" else []
        table.add_row(*setting, *numbers, *counts, *verdicts, style="bold" if row["chosen"] else None)
    return table


@click.command(cls=Command)
@_folder
@json_option
def report(folder: Path, as_json: bool) -> None:
    """Write the report (HTML and figures) from the runs that are done, and print the summary.

    \b
    Example:
      dash-hpc report results/quick
    """
    from dash_hpc.report import summary_rows, summary_table, write_report
    from dash_hpc.store import open_store

    store = open_store(folder)
    path = write_report(store)
    if as_json:
        print_json({"report": path, "results": summary_rows(store)})
        return
    print_table(summary_table(store))
    for problem in store.problems:
        say(f"problem: {problem}")
    say(f"report: {path}")
