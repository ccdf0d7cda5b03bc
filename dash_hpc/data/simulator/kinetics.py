"""Normalised Hill activation, its parameter families, and the right-hand side of a whole network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dash_hpc.data.simulator.graph import Network
from dash_hpc.data.simulator.logic import Expression, Program, build_expressions
from dash_hpc.errors import DataError, UsageError

__all__ = ["FAMILIES", "System", "draw_kinetics", "hill"]

#: Ranges of uniform draws per family: (EC50 low, EC50 high, exponent low, exponent high).
FAMILIES: dict[str, tuple[float, float, float, float]] = {
    "linear-like": (0.4, 0.6, 1.39, 1.8),
    "linear": (0.5, 0.5, 1.01, 1.01),
    "exponential": (0.2, 0.8, 1.01, 1.7),
    "sigmoidal": (0.4, 0.6, 2.0, 6.0),
    "mixed": (0.2, 0.8, 1.01, 6.0),
}


def _constants(ec50: Any, exponent: Any) -> tuple[np.ndarray, np.ndarray]:
    """B and K of the normalised Hill function."""
    half = np.power(ec50, exponent)
    scale = (half - 1.0) / (2.0 * half - 1.0)
    return scale, scale - 1.0


def hill(x: Any, ec50: Any, exponent: Any) -> np.ndarray:
    """Normalised Hill activation B xⁿ / (K + xⁿ) (Bhuva et al. 2019).

    B = (EC50ⁿ − 1) / (2·EC50ⁿ − 1), K = B − 1, so that act(0) = 0, act(EC50) = ½ and act(1) = 1; increasing on
    [0, 1]. Levels below 0 count as 0. Random parameters keep EC50 < 2^(−1/n) (see :func:`draw_kinetics`); beyond it,
    as on some edges of the published SIM350 table, B is negative, and the same identities hold.

    Parameters
    ----------
    x : array_like
        Expression levels.
    ec50, exponent : array_like
        Broadcast against ``x``.

    Returns
    -------
    ndarray, float64

    Raises
    ------
    DataError
        When n is not above 0, EC50 is not inside (0, 1), or EC50ⁿ = ½.
    """
    ec50, exponent = np.asarray(ec50, np.float64), np.asarray(exponent, np.float64)
    if not np.all((exponent > 0) & (ec50 > 0) & (ec50 < 1)):
        raise DataError("Hill activation needs n above 0 and EC50 inside (0, 1)")
    if np.any(np.power(ec50, exponent) == 0.5):
        raise DataError("Hill activation is not defined where EC50^n = 1/2; change n or EC50")
    scale, offset = _constants(ec50, exponent)
    power = np.power(np.maximum(np.asarray(x, np.float64), 0.0), exponent)
    return scale * power / (offset + power)


def draw_kinetics(network: Network, rng: np.random.Generator, family: str = "linear-like") -> Network:
    """Draw half-activation levels and Hill exponents for every edge.

    Parameters
    ----------
    network : Network
    rng : numpy.random.Generator
    family : str, default ``"linear-like"``
        One of :data:`FAMILIES`. Pairs with EC50 ≥ 2^(−1/n), possible in "exponential" and "mixed", are drawn again.

    Raises
    ------
    UsageError
        Unknown family.
    """
    if family not in FAMILIES:
        raise UsageError(f"kinetics family {family!r} is unknown; choose one of {', '.join(FAMILIES)}")
    low, high, n_low, n_high = FAMILIES[family]
    ec50, exponent = np.empty(network.n_edges), np.empty(network.n_edges)
    wrong = np.arange(network.n_edges)
    while len(wrong):
        ec50[wrong] = rng.uniform(low, high, len(wrong))
        exponent[wrong] = rng.uniform(n_low, n_high, len(wrong))
        wrong = wrong[ec50[wrong] >= 2.0 ** (-1.0 / exponent[wrong])]
    return network.with_kinetics(ec50, exponent)


class System:
    """The differential equations of a network: dx/dt = (max_rate · expression(x) − degradation · x) / tau.

    Input genes are constant. With unit parameters [0, 1]^G is invariant.

    Parameters
    ----------
    network : Network
    expressions : mapping of int to Expression, optional
        By gene index, one for every gene that is not an input; left out: :func:`build_expressions`.
    max_rate, degradation, tau : array_like, default 1
        Scalar or (G,); the first two in [0, 1], tau above 0 (in the unit of time).

    Raises
    ------
    DataError
        A parameter is out of range (the gene is named), or a gene lacks an expression.
    """

    def __init__(
        self,
        network: Network,
        expressions: Mapping[int, Expression] | None = None,
        *,
        max_rate: Any = 1.0,
        degradation: Any = 1.0,
        tau: Any = 1.0,
    ) -> None:
        self.network = network
        self.expressions = dict(build_expressions(network) if expressions is None else expressions)
        for gene in np.flatnonzero(~network.is_input):
            if int(gene) not in self.expressions:
                raise DataError(f"gene {network.genes[gene]} has regulators but no expression; give one")
        for gene in self.expressions:
            if not 0 <= gene < network.n_genes:
                raise DataError(f"expression for gene index {gene}: the network has {network.n_genes} genes")
        self.max_rate = self._per_gene("max_rate", max_rate, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
        self.degradation = self._per_gene("degradation", degradation, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
        self.tau = self._per_gene("tau", tau, lambda v: (v > 0) & np.isfinite(v), "above 0")
        self._program = Program(self.expressions, network.n_edges)
        scale, offset = _constants(network.ec50, network.exponent)
        self._exponent = network.exponent[:, None].copy()
        self._scale = (network.weight * scale)[:, None]
        self._offset = offset[:, None]
        genes = self._program.genes
        self._gain = (self.max_rate[genes] / self.tau[genes])[:, None]
        self._loss = (self.degradation[genes] / self.tau[genes])[:, None]

    def _per_gene(self, name: str, value: Any, good: Any, wanted: str) -> np.ndarray:
        try:
            values = np.array(np.broadcast_to(np.asarray(value, np.float64), (self.network.n_genes,)))
        except ValueError:
            raise DataError(
                f"{name} has shape {np.shape(value)}; expected one number or ({self.network.n_genes},)"
            ) from None
        wrong = np.flatnonzero(~good(values))
        if len(wrong):
            raise DataError(
                f"{name} of gene {self.network.genes[wrong[0]]} is {values[wrong[0]]:g}; it must be {wanted}"
            )
        return values

    def derivative(self, x: np.ndarray) -> np.ndarray:
        """dx/dt for samples × genes, (S, G) float64 -> (S, G) float64; one sample as (G,) works too."""
        x = np.asarray(x, dtype=np.float64)
        if x.shape[-1:] != (self.network.n_genes,) or x.ndim > 2:
            raise UsageError(f"state has shape {x.shape}; expected (samples, {self.network.n_genes})")
        lanes = np.ascontiguousarray(np.atleast_2d(x).T)
        return np.ascontiguousarray(self.lane_derivative(lanes).T).reshape(x.shape)

    def lane_derivative(self, x: np.ndarray) -> np.ndarray:
        """dx/dt for genes × samples, (G, S) float64 -> (G, S) float64; no checks, for solvers.

        Every operation is element-wise along S: a sample's result does not depend on its neighbours.
        """
        program = self._program
        registers = np.empty((program.n_registers, x.shape[1]))
        # Solver stages may undershoot 0 by the tolerance, where a broken power is not a number.
        power = np.maximum(x, 0.0)[self.network.source]
        np.power(power, self._exponent, out=power)
        activation = registers[: program.n_edges]
        np.multiply(self._scale, power, out=activation)
        power += self._offset
        activation /= power
        result = np.zeros_like(x)
        value = program.run(registers)
        value *= self._gain
        value -= self._loss * x[program.genes]
        result[program.genes] = value
        return result
