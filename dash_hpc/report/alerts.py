"""What must be said before any number is read: at the top of the report, and below the table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dash_hpc.report.material import Material, mean_sd

__all__ = ["alerts", "mixed_makers", "unbeaten_persistence"]

_MOST = 3  # levels of which the same is said


def alerts(levels: Sequence[Material]) -> list[str]:
    """Return the sentences that apply to this study; those about data for each level that they are true of."""
    told = [(level.name, unbeaten_persistence(level)) for level in levels]
    unbeaten = [f"{name}: {sentence}" if name else sentence for name, sentence in told if sentence]
    more = [f"The same is true of {len(unbeaten) - _MOST} more data levels."] if len(unbeaten) > _MOST else []
    return [*mixed_makers(levels[0]), *unbeaten[:_MOST], *more]


def mixed_makers(material: Material) -> list[str]:
    """Say in what the runs that means are taken over differ besides their specs, a sentence each."""
    told = []
    for mixture in material.mixtures:
        text = str(mixture)
        ending = (
            "means and standard deviations mix them. Run the study into a new folder to have all from one"
            if mixture.column == "made.program"
            else "last bits depend on it, and training makes them larger"
        )
        told.append(f"{text[:1].upper()}{text[1:]}; {ending}.")
    return told


def unbeaten_persistence(material: Material) -> str:
    """Say so when no strategy predicts the validation data better than no change at all; else empty."""
    level = material.controls.get("control_persistence_validation_mse")
    errors = [(mean_sd(group.done.get("validation_mse", []))[0], group.label) for group in material.groups]
    errors = [(error, label) for error, label in errors if math.isfinite(error)]
    if level is None or not errors:
        return ""
    error, label = min(errors)
    if error < level:
        return ""
    return (
        f"On the validation data no strategy beats no change (persistence): the lowest mean error is {error:.3g} "
        f"({label}), no change has {level:.3g}. Whatever was chosen there, the kept epoch and the setting, rests on "
        "errors that show no learned dynamics."
    )
