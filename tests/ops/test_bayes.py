"""Bayes factors of single coefficients against numerical quadrature of the marginal likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from dash_hpc.ops.bayes import WIDTHS, Slab, classes, log_bayes_factors, width_log_bayes_factors

WEIGHTS = np.log(np.array([[0.1, 0.4, 0.2, 0.3], [0.2, 0.3, 0.3, 0.2], [0.3, 0.2, 0.4, 0.1], [0.4, 0.1, 0.1, 0.4]]))
SLAB = Slab(level=-0.4, slope=0.7, log_weights=WEIGHTS)


def by_quadrature(score: float, information: float, width: float, sign: int) -> float:
    """ln of ∫ exp(q b − s b²/2) p(b) db, p the normal of the width or its half."""
    precision = information + width**-2
    top = score / precision
    peak = max(top, 0.0) if sign > 0 else min(top, 0.0) if sign < 0 else top
    height = score * peak - 0.5 * information * peak**2 + norm.logpdf(peak, scale=width)

    def density(b: float) -> float:
        return float(np.exp(score * b - 0.5 * information * b**2 + norm.logpdf(b, scale=width) - height))

    reach = 12 / np.sqrt(precision)
    ends = (max(peak - reach, 0.0), peak + reach) if sign > 0 else (peak - reach, min(peak + reach, 0.0))
    ends = ends if sign else (peak - reach, peak + reach)
    total = quad(density, *ends, epsabs=0, epsrel=1e-12, limit=500)[0]
    return float(np.log(total) + height + (np.log(2) if sign else 0.0))


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_bayes_factors_are_the_ratios_of_marginal_likelihoods(sign: int) -> None:
    rng = np.random.default_rng(3)
    information = np.exp(rng.uniform(-3, 9, size=25))
    score = rng.normal(size=25) * np.sqrt(information) * rng.choice([0.3, 1, 4], size=25)
    size = np.exp(rng.uniform(-3, 1, size=25))
    found = width_log_bayes_factors(score, information, size, np.full(25, sign))
    for k, width in enumerate(WIDTHS):
        right = [by_quadrature(q, s, width * t, sign) for q, s, t in zip(score, information, size, strict=True)]
        assert np.abs(found[k] - right).max() < 1e-8


def test_widths_are_mixed_by_the_class_of_the_edge() -> None:
    expected = np.array([1.0, 2.2, 3.4, 9.0])
    assert list(classes(expected)) == [0, 1, 2, 3]
    score, information, sign = np.array([9.0, -3, 4, 30]), np.array([8.0, 20, 3, 90]), np.array([1, 0, -1, 0])
    found = log_bayes_factors(score, information, expected, sign, SLAB)
    for e in range(4):
        size = np.exp(-0.4) * expected[e] ** -0.7
        parts = [by_quadrature(score[e], information[e], size * width, sign[e]) for width in WIDTHS]
        assert found[e] == pytest.approx(np.log(np.exp(WEIGHTS[:, e]) @ np.exp(parts)), abs=1e-8)


def test_an_edge_of_which_the_data_say_nothing_has_factor_one() -> None:
    nothing = np.zeros(3)
    found = log_bayes_factors(nothing, nothing, np.ones(3), np.array([-1, 0, 1]), SLAB)
    assert np.abs(found).max() < 1e-12
