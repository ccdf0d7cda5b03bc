"""The runs of a study, after a look at its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dash_hpc.errors import StudyError
from dash_hpc.store import canonical_json
from dash_hpc.study import RunSpec, Study, plan

if TYPE_CHECKING:
    from dash_hpc.data import DataSet

__all__ = ["gene_count", "planned_runs"]

# (data spec, base) -> number of genes of data that were read before
_GENES: dict[tuple[str, str], int] = {}


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
    from dash_hpc.data import digest

    spec = study.data_spec()
    fingerprint = digest(spec, base=study.base)
    if fingerprint:
        dataset = _build(study)
        needy = next((table.name for table in study.strategy if table.options.needs_prior), None)
        if dataset.prior is None and needy is not None:
            raise StudyError(
                f"strategy {needy} needs prior knowledge, and data set {dataset.name} has none; give your own with "
                'kind = "files" and prior = "…", or leave the strategy out'
            )
    return plan(study, fingerprint)


def gene_count(study: Study) -> int:
    """Return the number of genes of a study's data; reads files only if :func:`planned_runs` has not done so."""
    spec = study.data_spec()
    if spec["kind"] == "simulate":
        return int(spec["genes"])
    key = (canonical_json(spec), str(study.base))
    return _GENES[key] if key in _GENES else _build(study).train.n_genes


def _build(study: Study) -> DataSet:
    from dash_hpc.data import build

    spec = study.data_spec()
    dataset = build(spec, seed=study.sweep.seeds[0], base=study.base)
    _GENES[(canonical_json(spec), str(study.base))] = dataset.train.n_genes
    return dataset
