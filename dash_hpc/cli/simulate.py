"""``simulate``: a network and its time courses as files."""

from __future__ import annotations

from pathlib import Path

import click

from dash_hpc.cli.common import Command, json_option, print_json
from dash_hpc.errors import UsageError

__all__ = ["simulate"]


@click.command(cls=Command)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--genes", type=click.IntRange(min=2), default=60, show_default=True, help="Genes.")
@click.option("--regulators", type=click.IntRange(min=1), default=15, show_default=True, help="Genes that regulate.")
@click.option("--edges", type=click.IntRange(min=1), default=90, show_default=True, help="Regulatory edges.")
@click.option("--trajectories", type=click.IntRange(min=1), default=40, show_default=True, help="To train with.")
@click.option("--test-trajectories", type=click.IntRange(min=0), default=10, show_default=True, help="To test with.")
@click.option("--times", default="0,2,3,7,9", show_default=True, help="Time points, separated by commas.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same files.")
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
    click.echo(f"{genes} genes ({len(system.input_genes)} inputs), {system.truth.nnz} edges, written to {out}:")
    for path in files.values():
        click.echo(f"  {path.name}")
