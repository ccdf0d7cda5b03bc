"""How courses, or their features, move with a step of the latents that they follow from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.bayes import FloatArray, IntArray
from dash_hpc.ops.checks import as_array, as_count
from dash_hpc.ops.native import native_module
from dash_hpc.ops.threads import stop_token

__all__ = ["course_moves"]

#: Latents of a course and its derivatives (U, r, N) in them; None in their place: it is its one latent; None: it stays.
Move = tuple[IntArray, FloatArray | None] | None


def course_moves(
    step: FloatArray,
    points: int,
    moves: Sequence[Move],
    courses: FloatArray | None = None,
    genes: IntArray | None = None,
) -> FloatArray:
    """Return the change (N, U, C) of C courses, to first order.

    Parameters
    ----------
    step : (N, nz) float64
        Of the latents, by trajectory.
    points : int
        U, of the grid.
    moves : sequence of C
        Latents (r,) int64 of a course with its derivatives (U, r, N) in them; or its one latent and None where it
        is that; or None where it moves with none.
    courses : (N, U, G) float64, optional
        Given, the features u / (1 + |u|), u = x - 1/2, of the courses are asked for: the change is theirs at these.
    genes : (C,) int64, optional
        With ``courses``: which of them each move belongs to.

    Raises
    ------
    UsageError
        Shapes that do not fit, latents or genes that are none.
    """
    given = as_array(step, np.float64, "step")
    count = as_count(points, "points", least=0)
    own = [None if move is None else _checked(move) for move in moves]
    here = None if courses is None else as_array(courses, np.float64, "courses")
    chosen = None if genes is None else as_array(genes, np.int64, "genes")
    native = native_module()
    if native is not None:
        return np.asarray(native.course_moves(given, count, own, here, chosen, stop_token()))
    _check(given, count, own, here, chosen)
    return _moved(given, count, own, here, chosen)


def _checked(move: tuple[IntArray, FloatArray | None]) -> tuple[IntArray, FloatArray | None]:
    latents, derivatives = move
    found = None if derivatives is None else as_array(derivatives, np.float64, "derivatives")
    return as_array(latents, np.int64, "latents"), found


def _check(
    step: FloatArray, points: int, moves: Sequence[Move], courses: FloatArray | None, genes: IntArray | None
) -> None:
    if step.ndim != 2:
        raise UsageError(f"step must have 2 axes, got {step.ndim}")
    for latents, derivatives in (move for move in moves if move is not None):
        if latents.ndim != 1 or (latents.size and not 0 <= latents.min() <= latents.max() < step.shape[1]):
            raise UsageError("latents must be places in the step")
        if derivatives is None and len(latents) != 1:
            raise UsageError("a course without derivatives is one latent")
        if derivatives is not None and derivatives.shape != (points, len(latents), len(step)):
            raise UsageError(f"derivatives must be {[points, len(latents), len(step)]}, got {list(derivatives.shape)}")
    if courses is None:
        return
    if courses.ndim != 3 or courses.shape[:2] != (len(step), points):
        raise UsageError(f"courses must be {[len(step), points, 'any']}, got {list(courses.shape)}")
    if genes is None or genes.shape != (len(moves),):
        raise UsageError(f"genes must be one for each of {len(moves)} moves")
    if genes.size and not 0 <= genes.min() <= genes.max() < courses.shape[2]:
        raise UsageError("genes must be genes of the courses")


def _moved(
    step: FloatArray, points: int, moves: Sequence[Move], courses: FloatArray | None, genes: IntArray | None
) -> FloatArray:
    """The meaning of the native operator."""
    found = np.zeros((len(step), points, len(moves)))
    for place, move in enumerate(moves):
        if move is not None:
            latents, derivatives = move
            found[..., place] = (
                step[:, latents] if derivatives is None else np.einsum("urn,nr->nu", derivatives, step[:, latents])
            )
    if courses is not None:
        found /= (1 + np.abs(courses[:, :, genes] - 0.5)) ** 2
    return found
