"""A data set ready for a run: training, validation and test data, prior and reference network."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.sparse import csr_array

from dash_hpc.data.genes import check_same_genes
from dash_hpc.data.missing import nothing_usable
from dash_hpc.data.prior import Prior
from dash_hpc.data.record import NetworkRecord
from dash_hpc.data.timecourse import TimeCourse
from dash_hpc.data.timeunit import check_unit, typical_unit
from dash_hpc.errors import PriorError

__all__ = ["DataSet"]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Everything a run learns from and is judged by; all parts share one gene list.

    Attributes
    ----------
    name : str
    train, validation : TimeCourse
        With the noise of the run, where noise was asked for.
    test : TimeCourse or None
    prior : Prior or None
    truth : (G, G) float64 csr_array, regulator × target, signed; or None where no reference network is known
    notes : tuple of str
        Facts that belong beside every result: what is missing, was dropped or was changed.
    truth_record : NetworkRecord or None
        What reading the reference network found.
    remarks : tuple of str
        What was recognised in the files beyond their plain form, a sentence each.
    time_unit : float, optional
        Size of the unit that models are trained in, in the data's unit of time. Left out, and "auto" in a study:
        :func:`dash_hpc.data.timeunit.typical_unit`, so that hours, minutes and seconds give the same model.
    starts : {"measured", "smoothed"}, default "measured"
        What steps of the training and validation data are to start from: the state as it was measured, or as its whole
        trajectory tells it (:func:`dash_hpc.evidence.starts.with_starts`, which training does).

    Raises
    ------
    DataError
        Parts with other genes, or training or validation data without a single step that can be used.
    """

    name: str
    train: TimeCourse
    validation: TimeCourse
    test: TimeCourse | None = None
    prior: Prior | None = None
    truth: csr_array | None = None
    notes: tuple[str, ...] = ()
    truth_record: NetworkRecord | None = None
    remarks: tuple[str, ...] = ()
    time_unit: float = 0.0
    starts: str = "measured"

    def __post_init__(self) -> None:
        check_same_genes(self.train.genes, self.validation.genes, "the validation data")
        if self.test is not None:
            check_same_genes(self.train.genes, self.test.genes, "the test data")
        if self.prior is not None:
            check_same_genes(self.train.genes, self.prior.genes, "the prior", PriorError)
        n = self.train.n_genes
        if self.truth is not None and self.truth.shape != (n, n):
            raise PriorError(f"the reference network must be [{n}, {n}], got {list(self.truth.shape)}")
        for part, data in (("training", self.train), ("validation", self.validation)):
            if not len(data.pairs()):
                raise nothing_usable(f"{part} data", data.max_missing)
        object.__setattr__(self, "time_unit", check_unit(self.time_unit or typical_unit(self.train)))

    @property
    def genes(self) -> tuple[str, ...]:
        return self.train.genes

    @property
    def n_genes(self) -> int:
        return self.train.n_genes
