"""PINN: the prior as a part of the loss, without pruning."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dash_hpc.pruning.base import Strategy
from dash_hpc.study.options import StrategyOptions

__all__ = ["Pinn", "PinnOptions", "TauOptions"]


class TauOptions(StrategyOptions):
    """A loss that holds the prior."""

    needs_prior: ClassVar[bool] = True

    tau: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="τ, share of the data in the loss, the rest is the prior loss; in place of training.tau",
    )


class PinnOptions(TauOptions):
    """The prior as a soft constraint in the loss, no pruning (Hossain et al., Genome Biology 2024: PHOENIX)."""

    prunes: ClassVar[bool] = False
    by_schedule: ClassVar[bool] = False
    symbols: ClassVar[dict[str, str]] = {"tau": "τ"}


class Pinn(Strategy):
    """Trains all weights on τ · data + (1 − τ) · prior loss (:class:`dash_hpc.ops.prior_loss.PriorLoss`)."""

    name: ClassVar[str] = "pinn"
    Options: ClassVar[type[StrategyOptions]] = PinnOptions
    options: TauOptions

    def tau(self, epoch: int) -> float | None:
        """Return the option."""
        return self.options.tau
