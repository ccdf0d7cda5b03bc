"""``audit``: a prior held against the data, without a model."""

from __future__ import annotations

from pathlib import Path

import click

from dash_hpc.cli.common import Command, json_option, print_json, say

__all__ = ["audit"]


@click.command(cls=Command)
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace one setting; may be repeated.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder. [default: audit in that of the study]")
@json_option
def audit(study: Path, overrides: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """Ask which edges of a study's prior its data refuse, which others they ask for, and which they cannot decide.

    Of a study with several data levels or seeds the first is taken; --set chooses another. Where the study has the
    strategy evidence, its first options count. Nothing is trained. Writes edges.csv, with log Bayes factor,
    probability, power and verdict of every listed and every new edge, and index.html, a page to read.

    \b
    Example:
      dash-hpc audit study.toml --set data.prior_noise=0.2
    """
    from dash_hpc.data import build
    from dash_hpc.evidence.finding import find_network
    from dash_hpc.execution.threads import available_cores
    from dash_hpc.pruning.evidence import FromEvidenceOptions
    from dash_hpc.report.audit import write_audit
    from dash_hpc.study import load_study

    chosen = load_study(study, overrides)
    own = next((next(table.specs()) for table in chosen.strategy if table.name == "evidence"), {})
    options = FromEvidenceOptions(**{key: value for key, value in own.items() if key != "name"})
    dataset = build(chosen.data_spec(), seed=chosen.sweep.seeds[0], base=chosen.base)
    found = find_network(dataset, options.evidence(), threads=available_cores())
    folder = output if output is not None else Path(chosen.output) / "audit"
    view, table, page = write_audit(found.evidence, dataset, folder, name=chosen.name, told=found.notes)
    if as_json:
        counts = {
            label: {"supported": supported, "undecided": undecided, "refused": refused}
            for label, supported, undecided, refused in view.counts
        }
        print_json(
            {"study": chosen.name, "counts": counts, "facts": found.evidence.facts, "notes": list(found.notes),
             "table": table, "page": page}
        )  # fmt: skip
        return
    for label, supported, undecided, refused in view.counts:
        say(f"{label}: {supported:,} supported by the data, {undecided:,} undecided, {refused:,} refused")
    for label, value in view.facts:
        say(f"{label}: {value}")
    for sentence in (*found.notes, *view.warnings):
        say(f"note: {sentence}")
    say(f"table: {table}")
    say(f"page: {page}")
