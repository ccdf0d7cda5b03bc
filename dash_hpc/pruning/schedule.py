"""When weights are pruned, and how many: one large cut early, then a fixed share of the rest at regular epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dash_hpc.errors import UsageError

__all__ = ["LatticeSchedule", "n_to_prune"]


def n_to_prune(fraction: float, n_active: int) -> int:
    """Return round(fraction · n_active), halves to the even number."""
    return round(fraction * n_active)


@dataclass(frozen=True)
class LatticeSchedule:
    """Event 0 at ``first_epoch``, later ones at multiples of ``every`` (Hossain et al. 2024, appendix B.2.3).

    Epochs count from 1 and an event happens at the start of its epoch. After k later events the sparsity of a tensor
    is 1 − (1 − first_fraction)·(1 − fraction)^k up to integer rounding, hence "lattice".

    Attributes
    ----------
    first_epoch : int, default 3
        Epoch of event 0.
    first_fraction : float in [0, 1], default 0.7
        Share of the active weights that event 0 removes.
    every : int, default 10
        Later events come at epochs that are multiples of it, after ``first_epoch`` and before the last epoch.
        0 means none.
    fraction : float in [0, 1], default 0.1
        Share of the weights still active that each later event removes.
    """

    first_epoch: int = 3
    first_fraction: float = 0.7
    every: int = 10
    fraction: float = 0.1

    def __post_init__(self) -> None:
        if self.first_epoch < 1 or self.every < 0:
            raise UsageError(
                f"schedule: first_epoch must be 1 or more and every 0 or more, got {self.first_epoch} and {self.every}"
            )
        for name in ("first_fraction", "fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"schedule: {name} must lie in [0, 1], got {getattr(self, name)!r}")

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> LatticeSchedule:
        """Build from a plain dict; missing keys take their defaults, unknown ones raise UsageError."""
        legal = cls.__dataclass_fields__
        unknown = sorted(set(options) - set(legal))
        if unknown:
            raise UsageError(f"schedule: unknown key {unknown[0]!r}; the keys are {', '.join(legal)}")
        return cls(**options)

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
