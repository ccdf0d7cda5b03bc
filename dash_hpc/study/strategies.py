"""The options of every pruning strategy, as one list of models: name -> options.

A new strategy is one class here (its options, bounds and defaults) and one class in ``dash_hpc.pruning`` under the
same name. Every option is a scalar; in a study file it may also be a list or a range, which makes a grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from dash_hpc.errors import UsageError

__all__ = [
    "STRATEGIES",
    "BioPruneOptions",
    "DashOptions",
    "ImpOptions",
    "NoneOptions",
    "ScoreOptions",
    "StrategyOptions",
    "StructuredOptions",
    "register",
]


class StrategyOptions(BaseModel):
    """Base of all option models: immutable, unknown options refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    prunes: ClassVar[bool] = True
    """False when the weights stay dense: such runs take longest and start first."""
    needs_prior: ClassVar[bool] = False
    """True when the strategy cannot work without prior knowledge."""


STRATEGIES: dict[str, type[StrategyOptions]] = {}
"""Name in ``[[strategy]] name = "…"`` -> model of its options."""

Options = TypeVar("Options", bound=StrategyOptions)


def register(name: str) -> Callable[[type[Options]], type[Options]]:
    """Class decorator that lists an options model under its strategy's name.

    Raises
    ------
    UsageError
        When the name is taken.
    """

    def enlist(model: type[Options]) -> type[Options]:
        if name in STRATEGIES:
            raise UsageError(f"strategy {name!r} is registered twice")
        STRATEGIES[name] = model
        return model

    return enlist


def _rewind(value: Any) -> Any:
    if value in ("none", "init") and isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError('must be "none", "init" or an epoch (a whole number of 0 or more)')


@register("none")
class NoneOptions(StrategyOptions):
    """PHOENIX without pruning (Hossain et al. 2024, Genome Biology 25:127)."""

    prunes: ClassVar[bool] = False


@register("imp")
class ImpOptions(StrategyOptions):
    """Iterative magnitude pruning (Frankle and Carbin 2019; rewinding: Renda et al. 2020)."""

    rewind: Annotated[str | int, BeforeValidator(_rewind)] = Field(
        default="none",
        description="after an event the surviving weights go back to: none (stay), init, or the epoch given",
    )


class ScoreOptions(StrategyOptions):
    """How prior knowledge becomes pruning scores; shared by DASH and BioPrune (Hossain et al., NeurIPS 2024)."""

    needs_prior: ClassVar[bool] = True

    omega0: Literal["uniform", "gaussian"] = Field(
        default="uniform",
        description="start of the first layer's score: uniform on [0, 1) or the paper's standard normal",
    )
    normalise_interactions: bool = Field(default=True, description="divide the interaction matrix by its sum")
    score_norm: Literal["paper", "unit_sum", "rank"] = Field(
        default="paper", description="scale of the prior score before it is mixed with the weights"
    )
    omega_damping: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the previous score kept at each event; 0 is the paper, 0.5 converges",
    )
    ridge: float = Field(
        default=1e-10,
        ge=0,
        le=1,
        description="ridge of the normal equations, relative to the mean of their diagonal; 0 = none",
    )
    compat_lr_bug: bool = Field(
        default=False,
        description="repeat the released code's slip: after an event U_prods, not v, gets v's learning rate",
    )


@register("dash")
class DashOptions(ScoreOptions):
    """Domain-aware pruning: weight magnitude mixed with prior knowledge (Hossain et al., NeurIPS 2024, Alg. 1)."""

    lambda_ppi: float = Field(
        ge=0, le=1, description="λ₁, weight of the interactions in the first layer's score; 0 = magnitude only"
    )
    lambda_motif: float = Field(
        ge=0, le=1, description="λ₂, weight of the motif map in the second layer's score; 0 = magnitude only"
    )


@register("bioprune")
class BioPruneOptions(ScoreOptions):
    """Prior knowledge alone: DASH at λ = (1, 1)."""


@register("structured")
class StructuredOptions(StrategyOptions):
    """The prior as architecture: a unit per regulator and a product per target, sparse from the start."""

    needs_prior: ClassVar[bool] = True

    prune: bool = Field(default=False, description="remove small weights by the schedule, as imp does")
