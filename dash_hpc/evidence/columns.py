"""The features of all genes, and what of them and of its rows the search for a target's regulators takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dash_hpc.evidence.rows import Part
from dash_hpc.evidence.state import FloatArray, phi
from dash_hpc.ops.drive_search import RowsPart

__all__ = ["Features", "given_rows"]


@dataclass(frozen=True, eq=False)
class Features:
    """φ of all genes, centred.

    Attributes
    ----------
    blocks : tuple of (U, N, G) float64
        Per block, by time of the grid, trajectory and gene.
    centre : (G,) float64
        What was taken off: the mean over all blocks, trajectories and times of the grid.
    """

    blocks: tuple[FloatArray, ...]
    centre: FloatArray

    @classmethod
    def of_courses(cls, courses: Sequence[FloatArray]) -> Features:
        """From expression (N, U, G) per block."""
        values = [np.ascontiguousarray(phi(course).transpose(1, 0, 2)) for course in courses]
        points = sum(value.shape[0] * value.shape[1] for value in values)
        centre = sum(value.sum(axis=(0, 1)) for value in values) / points
        for value in values:
            value -= centre
        return cls(tuple(values), np.asarray(centre))


def given_rows(
    parts: Sequence[Part], features: Features, shift: Sequence[FloatArray] | None = None
) -> tuple[RowsPart, ...]:
    """Return the rows of a target with the features they are explained by.

    ``shift`` : per block (N, U, C), what is added to the features of the candidates.
    """
    return tuple(
        RowsPart(
            features.blocks[part.block],
            part.members,
            part.across,
            part.z,
            float(part.constant[0]),
            part.centred,
            None if shift is None else shift[part.block],
        )
        for part in parts
    )
