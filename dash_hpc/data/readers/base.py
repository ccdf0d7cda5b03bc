"""What a reader is: it makes trajectories of a file, told by keys of its own in the study file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from dash_hpc.data.timecourse import TimeCourse

__all__ = ["Expression", "Genes", "Reader", "ReaderKeys", "Source"]

#: Where names come from that a file need not hold itself: a file of gene names, the names, or nothing is known.
Genes = Path | Sequence[str] | None


class ReaderKeys(BaseModel):
    """Base of a reader's keys, which stand beside ``file`` in the study file; this one has none.

    A field is a key: its type, default, bounds and description. Unknown keys are refused, and types are not converted.
    A run's id is made from the keys, so a key that is added later must have a default of None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Source:
    """A file of expression as a data spec names it: where it lies, and the keys for its reader."""

    path: Path
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Expression:
    """What a reader found in one file.

    Attributes
    ----------
    course : TimeCourse
        The trajectories, in the order of the file; of a file that is divided, those to train on.
    validation, test : TimeCourse or None
        Where the file itself says which trajectories these are.
    remarks : tuple of str
        What was recognised beyond the plain form of the file, a sentence each.
    notes : tuple of str
        Facts that belong beside every result: what was dropped, binned or scaled.
    """

    course: TimeCourse
    validation: TimeCourse | None = None
    test: TimeCourse | None = None
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def within(self, max_missing: float) -> Expression:
        """Return the same with the largest share of genes that may be missing where a step starts."""
        validation, test = (
            None if part is None else replace(part, max_missing=max_missing) for part in (self.validation, self.test)
        )
        return replace(self, course=replace(self.course, max_missing=max_missing), validation=validation, test=test)


class Reader(ABC):
    """Reads one kind of file. A reader has no state: one object serves all files.

    Attributes
    ----------
    name : str
        What messages call the kind of file.
    suffixes : tuple of str
        Ends of file names, lower case, with the dot. The longest that fits decides.
    Keys : class
        Its keys in the study file.
    max_bytes : int or None
        Largest file that it reads, where that is not text; None: text, which has limits of its own.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    Keys: ClassVar[type[ReaderKeys]] = ReaderKeys
    max_bytes: ClassVar[int | None] = None

    def files(self, path: Path, keys: Any) -> dict[str, Path]:
        """Return the further files that :meth:`read` opens, by a name for each; they are part of the data's digest."""
        return {}

    @abstractmethod
    def read(self, path: Path, keys: Any, genes: Genes) -> Expression:
        """Read a file.

        Parameters
        ----------
        path : Path
            An existing regular file.
        keys : Keys
            Validated.
        genes : Path, sequence of str or None
            Where the study says the names are, for a file that has none. A file that has names keeps its own; that all
            parts of a data set agree is checked by who puts them together.

        Raises
        ------
        DataError
            One line with file, place and remedy. Sizes are checked before anything of that size is allocated.
        """
