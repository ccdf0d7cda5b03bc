"""``simulate``: a network and its time courses as files."""

from __future__ import annotations

from pathlib import Path

import click
from annotated_types import Ge, Le

from dash_hpc.cli.common import Command, json_option, print_json, say
from dash_hpc.errors import UsageError
from dash_hpc.study.sources import MAX_VALUES, SimulatedData

__all__ = ["simulate"]


def _count(key: str, least: int | None = None) -> click.IntRange:
    """The range of a number that a study file may have in ``data``."""
    bounds = {type(bound): bound for bound in SimulatedData.model_fields[key].metadata}
    return click.IntRange(bounds[Ge].ge if least is None else least, bounds[Le].le)


@click.command(cls=Command)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--genes", type=_count("genes"), default=60, show_default=True, help="Genes.")
@click.option("--regulators", type=_count("regulators"), default=15, show_default=True, help="Genes that regulate.")
@click.option("--edges", type=_count("edges"), default=90, show_default=True, help="Regulatory edges.")
@click.option("--trajectories", type=_count("trajectories", 1), default=40, show_default=True, help="To train with.")
@click.option(
    "--test-trajectories", type=_count("test_trajectories"), default=10, show_default=True, help="To test with."
)
@click.option("--times", default="0,2,3,7,9", show_default=True, help="Time points, separated by commas.")
@click.option("--seed", type=_count("seed"), default=0, show_default=True, help="Same seed, same files.")
@click.option("--overwrite", is_flag=True, help="Replace files of an earlier simulation.")
@json_option
def simulate(
    out: Path,
    genes: int,
    regulators: int,
    edges: int,
    trajectories: int,
    test_trajectories: int,
    times: str,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Simulate a regulatory network and its time courses into folder OUT, free of noise.

    \b
    Example:
      dash-hpc simulate my-network --genes 100 --regulators 20 --edges 150 --seed 1
    """
    from dash_hpc.data.simulator import simulate as simulate_system
    from dash_hpc.data.simulator import write

    try:
        stamps = [float(part) for part in times.split(",")]
    except ValueError:
        raise UsageError(f"--times {times}: write numbers separated by commas, such as 0,2,3,7,9") from None
    if (values := genes * len(stamps) * (trajectories + test_trajectories)) > MAX_VALUES:
        raise UsageError(
            f"{values:,} values of expression (genes × times × trajectories); at most {MAX_VALUES:,} are simulated"
        )
    system = simulate_system(
        {
            "genes": genes,
            "regulators": regulators,
            "edges": edges,
            "trajectories": trajectories,
            "test_trajectories": test_trajectories,
            "times": stamps,
            "seed": seed,
        }
    )
    files = write(system, out, overwrite=overwrite)
    if as_json:
        print_json({"folder": out, "files": files, "input_genes": len(system.input_genes), "edges": system.truth.nnz})
        return
    say(f"{genes} genes ({len(system.input_genes)} inputs), {system.truth.nnz} edges, written to {out}:")
    for path in files.values():
        say(f"  {path.name}")
