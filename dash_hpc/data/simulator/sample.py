"""Random samples of a network: levels of its input genes, start states, trajectories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dash_hpc.data.simulator.integrate import integrate
from dash_hpc.data.simulator.kinetics import System
from dash_hpc.errors import UsageError

__all__ = ["InputModel", "draw_input_model", "draw_start", "trajectories"]

MEAN_SHAPE = 10.0  # Beta(10, 10)
SPREAD_SHAPE = 15.0  # Beta(15, 15)
SMALLEST_SD = 0.01
SHIFT = 0.25


@dataclass(frozen=True)
class InputModel:
    """What samples have in common (SimulatorGRN, Bhuva et al. 2019, as modified for PHOENIX).

    Attributes
    ----------
    inputs : ndarray, int64, (I,)
        Gene indices of the input genes.
    mean, sd : ndarray, float64, (I,)
        Of the normal law, cut to [0, 1], of each input gene.
    shift : ndarray, float64, (G,)
        Added to the start state of the genes that are not inputs.
    """

    inputs: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    shift: np.ndarray


def draw_input_model(is_input: np.ndarray, rng: np.random.Generator) -> InputModel:
    """Draw the laws of the inputs: mean ~ Beta(10, 10), sd = max(0.01, Beta(15, 15)·min(mean, 1 − mean)/3).

    Shifts ~ U(−0.25, 0.25).

    Parameters
    ----------
    is_input : ndarray, bool, (G,)
    rng : numpy.random.Generator
    """
    inputs = np.flatnonzero(is_input)
    mean = rng.beta(MEAN_SHAPE, MEAN_SHAPE, len(inputs))
    spread = rng.beta(SPREAD_SHAPE, SPREAD_SHAPE, len(inputs))
    sd = np.maximum(SMALLEST_SD, spread * np.minimum(mean, 1.0 - mean) / 3.0)
    return InputModel(inputs, mean, sd, rng.uniform(-SHIFT, SHIFT, len(is_input)))


def draw_start(
    model: InputModel, rng: np.random.Generator, *, input_variance: float = 1.0, overlap: float = 1.0
) -> np.ndarray:
    """Draw one start state.

    Inputs: N(mean, sd·input_variance), drawn again until inside [0, 1]. Other genes:
    clip(Beta(2/overlap, 2/overlap) + shift, 0, 1).

    Parameters
    ----------
    model : InputModel
    rng : numpy.random.Generator
    input_variance, overlap : float, default 1
        Above 0.

    Returns
    -------
    ndarray, float64, (G,)

    Raises
    ------
    UsageError
        A factor of 0 or less.
    """
    if not input_variance > 0 or not overlap > 0:
        raise UsageError("input_variance and overlap must be above 0")
    level = rng.beta(2.0 / overlap, 2.0 / overlap, len(model.shift))
    start = np.clip(level + model.shift, 0.0, 1.0)
    values = np.empty(len(model.inputs))
    wrong = np.arange(len(values))
    while len(wrong):
        values[wrong] = rng.normal(model.mean[wrong], model.sd[wrong] * input_variance)
        wrong = wrong[(values[wrong] < 0.0) | (values[wrong] > 1.0)]
    start[model.inputs] = values
    return start


def trajectories(system: System, start: np.ndarray, times: np.ndarray, *, tolerance: float = 1e-9) -> np.ndarray:
    """Noiseless expression at ``times`` (T,) from start states (S, G): float64 (S, T, G).

    Raises
    ------
    SolveError
        The equations cannot be solved to ``tolerance`` (absolute and relative, per step).
    """
    return integrate(system.lane_derivative, start, times, rtol=tolerance, atol=tolerance)
