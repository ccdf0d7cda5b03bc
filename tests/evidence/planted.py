"""Courses whose rates, levels, constant genes and noise are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dash_hpc.data import TimeCourse


@dataclass(frozen=True)
class Planted:
    """``course`` as measured; ``truth`` per trajectory: (T, G) without noise; rates (G,) 0 for constant genes."""

    course: TimeCourse
    truth: list[np.ndarray]
    rates: np.ndarray
    noise: float


def relaxing(
    times: list[np.ndarray],
    *,
    rates: np.ndarray,
    noise: float,
    missing: float = 0.0,
    seed: int = 0,
) -> Planted:
    """Genes that relax exponentially from a random start to a random level, and genes (rate 0) that stay at theirs."""
    rng = np.random.default_rng(seed)
    truth, values = [], []
    for clock in times:
        start, level = rng.random((2, len(rates)))
        exact = level + (start - level) * np.exp(-rates * (clock[:, None] - clock[0]))
        measured = exact + noise * rng.standard_normal(exact.shape)
        measured[rng.random(exact.shape) < missing] = np.nan
        truth.append(exact)
        values.append(measured)
    return Planted(TimeCourse.from_arrays(values, times), truth, rates, noise)


def irregular(n: int, *, longest: int, seed: int = 0) -> list[np.ndarray]:
    """Times of n trajectories: each its own, 4 to ``longest`` points, over about 9 units."""
    rng = np.random.default_rng((7, seed))
    return [np.sort(rng.uniform(0, 9, rng.integers(4, longest + 1))) for _ in range(n)]
