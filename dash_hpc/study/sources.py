"""``[data]``: the three kinds of data a study can name. The keys arrive complete at ``dash_hpc.data.build``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from dash_hpc.study.expression import ExpressionFile, Split
from dash_hpc.study.sections import (
    MAX_SEED,
    MAX_TRAJECTORIES,
    ColumnNames,
    FilePath,
    Folds,
    FoldsKey,
    Section,
    ShareKey,
    TimeUnitKey,
    problem_at,
)

__all__ = [
    "CATALOGUE_NAMES",
    "DATA_KINDS",
    "MAX_VALUES",
    "CatalogueData",
    "DataTable",
    "FilesData",
    "SimulatedData",
]

CatalogueName = Literal["sim350", "hema_b", "breast_500", "breast_2000", "yeast_500"]
CATALOGUE_NAMES: tuple[str, ...] = ("sim350", "hema_b", "breast_500", "breast_2000", "yeast_500")


_TIME_UNIT = (
    "models train in units of this many of the data's units of time; auto: 1/9 of the median length of a trajectory, "
    "so that hours, minutes and seconds give the same model; 1: in the unit of the data, as the published programs do"
)
_STARTS = (
    "what training and validation steps start from: the state as it was measured, or as the whole trajectory tells it, "
    "with less noise"
)
_WITHHELD = "share of the prior's edges that are left out, after edges were moved"
_FLIPPED = "share of the prior's edges that get the other sign; only a prior loss and evidence look at signs"
_VARIANT = (
    "what takes the place of the prior: shuffled, rewired so that every gene keeps its degrees; permuted, gene names "
    "drawn anew; margins, all its regulators × all its targets; reversed, every edge turned round"
)
Variant = Literal["given", "shuffled", "permuted", "margins", "reversed"]
_SEED = "seed of the split into parts, of the folds, and of the prior edges that are moved"
_PRIOR_KEYS = ("prior_withheld", "prior_flipped", "prior_variant")
_MAX_MISSING = "a step is left out where a larger share of the genes is missing at its start"
MAX_VALUES = 1_000_000_000
"""More values of expression than this are not simulated."""


class DataTable(Section):
    """Base of what ``[data]`` can be; the kind of that name in ``dash_hpc.data.kinds`` makes the data."""

    names_files: ClassVar[bool] = False
    """Whether it has paths, which start at the study file's folder."""

    @property
    def without_prior(self) -> bool:
        """Whether the table alone says that there is no prior knowledge."""
        return False


class SimulatedData(DataTable):
    """``kind = "simulate"``: an in-silico network with Hill kinetics (after Bhuva et al. 2019, Genome Biology 20).

    The network, kinetics, start values, prior corruption and validation split follow ``data.seed``, so that all runs
    of a study share them; the measurement noise follows the seed of the run.
    """

    left_out = frozenset({"starts", *_PRIOR_KEYS})

    kind: Literal["simulate"] = Field(description="simulated network and trajectories; needs no files")
    genes: int = Field(default=60, ge=2, le=100_000, description="G")
    regulators: int = Field(default=15, ge=1, le=100_000, description="genes that regulate others")
    edges: int = Field(
        default=90, ge=1, le=10_000_000, description="regulatory edges, at most one per ordered pair of genes"
    )
    trajectories: int = Field(default=40, ge=2, le=MAX_TRAJECTORIES, description="training and validation trajectories")
    test_trajectories: int = Field(
        default=10, ge=0, le=MAX_TRAJECTORIES, description="test trajectories, free of noise; 0 = no test set"
    )
    times: Annotated[
        tuple[Annotated[float, Field(ge=-1e18, le=1e18)], ...], Field(strict=False, min_length=2, max_length=10_000)
    ] = Field(default=(0.0, 2.0, 3.0, 7.0, 9.0), description="time points of every trajectory")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="seed of the network and all that belongs to it")
    expression_noise: float = Field(
        default=0.025, ge=0, le=1e6, description='s.d. added to every value; 0.025 is "5 %" of the mean level'
    )
    prior_noise: float = Field(
        default=0.05, ge=0, le=1, description="share of the prior's edges moved to random places"
    )
    prior_withheld: float = Field(default=0.0, ge=0, lt=1, description=_WITHHELD)
    prior_flipped: float = Field(default=0.0, ge=0, le=1, description=_FLIPPED)
    prior_variant: Variant = Field(default="given", description=_VARIANT)
    validation: ShareKey = Field(
        default=0.1, description="share of the trajectories kept for validation, or { folds = K } for cross-validation"
    )
    starts: Literal["measured", "smoothed"] = Field(default="measured", description=_STARTS)
    time_unit: TimeUnitKey = Field(default="auto", description=_TIME_UNIT)

    @model_validator(mode="after")
    def _consistent(self) -> SimulatedData:
        if any(b <= a for a, b in zip(self.times, self.times[1:], strict=False)):
            raise problem_at("times", "must increase")
        if self.regulators > self.genes:
            raise problem_at("regulators", f"must not be larger than genes = {self.genes}")
        values = self.genes * len(self.times) * (self.trajectories + self.test_trajectories)
        if values > MAX_VALUES:
            message = f"makes {values:,} values with these times and trajectories; at most {MAX_VALUES:,} are simulated"
            raise problem_at("genes", message)
        least = max(self.regulators, self.genes - self.regulators)
        if self.edges < least:
            message = f"must be {least} or more: each regulator needs a target, each other gene a regulator"
            raise problem_at("edges", message)
        most = self.regulators * (self.genes - 1)
        if self.edges > most:
            raise problem_at("edges", f"must not be larger than regulators × (genes − 1) = {most}")
        if isinstance(self.validation, Folds) and self.validation.folds > self.trajectories:
            raise problem_at("validation", f"must not have more folds than trajectories = {self.trajectories:,}")
        return self


class CatalogueData(DataTable):
    """``kind = "catalogue"``: a published data set, found below the folder that DASH_HPC_DATA names."""

    left_out = frozenset({"seed", "validation", "starts", *_PRIOR_KEYS})

    kind: Literal["catalogue"] = Field(description="a published data set")
    name: CatalogueName = Field(description="which one")
    expression_noise: float = Field(
        default=0.0, ge=0, le=1e6, description="s.d. added to every training and validation value"
    )
    prior_noise: float = Field(default=0.0, ge=0, le=1, description="share of the prior's edges moved to random places")
    prior_withheld: float = Field(default=0.0, ge=0, lt=1, description=_WITHHELD)
    prior_flipped: float = Field(default=0.0, ge=0, le=1, description=_FLIPPED)
    prior_variant: Variant = Field(default="given", description=_VARIANT)
    validation: FoldsKey = Field(
        default=None, description="{ folds = K } for cross-validation; default: the published split"
    )
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description=_SEED)
    starts: Literal["measured", "smoothed"] = Field(default="measured", description=_STARTS)
    time_unit: TimeUnitKey = Field(default="auto", description=_TIME_UNIT)
    max_missing: float = Field(default=0.25, ge=0, le=1, description=_MAX_MISSING)


class FilesData(DataTable):
    """``kind = "files"``: your own files; relative paths start at the study file's folder."""

    names_files = True
    left_out = frozenset({"prior_noise", "seed", "starts", "design", *_PRIOR_KEYS})

    kind: Literal["files"] = Field(description="your own files")
    train: ExpressionFile = Field(
        description="trajectories to train on: a file, or { file, … } with keys of its reader"
    )
    genes: FilePath | None = Field(default=None, description="gene names, one per row of a trajectory")
    design: FilePath | None = Field(
        default=None,
        description="table of what was done in the trajectories of train, for strategy evidence: inputs that were on "
        "from one time to another, on known or unknown genes, and genes held at a value; columns trajectory, input, "
        "from, to, targets, held",
    )
    validation: Split | None = Field(
        default=None,
        description="a file (as train), trajectories of train (a list, from 0), a fraction, or { folds = K } for "
        "cross-validation; default: what train says itself, else 0.1",
    )
    test: ExpressionFile | None = Field(
        default=None, description="trajectories to test on; default: what train says itself"
    )
    prior: FilePath | None = Field(default=None, description="motif map, regulator × target")
    prior_columns: ColumnNames | None = Field(
        default=None, description="columns of a prior that is a list: { regulator, target, weight, sign }"
    )
    prior_signed: bool | None = Field(
        default=None, description="whether the prior's signs mean anything; default: where one is negative"
    )
    ppi: FilePath | None = Field(default=None, description="protein interactions; left out: from common targets")
    ppi_genes: FilePath | None = Field(
        default=None, description="gene names that numbered interactions refer to; default: genes"
    )
    truth: FilePath | None = Field(default=None, description="reference network, for evaluation only")
    truth_columns: ColumnNames | None = Field(
        default=None, description="columns of a reference network that is a list, as in prior_columns"
    )
    expression_noise: float = Field(
        default=0.0, ge=0, le=1e6, description="s.d. added to every training and validation value"
    )
    prior_noise: float = Field(default=0.0, ge=0, le=1, description="share of the prior's edges moved to random places")
    prior_withheld: float = Field(default=0.0, ge=0, lt=1, description=_WITHHELD)
    prior_flipped: float = Field(default=0.0, ge=0, le=1, description=_FLIPPED)
    prior_variant: Variant = Field(default="given", description=_VARIANT)
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description=_SEED)
    starts: Literal["measured", "smoothed"] = Field(default="measured", description=_STARTS)
    time_unit: TimeUnitKey = Field(default="auto", description=_TIME_UNIT)
    max_missing: float = Field(default=0.25, ge=0, le=1, description=_MAX_MISSING)

    @model_validator(mode="after")
    def _consistent(self) -> FilesData:
        if self.prior_noise and self.prior is None:
            raise problem_at("prior_noise", "moves edges of a prior, and none is named: add prior")
        for key in _PRIOR_KEYS:
            if self.prior is None and getattr(self, key) != type(self).model_fields[key].default:
                raise problem_at(key, "changes a prior, and none is named: add prior")
        return self

    @property
    def without_prior(self) -> bool:
        return self.prior is None


DATA_KINDS: dict[str, type[DataTable]] = {
    "simulate": SimulatedData,
    "catalogue": CatalogueData,
    "files": FilesData,
}
