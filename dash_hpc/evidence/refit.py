"""The drive of a target whose regulators are chosen, fitted to all of its rows as they were measured.

While regulators are chosen, rows are centred over the trajectories: a course that all trajectories share must not count
as evidence of who drives whom. Once the regulators are known the shared course is data like any other. A drive that
ignored it would follow the shared rise or fall badly, and every course that is smoothed through it would be off by the
same amount in all trajectories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dash_hpc.evidence.columns import Features, columns_of, products_of, rows_of
from dash_hpc.evidence.rows import Part
from dash_hpc.evidence.state import Smoothed, Target

__all__ = ["refit_drive"]


def refit_drive(
    target: Target,
    parts: Sequence[Part],
    features: Features,
    smoothed: Smoothed,
    *,
    intercept: float,
    member: float,
    product: float,
) -> None:
    """Set offset, coefficients and product coefficients of a target to their posterior means, rows not centred.

    Members, pairs and variances stay what they are.

    Parameters
    ----------
    target : Target
        Changed in place.
    parts : sequence of Part
        Its rows.
    features : Features
        Of the courses that the members were chosen on.
    smoothed : Smoothed
        Takes the target's own data out of the members' courses.
    intercept, member, product : float
        Prior precisions of the coefficients.
    """
    measured = [replace(part, centred=False) for part in parts]
    rows = rows_of(measured)
    k, q = len(target.members), len(target.pairs)
    own = columns_of(measured, features, target.members, smoothed.shift(target.gene, target.members))
    products = products_of(measured, features, target.pairs)
    drive = np.concatenate([rows.constant[:, None], own[0], products[0]], axis=1)
    others = np.concatenate([np.zeros((len(rows.others), 1)), own[1], products[1]], axis=1)
    precision = np.r_[intercept, np.full(k, member), np.full(q, product)]
    gram = drive.T @ drive / target.drive_variance + others.T @ others / target.other_variance + np.diag(precision)
    moments = drive.T @ rows.drive / target.drive_variance + others.T @ rows.others / target.other_variance
    found = np.linalg.solve(gram, moments)
    target.offset = float(found[0])
    target.coefficients, target.pair_coefficients = found[1 : 1 + k], found[1 + k :]
