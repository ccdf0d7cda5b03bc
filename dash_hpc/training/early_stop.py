"""Which epoch is kept, and when to give up hoping for a better one."""

from __future__ import annotations

import math

__all__ = ["BestKept"]


class BestKept:
    """Follows the lowest validation error.

    Parameters
    ----------
    patience : int
        Stop after this many consecutive epochs without a new best; 0 never stops. Pruning events do not reset the
        count (Hossain et al. 2024, as in the authors' program).
    began : int, default 0
        The epoch from which they are counted.
    """

    def __init__(self, patience: int, began: int = 0) -> None:
        self.patience = patience
        self.best = math.inf
        self.best_epoch = began

    def forget(self) -> None:
        """Drop the best so far, not the count: at the first pruning event the unpruned models leave the race."""
        self.best = math.inf

    def step(self, epoch: int, metric: float) -> bool:
        """Return True when ``metric`` is strictly lower than all before: this epoch is the one to keep."""
        if metric < self.best:
            self.best, self.best_epoch = metric, epoch
            return True
        return False

    def stop(self, epoch: int) -> bool:
        """Return True when training should stop after ``epoch``."""
        return self.patience > 0 and epoch - self.best_epoch >= self.patience
