"""When weights are pruned, and how many: one large cut early, then a fixed share of the rest at regular epochs."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from dash_hpc.errors import UsageError
from dash_hpc.study.phrases import told
from dash_hpc.study.sections import ScheduleSection

__all__ = ["LatticeSchedule", "n_to_prune"]


def n_to_prune(fraction: float, n_active: int) -> int:
    """Return round(fraction · n_active), halves to the even number."""
    return round(fraction * n_active)


class LatticeSchedule(ScheduleSection):
    """Event 0 at ``first_epoch``, later ones at multiples of ``every`` (Hossain et al. 2024, appendix B.2.3).

    Epochs count from 1 and an event happens at the start of its epoch. After k later events the sparsity of a tensor
    is 1 − (1 − first_fraction)·(1 − fraction)^k up to integer rounding, hence "lattice".

    Its keys are those of ``[schedule]``, with their defaults and bounds. ``first_fraction`` and ``fraction`` are shares
    of the weights still active that event 0 and each later one remove; later events come at multiples of ``every`` that
    lie after ``first_epoch`` and before the last epoch, 0 means none.

    Raises
    ------
    UsageError
        For an unknown key or a value out of its bounds.
    """

    def __init__(self, **keys: Any) -> None:
        try:
            super().__init__(**keys)
        except ValidationError as error:
            raise UsageError(f"schedule: {told(error, type(self), 'key')}") from None

    def fraction_at(self, epoch: int, last_epoch: int) -> float | None:
        """Return the share of active weights to remove at the start of ``epoch``, None where there is no event."""
        if epoch == self.first_epoch:
            return self.first_fraction
        if self.every and epoch % self.every == 0 and self.first_epoch < epoch < last_epoch:
            return self.fraction
        return None

    def events(self, last_epoch: int) -> list[tuple[int, float]]:
        """Return epoch and share of every event of a run of ``last_epoch`` epochs."""
        found = ((epoch, self.fraction_at(epoch, last_epoch)) for epoch in range(1, last_epoch + 1))
        return [(epoch, fraction) for epoch, fraction in found if fraction is not None]
