"""The sections of a study file, each a model with its defaults, bounds and one line of explanation per key."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from dash_hpc.study.sweep import distinct, expand

__all__ = [
    "MAX_PATH",
    "MAX_SEED",
    "MAX_TRAJECTORIES",
    "ColumnNames",
    "FilePath",
    "Folds",
    "FoldsKey",
    "ScheduleSection",
    "Section",
    "ShareKey",
    "SolverSection",
    "StudySection",
    "SweepSection",
    "TrainingSection",
    "folds_of",
    "problem_at",
    "without_nul",
]


def problem_at(key: str, message: str) -> PydanticCustomError:
    """Return the error to raise from a validator that looks at several keys; ``key`` is the one to point at."""
    return PydanticCustomError("at_key", "{message}", {"key": key, "message": message})


class Section(BaseModel):
    """Base of all sections: immutable, unknown keys refused, no silent conversion of types, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    left_out: ClassVar[frozenset[str]] = frozenset()
    """Keys that a run's spec has only where they are not at their default: there are specs older than they are."""

    def spec(self) -> dict[str, Any]:
        """Return the section as it stands in a run's spec: plain and complete."""
        plain = self.model_dump(mode="json")
        fields = type(self).model_fields
        return {k: v for k, v in plain.items() if k not in self.left_out or getattr(self, k) != fields[k].default}


# A study's name may be anything that a folder can be called and that is one line: whoever uses it quotes it.
_NEVER = r"\x00-\x1f\x7f-\x9f\u2028\u2029/\\"
_BLANK = r"\x20\xa0"


MAX_SEED = 2**63 - 1
MAX_EPOCHS = 100_000
MAX_PATH = 4096
MAX_COLUMN = 50_000
MAX_TRAJECTORIES = 1_000_000
_NEVER_MIND = 1_000_000_000  # of what only counts when it is reached


def without_nul(text: str) -> str:
    """Return a path; raises ValueError where it holds a NUL."""
    if "\0" in text:
        raise ValueError("holds a NUL, which no path can")
    return text


FilePath = Annotated[str, Field(min_length=1, max_length=MAX_PATH), AfterValidator(without_nul)]


class StudySection(Section):
    """``[study]``: what the study is called and where its results go."""

    name: str = Field(
        pattern=rf"^[^{_NEVER}{_BLANK}.-]([^{_NEVER}]*[^{_NEVER}{_BLANK}])?$",
        max_length=120,
        description="one line without '/' and '\\'; default: the file's name",
    )
    output: FilePath | None = Field(
        default=None, description="output folder, relative to the current folder; default: results/<name>"
    )
    description: str = Field(default="", max_length=20_000, description="free text, shown at the top of the report")
    base: FilePath | None = Field(
        default=None, description="folder that relative paths of [data] start from; default: the study file's"
    )
    preset: Literal["paper"] | None = Field(
        default=None, description="a named set of settings, for what the file leaves out (see Presets)"
    )


def _step(value: Any) -> Any:
    """A step of rk4: the default, or a time."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value == "auto" or (number and 0 < value < math.inf):
        return value if value == "auto" else float(value)
    raise ValueError('must be "auto" or a number above 0')


StepKey = Annotated[Literal["auto"] | float, BeforeValidator(_step)]


class SolverSection(Section):
    """``[solver]``: how the ODE is integrated between two time points."""

    method: Literal["dopri5", "rk4"] = Field(
        default="dopri5", description="adaptive Dormand-Prince 5(4), or fixed-step RK4"
    )
    rtol: float = Field(default=1e-5, gt=0, le=1, description="relative tolerance (dopri5)")
    atol: float = Field(default=1e-7, gt=0, le=1, description="absolute tolerance, in units of expression (dopri5)")
    step: StepKey = Field(
        default="auto",
        description="largest step, in the data's unit of time (rk4); auto: 0.125 of the unit that models train in",
    )
    max_steps: int = Field(
        default=10_000, ge=1, le=10_000_000, description="a solve that needs more steps fails with that reason"
    )


class TrainingSection(Section):
    """``[training]``: epochs, batches, Adam, learning-rate plateau, early stop and the optional prior loss."""

    left_out = frozenset({"keep", "criterion"})

    epochs: int = Field(
        default=500, ge=1, le=MAX_EPOCHS, description="at most this many passes over the training pairs"
    )
    batch: Literal["trajectory", "single"] = Field(
        default="trajectory", description="one Adam step per trajectory, or per batch of pairs drawn from all"
    )
    batch_size: int = Field(default=16, ge=1, le=1_000_000, description='pairs per step when batch = "single"')
    lr: float = Field(default=1e-3, gt=0, le=1000, description="learning rate of all tensors but v")
    v_lr_factor: float = Field(default=5.0, gt=0, le=1_000_000, description="v learns at lr times this")
    betas: Annotated[tuple[float, float], Field(strict=False)] = Field(
        default=(0.9, 0.999), description="Adam's decay rates"
    )
    eps: float = Field(default=1e-8, gt=0, le=1, description="Adam's ε")
    plateau_factor: float = Field(
        default=0.9, gt=0, le=1, description="lr times this on a plateau of the validation error"
    )
    plateau_patience: int = Field(
        default=3, ge=0, le=_NEVER_MIND, description="epochs without improvement before that happens"
    )
    plateau_threshold: float = Field(
        default=1e-6, ge=0, le=1e12, description="smallest drop of that error that counts (absolute)"
    )
    min_lr: float = Field(default=4e-5, ge=0, le=1000, description="the plateau rule never goes below this")
    early_stop: int = Field(
        default=40, ge=0, le=_NEVER_MIND, description="stop after this many epochs without a new best; 0 = never"
    )
    keep: Literal["best", "last"] = Field(
        default="best",
        description="the model to keep: lowest validation error since the first event, or the last epoch",
    )
    criterion: Literal["pairs", "rows"] = Field(
        default="pairs",
        description="the validation error that decides on epochs, rates and settings: of the pairs (the published "
        "MSE), or of rows that hold nothing of the noise on the starts",
    )
    reset_lr_at_events: bool = Field(default=True, description="pruning events restore lr and restart the plateau rule")
    tau: float = Field(default=1.0, ge=0, le=1, description="loss = τ · data + (1 − τ) · prior; 1 = no prior loss")
    prior_points: int = Field(
        default=10_000, ge=1, le=10_000_000, description="random states at which the prior loss compares"
    )
    prior_low: float = Field(default=-0.5, ge=-1e6, le=1e6, description="lower end of those states")
    prior_high: float = Field(default=0.5, ge=-1e6, le=1e6, description="upper end of those states")
    prior_multipliers: bool = Field(
        default=False,
        description="prior loss on the full right-hand side, ReLU(v) included (the paper), or without (its code)",
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSection:
        if self.min_lr > self.lr:
            raise problem_at("min_lr", f"must not be larger than lr = {self.lr:g}")
        if self.prior_low >= self.prior_high:
            raise problem_at("prior_low", f"must be smaller than prior_high = {self.prior_high:g}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise problem_at("betas", "must be two numbers of 0 or more and below 1")
        return self


class ScheduleSection(Section):
    """``[schedule]``: when weights are removed, and how many (Hossain et al., NeurIPS 2024).

    After the first event and k later ones the sparsity is 1 − (1 − first_fraction)(1 − fraction)^k.
    """

    first_epoch: int = Field(
        default=3, ge=1, le=_NEVER_MIND, description="the first event: start of this epoch (they count from 1)"
    )
    first_fraction: float = Field(default=0.7, ge=0, lt=1, description="share of the weights removed then")
    every: int = Field(
        default=10,
        ge=0,
        le=_NEVER_MIND,
        description="later events: at multiples of this epoch, not at the last one; 0 = none",
    )
    fraction: float = Field(default=0.1, ge=0, lt=1, description="share of the remaining weights removed at each")


class SweepSection(Section):
    """``[sweep]``: what every strategy is repeated over."""

    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...],
        Field(strict=False),
        BeforeValidator(expand),
        AfterValidator(distinct),
    ] = Field(default=(0,), description='one seed, a list, or a range such as "0..4" (both ends included)')


def _time_unit(value: Any) -> Any:
    """A unit of time: one of the data's own, or its length."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value == "auto" or (number and 1e-30 <= value <= 1e30):
        return value if value == "auto" else float(value)
    raise ValueError('must be "auto" or a number between 1e-30 and 1e30')


TimeUnitKey = Annotated[Literal["auto"] | float, BeforeValidator(_time_unit)]


class Folds(Section):
    """``{ folds = 5 }``: K-fold cross-validation over whole trajectories; with ``fold``, one part of it.

    A study file has ``folds`` alone, which stands for one data set per fold, from 0. ``fold = "all"`` trains on all
    trajectories.
    """

    folds: int = Field(ge=2, le=1000)
    fold: int | Literal["all"]

    @model_validator(mode="after")
    def _consistent(self) -> Folds:
        if self.fold != "all" and not 0 <= self.fold < self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}: folds count from 0")
        return self


def folds_of(value: Any) -> Folds:
    """Return the folds that a value says; raises ValueError where it says none."""
    try:
        return Folds.model_validate(value)
    except ValidationError:
        raise ValueError("must be { folds = K } with 2 to 1,000 folds") from None


def _share(value: Any) -> Any:
    """A share of the trajectories, or folds of them."""
    if isinstance(value, (dict, Folds)):
        return folds_of(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1:
        return float(value)
    raise ValueError("must be larger than 0 and smaller than 1, or { folds = 5 }")


ShareKey = Annotated[float | Folds, BeforeValidator(_share)]
FoldsKey = Annotated[Folds | None, BeforeValidator(lambda value: value if value is None else folds_of(value))]


def _column_names(value: Any) -> Any:
    """Which column of a list is what: names from its header, or numbers that count from 1."""
    roles = {"regulator", "target"}
    if (
        isinstance(value, dict)
        and roles <= set(value) <= {*roles, "weight", "sign"}
        and all((isinstance(k, str) and k) or (type(k) is int and 1 <= k <= MAX_COLUMN) for k in value.values())
    ):
        return value
    raise ValueError(
        'must be { regulator = "…", target = "…" }, with weight and sign where there are: names from the header, or '
        f"numbers of columns, from 1 to {MAX_COLUMN:,}"
    )


ColumnNames = Annotated[dict[str, str | int], BeforeValidator(_column_names)]
