"""The runs of a study, after a look at its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dash_hpc.errors import StudyError
from dash_hpc.execution.capacity import require_memory
from dash_hpc.store import canonical_json
from dash_hpc.study import RunSpec, Study, plan

if TYPE_CHECKING:
    from dash_hpc.data import DataSet, DataSummary

__all__ = ["data_summary", "gene_count", "planned_runs"]

# (data spec, base) -> what data that were read before hold
_SEEN: dict[tuple[str, str], DataSummary] = {}


def planned_runs(study: Study) -> list[RunSpec]:
    """Read the data files of a study once, then list its runs.

    A fault in a file is so told once, before anything runs, and not by every run of the study. Data without files are
    not made here: the study's own validation covers what can be wrong with them.

    Raises
    ------
    DataError, PriorError
        A file is missing or cannot be used; names file, line and gene.
    StudyError
        A strategy needs prior knowledge, and these data have none; or a run cannot fit into this machine's memory.
    """
    from dash_hpc.data import digest, foresee

    spec = study.data_spec()
    if (foreseen := foresee(spec)) is not None:
        require_memory(study, foreseen.genes)
    fingerprint = digest(spec, base=study.base)
    if fingerprint:
        dataset = _build(study)
        require_memory(study, dataset.train.n_genes)
        needy = next((table.name for table in study.strategy if table.options.needs_prior), None)
        if dataset.prior is None and needy is not None:
            raise StudyError(
                f"strategy {needy} needs prior knowledge, and data set {dataset.name} has none; give your own with "
                'kind = "files" and prior = "…", or leave the strategy out'
            )
    return plan(study, fingerprint)


def data_summary(study: Study) -> DataSummary:
    """Return what a study's data hold; reads files only if :func:`planned_runs` has not done so."""
    from dash_hpc.data import foresee

    spec = study.data_spec()
    if (foreseen := foresee(spec)) is not None:
        return foreseen
    key = (canonical_json(spec), str(study.base))
    if key not in _SEEN:
        _build(study)
    return _SEEN[key]


def gene_count(study: Study) -> int:
    """Return the number of genes of a study's data; reads files only if :func:`planned_runs` has not done so."""
    return data_summary(study).genes


def _build(study: Study) -> DataSet:
    from dash_hpc.data import build, summarise

    spec = study.data_spec()
    dataset = build(spec, seed=study.sweep.seeds[0], base=study.base)
    _SEEN[(canonical_json(spec), str(study.base))] = summarise(dataset)
    return dataset
