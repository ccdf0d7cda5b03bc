"""``kind = "simulate"``: a network and its trajectories in silico, of which the spec alone says what they hold."""

from __future__ import annotations

from pathlib import Path

from dash_hpc.data.catalogue import DERIVED_INTERACTIONS
from dash_hpc.data.dataset import DataSet
from dash_hpc.data.kinds.base import PRIOR_KEYS, DataKind, Spec
from dash_hpc.data.kinds.parts import (
    altered,
    corrupted,
    expression_noise,
    folds_asked,
    noise_note,
    starts_asked,
    starts_note,
    unit_asked,
)
from dash_hpc.data.splits import split_folds, split_fraction
from dash_hpc.data.summary import DataSummary
from dash_hpc.data.timeunit import length_unit, typical_unit
from dash_hpc.rng import stream

__all__ = ["SimulatedKind"]


class SimulatedKind(DataKind):
    """Data of :mod:`dash_hpc.data.simulator`; all but the measurement noise follows ``spec["seed"]``."""

    name = "simulate"

    def build(self, spec: Spec, *, seed: int, base: Path) -> DataSet:
        from dash_hpc.data.simulator import simulate  # loads the ODE integrators: only where they are needed

        system = simulate(spec)
        data_seed = int(spec["seed"])
        noise = expression_noise(spec)
        noisy = system.train_val.with_noise(noise, stream(seed, "expression-noise"))
        if (folds := folds_asked(spec)) is not None:
            train, validation, held = split_folds(noisy, *folds, stream(data_seed, "validation-folds"))
        else:
            fraction = float(spec["validation"])
            train, validation, held = split_fraction(noisy, fraction, stream(data_seed, "validation-split"))
        prior, notes = corrupted(
            system.prior_clean, float(spec.get("prior_noise") or 0.0), stream(data_seed, "prior-noise")
        )
        prior, more = altered(prior, spec)
        return DataSet(
            name=f"simulated_{system.train_val.n_genes}_seed{data_seed}",
            train=train,
            validation=validation,
            test=system.test,
            prior=prior,
            truth=system.truth,
            notes=(
                "simulated data: the reference network is exact, the test set is free of noise",
                DERIVED_INTERACTIONS,
                *noise_note(noise),
                *starts_note(starts_asked(spec)),
                *notes,
                *more,
                held,
            ),
            time_unit=unit_asked(spec) or typical_unit(system.train_val),
            starts=starts_asked(spec),
        )

    def made_bytes(self, spec: Spec) -> tuple[int, str]:
        drawn, test = int(spec["trajectories"]), int(spec["test_trajectories"])
        size = 8 * int(spec["genes"]) * len(spec["times"]) * (drawn + test)
        return size, f"expression of {drawn:,} + {test:,} trajectories"

    def foresee(self, spec: Spec) -> DataSummary:
        genes, points = int(spec["genes"]), len(spec["times"])
        drawn, test = int(spec["trajectories"]), int(spec["test_trajectories"])
        trained, held = _divided(spec, drawn)
        told = DataSummary(f"simulated, seed {spec['seed']}", genes)
        counted = {"training": trained, "validation": held, "test": test}
        if (folds := folds_asked(spec)) is not None:
            told.facts["folds"] = (
                "none: all trajectories train, and are validated on" if folds[1] == "all"
                else f"{folds[0]} of whole trajectories, each validated on once; below is the first"
            )  # fmt: skip
        steps = {part: count * (points - 1) for part, count in counted.items()}
        told.facts["genes"] = f"{genes:,}, of which {int(spec['regulators']):,} regulate"
        told.facts["trajectories"] = ", ".join(f"{count:,} {part}" for part, count in counted.items())
        told.facts["pairs"] = ", ".join(f"{count:,} {part}" for part, count in steps.items())
        told.facts["times"] = f"{spec['times'][0]:g} to {spec['times'][-1]:g}"
        told.say_unit(unit_asked(spec) or length_unit(spec["times"][-1] - spec["times"][0]))
        told.facts["noise"] = f"s.d. {float(spec['expression_noise']):g} on expression"
        if (starts := starts_asked(spec)) != "measured":
            told.facts["starts"] = starts
        moved = round(float(spec["prior_noise"]) * int(spec["edges"]))
        told.facts["prior"] = f"{int(spec['edges']):,} true edges, {moved:,} of them moved to random places"
        told.facts["prior"] += "".join(f"; {key} = {spec[key]}" for key in PRIOR_KEYS if spec.get(key))
        told.facts["reference"] = f"the true network, {int(spec['edges']):,} edges"
        told.counts = {"genes": genes, "prior_edges": int(spec["edges"])}
        told.counts |= {f"{part}_trajectories": count for part, count in counted.items()}
        told.counts |= {f"{part}_pairs": count for part, count in steps.items()}
        return told


def _divided(spec: Spec, drawn: int) -> tuple[int, int]:
    """Trajectories to train and to validate on; of the first fold where there are folds."""
    if (folds := folds_asked(spec)) is None:
        held = min(max(1, round(float(spec["validation"]) * drawn)), drawn - 1)
    elif folds[1] == "all":
        return drawn, drawn
    else:
        held = len(range(int(folds[1]), drawn, folds[0]))
    return drawn - held, held
