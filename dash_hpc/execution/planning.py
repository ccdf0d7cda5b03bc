"""The runs of a study, after a look at its data."""

from __future__ import annotations

from dash_hpc.errors import StudyError
from dash_hpc.study import RunSpec, Study, plan

__all__ = ["planned_runs"]


def planned_runs(study: Study) -> list[RunSpec]:
    """Read the data files of a study once, then list its runs.

    A fault in a file is so told once, before anything runs, and not by every run of the study. Simulated data are
    not made here: the study's own validation covers what can be wrong with them.

    Raises
    ------
    DataError, PriorError
        A file is missing or cannot be used; names file, line and gene.
    StudyError
        A strategy needs prior knowledge, and these data have none.
    """
    from dash_hpc.data import build, digest

    spec = study.data_spec()
    fingerprint = digest(spec, base=study.base)
    if fingerprint:
        dataset = build(spec, seed=study.sweep.seeds[0], base=study.base)
        needy = next((table.name for table in study.strategy if table.options.needs_prior), None)
        if dataset.prior is None and needy is not None:
            raise StudyError(
                f"strategy {needy} needs prior knowledge, and data set {dataset.name} has none; give your own with "
                'kind = "files" and prior = "…", or leave the strategy out'
            )
    return plan(study, fingerprint)
