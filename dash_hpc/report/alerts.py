"""What must be said before any number is read: at the top of the report, and below the table in the terminal."""

from __future__ import annotations

import math

from dash_hpc.report.material import Material, mean_sd

__all__ = ["alerts", "mixed_makers", "unbeaten_persistence"]


def alerts(material: Material) -> list[str]:
    """Return the sentences that apply to this study."""
    return [sentence for sentence in (*mixed_makers(material), unbeaten_persistence(material)) if sentence]


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
