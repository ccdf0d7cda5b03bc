"""What kinds of data share: the settings that all have, moved prior edges, and sentences about both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dash_hpc.data.design import design_account
from dash_hpc.data.kinds.base import SHARED_SEED, Spec
from dash_hpc.data.missing import DEFAULT_MAX_MISSING
from dash_hpc.data.prior import Prior
from dash_hpc.data.timecourse import TimeCourse
from dash_hpc.data.timeunit import check_unit
from dash_hpc.data.variants import VARIANTS, flipped
from dash_hpc.errors import DataError
from dash_hpc.rng import stream

__all__ = [
    "altered",
    "corrupted",
    "design_notes",
    "expression_noise",
    "folds_asked",
    "max_missing",
    "missing_notes",
    "noise_note",
    "scale_note",
    "shared_seed",
    "starts_asked",
    "starts_note",
    "unit_asked",
]

_LARGEST_LEVEL = 10.0  # beyond what published sets (0..1, log ratios of -2.5..4) hold: counts, intensities


def expression_noise(spec: Spec) -> float:
    """S.d. of the noise on every training and validation value."""
    return float(spec.get("expression_noise") or 0.0)


def max_missing(spec: Spec) -> float:
    """Largest share of the genes that may be missing where a step starts."""
    return float(spec.get("max_missing", DEFAULT_MAX_MISSING))


def folds_asked(spec: Spec) -> tuple[int, int | str] | None:
    """Number of folds and the one to hold out, where validation is one of them."""
    validation = spec.get("validation")
    if isinstance(validation, Mapping) and "folds" in validation:
        return int(validation["folds"]), validation["fold"]
    return None


def shared_seed(spec: Spec) -> int:
    """Seed of what all runs on one data level share: split, folds, and the prior edges that are moved."""
    return int(spec.get("seed", SHARED_SEED))


def unit_asked(spec: Spec) -> float:
    """The unit of time to train in; 0 for one of the data's own."""
    unit = spec.get("time_unit") or "auto"
    return 0.0 if unit == "auto" else check_unit(float(unit))


def starts_asked(spec: Spec) -> str:
    """What steps start from, as :class:`dash_hpc.data.DataSet` has it."""
    return str(spec.get("starts") or "measured")


def starts_note(starts: str) -> tuple[str, ...]:
    if starts == "measured":
        return ()
    return ("training and validation steps start from smoothed states, and end at measured ones",)


def corrupted(prior: Prior, fraction: float, rng: np.random.Generator) -> tuple[Prior, tuple[str, ...]]:
    """Return the prior with a share of its edges moved to random places, and a note that says so."""
    if not fraction:
        return prior, ()
    moved = round(fraction * prior.n_edges)
    return prior.corrupt(fraction, rng), (f"prior: {moved} of {prior.n_edges} edges relocated ({fraction:.3g})",)


def altered(prior: Prior, spec: Spec) -> tuple[Prior, tuple[str, ...]]:
    """Return the prior without the edges to withhold, with the signs to flip, as the variant asked for; and notes.

    In this order, after edges were moved. All follows :func:`shared_seed`, so that all runs of a data level share it.

    Raises
    ------
    DataError
        For a variant that does not exist.
    """
    seed, notes = shared_seed(spec), []
    if withheld := float(spec.get("prior_withheld") or 0.0):
        notes.append(f"prior: {round(withheld * prior.n_edges)} of {prior.n_edges} edges withheld ({withheld:.3g})")
        prior = prior.withhold(withheld, stream(seed, "prior-withheld"))
    if turned := float(spec.get("prior_flipped") or 0.0):
        notes.append(f"prior: the signs of {round(turned * prior.n_edges)} of {prior.n_edges} edges flipped")
        prior = flipped(prior, turned, stream(seed, "prior-flipped"))
    if (name := str(spec.get("prior_variant") or "given")) != "given":
        if name not in VARIANTS:
            raise DataError(f"data.prior_variant {name!r} is not one of given, {', '.join(VARIANTS)}")
        make, what = VARIANTS[name]
        prior = make(prior, stream(seed, "prior-variant", name))
        notes.append(f"prior: {what} (prior_variant = {name})")
    return prior, tuple(notes)


def noise_note(noise: float) -> tuple[str, ...]:
    if not noise:
        return ()
    return (f"noise N(0, {noise:g}²) added to all training and validation values, drawn from the run's seed",)


def scale_note(*parts: TimeCourse | None) -> tuple[str, ...]:
    """A warning when expression is far outside the range that the model's activations are made for."""
    largest = max(
        float(np.nanmax(np.abs(trajectory.values))) for part in parts if part for trajectory in part.trajectories
    )
    if largest <= _LARGEST_LEVEL:
        return ()
    return (f"expression reaches {largest:,.4g}; the model is made for values of about 0 to 1, so scale the data",)


def missing_notes(part: str, data: TimeCourse | None) -> tuple[str, ...]:
    return () if data is None else tuple(f"{part} data: {note}" for note in data.losses().notes(data.max_missing))


def design_notes(data: TimeCourse) -> tuple[str, ...]:
    """What was done to the training samples, and who makes use of it."""
    told = design_account(data)
    if not told:
        return ()
    return (
        f"design: {told}; strategy evidence reads it, other strategies train as if nothing had been done, and no model "
        "has inputs",
    )
