"""Reduce the learning rate when the validation error no longer falls."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["Plateau"]

_SMALLEST_CHANGE = 1e-8  # PyTorch's eps: smaller reductions are not made


class Plateau:
    """Learning rates with the rule of PyTorch's ReduceLROnPlateau (mode "min", threshold_mode "abs").

    Parameters
    ----------
    lr : mapping of float
        Initial rate per tensor (copied).
    factor : float in (0, 1), default 0.9
    patience : int, default 3
        Epochs without improvement that are tolerated; the next one reduces all rates.
    threshold : float, default 1e-6
        An epoch improves when its metric is below the best so far by more than this.
    min_lr : float, default 4e-5
        No rate is reduced below it.
    """

    def __init__(
        self,
        lr: Mapping[str, float],
        *,
        factor: float = 0.9,
        patience: int = 3,
        threshold: float = 1e-6,
        min_lr: float = 4e-5,
    ) -> None:
        self.lr = dict(lr)
        self.factor, self.patience, self.threshold, self.min_lr = factor, patience, threshold, min_lr
        self.best = math.inf
        self.bad_epochs = 0

    def step(self, metric: float) -> None:
        """Take note of an epoch's metric and reduce the rates where due."""
        if metric < self.best - self.threshold:
            self.best = metric
            self.bad_epochs = 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            self.bad_epochs = 0
            for name, old in self.lr.items():
                new = max(old * self.factor, self.min_lr)
                if old - new > _SMALLEST_CHANGE:
                    self.lr[name] = new
