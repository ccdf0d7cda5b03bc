"""Regulators that only stand for others: explained away by the regulators of their own.

Genes of one complex follow the same regulators in nearly the same way. The course of one tells of its regulators, all
of them and their products at once, and explains another gene of the complex better than any single regulator does: a
search that takes one gene after the other takes it first, and each true regulator adds little then. So each new
regulator that moves is put to the test against its own regulators. They take its place, the search goes on without it,
and what is found stays if it explains the target better as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dash_hpc.evidence.state import IntArray
from dash_hpc.ops.drive_search import DriveFound, DriveQuestion, find_drive

__all__ = ["explained_away"]

#: Log-odds of a gene that is not to be found.
_NEVER = -700.0


def explained_away(
    question: DriveQuestion, found: DriveFound, suspects: IntArray, instead: Mapping[int, IntArray]
) -> DriveFound:
    """Put members to the test, one after the other; return the best that is found.

    Parameters
    ----------
    question : DriveQuestion
    found : DriveFound
        The answer to it.
    suspects : (s,) int64
        Members to be tested: places among the candidates. Those that an answer on the way has not are passed over.
    instead : mapping of int to (k,) int64
        By suspect, its own regulators: places among the candidates.
    """
    best = found
    for suspect in suspects.tolist():
        if suspect not in best.members:
            continue
        others = best.members[best.members != suspect]
        prior = question.prior.copy()
        prior[suspect] = _NEVER
        start = np.r_[others, np.setdiff1d(instead[suspect], best.members)]
        other = _again(replace(question, prior=prior), start, best)
        if other.evidence > best.evidence:
            best = other
    # all candidates are judged by their own odds in the end
    return found if best is found else _again(question, best.members, best)


def _again(question: DriveQuestion, start: IntArray, last: DriveFound) -> DriveFound:
    """Search on from members, with the variances that were found last."""
    return find_drive(
        replace(question, start=start, drive_variance=last.drive_variance, other_variance=last.other_variance)
    )
