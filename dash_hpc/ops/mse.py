"""Mean squared error over the values that were observed: the loss, and every MSE that is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["masked_mean_square", "mean_squared_error", "observed_counts"]


def observed_counts(y1: np.ndarray) -> np.ndarray:
    """Return how many values of each end state (N, G) were observed: (N,) int64. NaN = not observed."""
    return np.count_nonzero(~np.isnan(y1), axis=1)


def mean_squared_error(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Mean over the observed values of the squared error, in float64; 0 when nothing was observed.

    A prediction that is not finite where something was observed gives a result that is not finite.
    """
    difference = np.asarray(predicted, dtype=np.float64) - observed
    counts = ~np.isnan(observed)
    squares = np.square(np.where(counts, difference, 0.0))
    return float(np.sum(squares) / max(int(np.count_nonzero(counts)), 1))


def masked_mean_square(predicted: Tensor, observed: Tensor) -> Tensor:
    """The same in PyTorch, differentiable in ``predicted``."""
    import torch

    missing = torch.isnan(observed)
    squares = torch.where(missing, torch.zeros_like(predicted), predicted - observed).square()
    return squares.sum() / max(missing.numel() - int(missing.sum()), 1)
