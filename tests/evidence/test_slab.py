"""The slab is learnt from edges whose coefficients are drawn from one."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.evidence.slab import refit_slab
from dash_hpc.ops.bayes import WIDTHS, Slab, classes

WEIGHTS = np.log(np.array([[0.1, 0.4, 0.2, 0.3], [0.2, 0.3, 0.3, 0.2], [0.3, 0.2, 0.4, 0.1], [0.4, 0.1, 0.1, 0.4]]))
SLAB = Slab(level=-0.4, slope=0.7, log_weights=WEIGHTS)


def test_slab_is_learnt_from_edges() -> None:
    """Coefficients that are drawn from a slab, well measured: sizes exactly, weights within the error of counting."""
    rng = np.random.default_rng(8)
    n = 12_000
    expected = rng.choice([1.0, 2.0, 3.0, 6.0], size=n)
    kind = classes(expected)
    weights = np.exp(WEIGHTS)
    width = np.array([rng.choice(4, p=weights[:, k]) for k in kind])
    size = SLAB.size(expected)
    coefficient = rng.normal(size=n) * WIDTHS[width] * size
    information = np.full(n, 4e4)
    score = information * coefficient + np.sqrt(information) * rng.normal(size=n)
    line = 0.6745 * SLAB.size(np.array([1.0, 2, 3, 6])) - 1e-4
    found = Slab()
    for _ in range(8):
        found = refit_slab(
            found,
            member_sizes=np.repeat(line, 8),
            member_expected=np.repeat([1.0, 2, 3, 6], 8),
            score=score,
            information=information,
            expected=expected,
            sign=np.zeros(n, dtype=np.int64),
            prior=np.full(n, 30.0),
        )
    assert found.level == pytest.approx(-0.4, abs=1e-9)
    assert found.slope == pytest.approx(0.7, abs=1e-9)
    assert np.abs(np.exp(found.log_weights) - weights).max() < 0.04


def test_sizes_stay_where_there_are_few_sure_members() -> None:
    nothing = np.empty(0)
    found = refit_slab(
        SLAB,
        member_sizes=np.ones(20),
        member_expected=np.ones(20),
        score=nothing,
        information=nothing,
        expected=nothing,
        sign=np.empty(0, dtype=np.int64),
        prior=nothing,
    )
    assert (found.level, found.slope) == (SLAB.level, SLAB.slope)
    assert np.allclose(np.exp(found.log_weights), np.repeat([[1 / 11], [2.5 / 11], [5 / 11], [2.5 / 11]], 4, axis=1))
