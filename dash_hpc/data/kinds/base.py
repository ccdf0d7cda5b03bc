"""What a kind of data can do with its spec: the ``[data]`` table of one run, every key one value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from dash_hpc.data.dataset import DataSet
    from dash_hpc.data.summary import DataSummary

__all__ = ["PRIOR_KEYS", "SHARED_SEED", "DataKind", "Spec"]

Spec = Mapping[str, Any]

#: Where a spec of files has none: seed of the split of their trajectories, and of the prior edges that are moved.
SHARED_SEED = 0

#: Keys of a spec that change its prior after edges were moved; a spec has them only where they do something.
PRIOR_KEYS = ("prior_withheld", "prior_flipped", "prior_variant")


class DataKind(ABC):
    """A kind of data; it has no state. ``base`` is the folder that relative paths of a spec start at.

    Attributes
    ----------
    name : str
        The ``kind`` of the spec.
    """

    name: ClassVar[str]

    @abstractmethod
    def build(self, spec: Spec, *, seed: int, base: Path) -> DataSet:
        """Make the data set of the run with this seed; see :func:`dash_hpc.data.build`."""

    def files(self, spec: Spec, base: Path) -> dict[str, Path]:
        """Return role -> file for all that :meth:`build` reads, checked to be there; none where nothing is read."""
        return {}

    def foresee(self, spec: Spec) -> DataSummary | None:
        """Return what the data will hold, where the spec alone says it; None where files must be read."""
        return None

    def made_bytes(self, spec: Spec) -> tuple[int, str] | None:
        """Return bytes of what is made after the spec alone, and what that is; None where files decide."""
        return None
