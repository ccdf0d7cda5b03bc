"""Strategies by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from dash_hpc.errors import UsageError
from dash_hpc.pruning.base import Strategy
from dash_hpc.pruning.bioprune import BioPrune
from dash_hpc.pruning.cnode import Cnode
from dash_hpc.pruning.dash import Dash
from dash_hpc.pruning.dst import Dst
from dash_hpc.pruning.evidence import FromEvidence
from dash_hpc.pruning.grasp import Grasp
from dash_hpc.pruning.imp import Imp
from dash_hpc.pruning.l0 import L0
from dash_hpc.pruning.magnitude_init import MagnitudeInit
from dash_hpc.pruning.none import Unpruned
from dash_hpc.pruning.pathreg import PathReg
from dash_hpc.pruning.pinn import Pinn
from dash_hpc.pruning.pinn_mp import PinnMp
from dash_hpc.pruning.randomly import Randomly
from dash_hpc.pruning.snip import Snip
from dash_hpc.pruning.sparseflow import SparseFlow
from dash_hpc.pruning.structured import Structured
from dash_hpc.pruning.synflow import SynFlow

if TYPE_CHECKING:
    from dash_hpc.data import DataSet

__all__ = ["STRATEGIES", "create", "tells_edges"]

_ALL: tuple[type[Strategy], ...] = (
    Unpruned,
    Imp,
    Dash,
    BioPrune,
    Structured,
    FromEvidence,
    Pinn,
    PinnMp,
    SparseFlow,
    Randomly,
    MagnitudeInit,
    Snip,
    Grasp,
    SynFlow,
    L0,
    Cnode,
    PathReg,
    Dst,
)

#: Every strategy by the name that a study file uses, in the order of tables and colours.
STRATEGIES: dict[str, type[Strategy]] = {cls.name: cls for cls in _ALL}


def create(options: Mapping[str, Any], schedule: Mapping[str, Any], dataset: DataSet, seed: int) -> Strategy:
    """Build the strategy ``options["name"]``.

    Parameters
    ----------
    options : mapping
        ``name`` and the strategy's own options; missing ones take their defaults.
    schedule : mapping
        Fields of :class:`dash_hpc.pruning.LatticeSchedule`.
    dataset : DataSet
        Gives the prior.
    seed : int
        The run's seed.

    Raises
    ------
    UsageError
        For an unknown name or option, or a value out of range.
    PriorError
        When the strategy needs a prior and the data set has none.
    """
    own = dict(options)
    name = own.pop("name", None)
    if name not in STRATEGIES:
        near = get_close_matches(str(name), STRATEGIES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown strategy {name!r}; the strategies are {', '.join(STRATEGIES)}{hint}")
    kind = STRATEGIES[name]
    return kind(kind.Options(**own), schedule, dataset, seed)


def tells_edges(name: str) -> bool:
    """Whether runs of the strategy ``name`` say something of single edges (:meth:`Strategy.evidence`)."""
    kind = STRATEGIES.get(name)
    return kind is not None and kind.evidence is not Strategy.evidence
