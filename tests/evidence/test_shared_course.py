"""A drive is fitted to rows as they were measured, what all trajectories share included."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.evidence.columns import Features, given_rows
from dash_hpc.evidence.rows import CENTRED_FROM
from dash_hpc.ops.bayes import Slab
from dash_hpc.ops.drive_search import DriveQuestion, find_drive
from tests.evidence import networks


def test_a_course_that_all_trajectories_share_shows_its_coefficient() -> None:
    """Gene 0 relaxes alike everywhere and drives gene 1: centred rows hold nothing of it, the others hold all."""
    n = CENTRED_FROM + 2
    times = np.linspace(0.0, 9.0, 145)  # linear in between: an error of 1e-4
    known = networks.state(2, [networks.target(0, {}, 0.2), networks.target(1, {0: 0.9}, 0.4)], noise=1e-6)
    start = np.column_stack([np.full(n, 0.9), np.linspace(0.1, 0.8, n)])
    values = networks.simulate(known, np.ones(2), start, times)
    blocks = [networks.block(values, times)]
    courses = (np.ascontiguousarray(values[:, np.searchsorted(times, blocks[0].grid - 1e-9)]),)
    assert np.array_equal(times[np.searchsorted(times, blocks[0].grid - 1e-9)], blocks[0].grid)
    features = Features.of_courses(courses)
    parts = networks.parts(blocks, known, np.ones(2))[1]
    assert all(part.centred for part in parts)
    gene, certain, none = np.array([0]), np.array([1e4]), np.array([0])
    found = find_drive(
        DriveQuestion(
            given_rows(parts, features),
            gene,
            certain,
            none,
            np.zeros(1),
            none,
            1e-6,
            1e-6,
            1e-6,
            1.0,
            False,
            False,
            Slab(),
        )
    )
    assert found.members.tolist() == [0]
    assert found.information[0] * found.drive_variance < 1e-3
    assert found.coefficients == pytest.approx([0.9], abs=5e-4)
    assert found.offset - found.coefficients[0] * features.centre[0] == pytest.approx(0.4, abs=5e-4)
