"""Inputs and held genes: their share of a course, and what knowing of them is worth on a simulated network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dash_hpc.data import DataSet, Input, Prior, TimeCourse, Treatment
from dash_hpc.data.design import with_design
from dash_hpc.evidence.blocks import blocks_of, designed, free_of_holds
from dash_hpc.evidence.decide import EvidenceOptions, ledger_of
from dash_hpc.evidence.driven import shared_inflation
from dash_hpc.evidence.finding import find_network
from dash_hpc.evidence.inputs import HEIGHT, Inputs, measured_courses, pulse_course, pulse_rows
from dash_hpc.evidence.model import fit_model
from dash_hpc.evidence.rounds import read_network
from dash_hpc.evidence.rows import parts_of
from dash_hpc.evidence.state import PriorEdges, phi

GENES, TRAJECTORIES, EFFECT = 30, 24, 0.6
TIMES = np.linspace(0, 9, 13)
ACTS, HELD = (2, 9, 14), 20


@dataclass(frozen=True)
class Simulated:
    course: TimeCourse
    edges: np.ndarray


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    """Ten regulators and twenty targets, each with two of them.

    In every other trajectory the drug pushes three targets from 2 to 6, and a gene that has one regulator is held.
    """
    rng = np.random.default_rng(5)
    weights = np.zeros((GENES, GENES))
    for target in range(10, GENES):
        weights[rng.choice(10, 2, replace=False), target] = rng.choice([-1.2, 1.2], 2)
    weights[:, HELD] = 1.2 * (np.arange(GENES) == 4)
    values = []
    for number in range(TRAJECTORIES):
        level = rng.random(10)
        treated = number % 2 == 0
        start = np.r_[level, rng.random(GENES - 10)]  # regulators are at rest until the drug comes
        if treated:
            start[HELD] = 0.95

        def slope(t: float, x: np.ndarray, level: np.ndarray = level, treated: bool = treated) -> np.ndarray:
            drive = np.r_[level, 0.5 + phi(x) @ weights[:, 10:]]
            if treated and 2 <= t < 6:
                drive[list(ACTS)] += EFFECT
            move = drive - x
            if treated:
                move[HELD] = 0
            return move

        found = solve_ivp(slope, (0, 9), start, t_eval=TIMES, rtol=1e-7, atol=1e-9, max_step=0.25)
        values.append(found.y.T + rng.normal(0, 0.02, found.y.T.shape))
    return Simulated(TimeCourse.from_arrays(values, [TIMES] * TRAJECTORIES), weights != 0)


def told(course: TimeCourse, targets: tuple[int, ...] | None, held: bool = True) -> TimeCourse:
    treatment = Treatment((Input("drug", 2.0, 6.0, targets),), (HELD,) if held else ())
    return with_design(course, dict.fromkeys(range(0, TRAJECTORIES, 2), treatment))


def log_odds(course: TimeCourse) -> tuple[np.ndarray, Inputs | None]:
    reading = read_network(blocks_of(course), PriorEdges.none(GENES))
    ledger = ledger_of(reading.state)
    found = np.full((GENES, GENES), -np.inf)
    found[ledger.regulator, ledger.target] = ledger.log_odds
    return found, reading.inputs


@pytest.mark.parametrize(("start", "stop"), [(-np.inf, 3.0), (2.0, 5.5), (4.0, np.inf), (-2.0, -1.0), (20.0, 30.0)])
def test_the_share_of_a_course_is_that_of_the_equation(start: float, stop: float) -> None:
    rate, times = 0.7, np.array([0, 1.0, 2.5, 5.0, 5.5, 9.0])
    bends = [t for t in (start, stop) if 0 < t < 9]
    exact = [0.0]
    for a, b in pairwise(times):
        x = exact[-1]
        cuts = sorted({a, b, *[t for t in bends if a < t < b]})
        for left, right in pairwise(cuts):
            drive = 1.0 if start <= left and right <= stop else 0.0
            x = drive + (x - drive) * np.exp(-rate * (right - left))
        exact.append(x)
    assert pulse_course(rate, times, start, stop) == pytest.approx(exact, abs=1e-12)


def test_rows_of_an_input_are_those_of_its_course() -> None:
    inputs = Treatment((Input("a", 1.0, 4.0), Input("b", 2.0, 6.0, (0,))))
    values = np.random.default_rng(0).random((3, 5, 2))
    times = np.array([3.0, 5.0, 7.0, 9.0, 11.0])  # the clock of a trajectory starts with its first value
    course = with_design(TimeCourse.from_arrays(list(values), [times] * 3), {1: inputs})
    blocks = blocks_of(course, unit=2.0)
    parts = parts_of(blocks, 0, 0.8)
    rows = pulse_rows(parts, blocks, ("a", "b"), 0.8)[0]
    assert not rows[:, [0, 2]].any()
    expected = [parts[0].rows.T @ pulse_course(0.8, np.arange(5.0), *on) for on in ((-1.0, 0.5), (-0.5, 1.5))]
    assert rows[:, 1] / HEIGHT == pytest.approx(np.stack(expected, axis=1), abs=1e-12)
    known = Inputs.of_blocks(blocks)
    assert known.names == ("a", "b")
    assert (known.known(0).tolist(), known.known(1).tolist(), known.open.tolist()) == ([1], [], [0])


def test_without_a_design_blocks_have_none() -> None:
    course = TimeCourse.from_arrays([np.eye(3)], [[0, 1, 2]])
    assert not designed(blocks_of(course))


def test_a_held_gene_gives_no_rows_where_it_is_held(simulated: Simulated) -> None:
    blocks = blocks_of(told(simulated.course, None))
    free = free_of_holds(blocks)
    (part,) = parts_of(free, HELD, 1.0)
    assert part.members.tolist() == list(range(1, TRAJECTORIES, 2))
    (other,) = parts_of(free, HELD + 1, 1.0)
    assert len(other.members) == TRAJECTORIES
    flat = [np.zeros((TRAJECTORIES, len(block.grid), GENES)) for block in blocks]
    course = measured_courses(blocks, flat, np.ones(GENES, dtype=bool))[0]
    assert course[::2, blocks[0].at, HELD] == pytest.approx(
        blocks[0].values[::2, :, HELD]
    )  # as a regulator it is known
    assert not course[1::2].any()


def test_the_unknown_targets_of_an_input_are_found_and_its_effect_on_them(simulated: Simulated) -> None:
    odds, inputs = log_odds(told(simulated.course, None))
    assert inputs is not None
    drug = np.array([inputs.log_odds[gene][0] for gene in range(GENES)])
    assert set(np.flatnonzero(drug > 0)) == set(ACTS)
    assert [inputs.effects[gene][0] for gene in ACTS] == pytest.approx([EFFECT] * len(ACTS), abs=0.1)
    assert inputs.share == pytest.approx(len(ACTS) / GENES, abs=0.08)
    assert (odds[simulated.edges] > 0).mean() >= 0.9
    assert (odds[~simulated.edges] > 0).sum() <= 2


def test_what_a_hidden_input_does_is_not_ascribed_to_genes(simulated: Simulated) -> None:
    """Targets that a drug pushes together look as if one drove the other, unless the drug is known of."""
    knowing, _ = log_odds(told(simulated.course, ACTS))
    acting, _ = log_odds(told(simulated.course, ()))  # it is said to act on nothing
    false = ~simulated.edges[:, ACTS]
    assert (knowing[:, ACTS][false] > 0).sum() == 0
    assert (acting[:, ACTS][false] > 0).sum() > 0


def test_a_held_gene_keeps_its_regulators(simulated: Simulated) -> None:
    true = simulated.edges[:, HELD]
    free, _ = log_odds(told(simulated.course, ACTS))
    ignored, _ = log_odds(told(simulated.course, ACTS, held=False))
    assert free[true, HELD] > 2
    assert ignored[true, HELD] < 0


def test_a_run_tells_of_inputs_and_fits_what_is_left_without_them(simulated: Simulated) -> None:
    course = told(simulated.course, None)
    data = DataSet("toy", course, course, prior=Prior.from_arrays(simulated.edges.astype(float), course.genes))
    found = find_network(data, EvidenceOptions())
    assert any("an input of unknown targets acts on" in note for note in found.notes)
    drives = fit_model(found.reading, found.ledger, found.decision).drives
    for gene in ACTS:
        if gene >= 10:
            levels = simulated.course.trajectories[1].values[-1]  # at rest, and no drug
            own = drives[gene]
            assert own(levels[own.regulators]) == pytest.approx(levels[gene], abs=0.1)


def test_one_factor_for_values_that_stand_together() -> None:
    rng = np.random.default_rng(3)
    independent = [rng.chisquare(1, 200) for _ in range(50)]
    assert shared_inflation(independent) == pytest.approx(1.0, abs=0.1)
    assert shared_inflation([6 * scores for scores in independent]) == pytest.approx(6.0, rel=0.1)
    assert shared_inflation([]) == 1.0
