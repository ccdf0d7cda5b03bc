"""Studies to start from; ``examples/`` has links to them."""

from __future__ import annotations

from importlib.resources import files

from dash_hpc.errors import UsageError

__all__ = ["starter", "starters"]


def starters() -> tuple[str, ...]:
    """Return the names of the studies to start from."""
    return (
        "quick",
        "sim350",
        "hema_b",
        "benchmark_sim350",
        "benchmark_sim350_5",
        "prior_quality",
        "ablations",
        "lambda_map",
        "schedule",
    )


def starter(name: str) -> str:
    """Return the text of a study to start from.

    Raises
    ------
    UsageError
        When there is none of that name.
    """
    if name not in starters():
        raise UsageError(f"no example {name!r}; there is {', '.join(starters())}")
    return files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
