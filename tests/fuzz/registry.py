"""All kinds of files that are fuzzed. A new one: its module, and a line here."""

from __future__ import annotations

from kind import Kind
from kind_attempts import Attempts
from kind_audit import Audit
from kind_bundle import Bundle
from kind_checkpoint import Checkpoint
from kind_deaths import Deaths
from kind_expression import Expression
from kind_genes import GeneNames
from kind_index import Index
from kind_job_note import JobNote
from kind_lease import Lease
from kind_plan import Plan
from kind_prior import PriorList, PriorMatrix
from kind_run import Run
from kind_stored_study import StoredStudy
from kind_study import StudyFile

__all__ = ["KINDS"]

KINDS: tuple[type[Kind], ...] = (
    Run,
    Checkpoint,
    Bundle,
    Index,
    Plan,
    StoredStudy,
    Lease,
    Deaths,
    Attempts,
    JobNote,
    StudyFile,
    Audit,
    Expression,
    GeneNames,
    PriorList,
    PriorMatrix,
)
