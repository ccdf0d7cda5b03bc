"""One pass over all targets, on networks whose courses are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from dash_hpc.data import TimeCourse
from dash_hpc.evidence.blocks import Block, blocks_of
from dash_hpc.evidence.columns import Features, given_rows
from dash_hpc.evidence.noise import estimate_noise
from dash_hpc.evidence.relaxation import relax
from dash_hpc.evidence.rows import drive_weights, parts_of, row_basis
from dash_hpc.evidence.select import select
from dash_hpc.evidence.state import Candidates, Plain, PriorEdges, State, Target, phi
from dash_hpc.ops.drive_search import columns_of, products_of

INPUTS, GENES, NOISE = 6, 16, 0.004
#: Regulators of genes 6 to 15 and their coefficients.
DRIVES = {j: {j % 6: 0.8, (j * j + 1) % 6: -0.6} for j in range(INPUTS, GENES)}


@dataclass(frozen=True)
class Given:
    blocks: tuple[Block, ...]
    truth: np.ndarray


def measured(times: list[np.ndarray], missing: float = 0.0, seed: int = 0) -> Given:
    """Inputs stay at random levels; the others relax at rate 1 to a drive that is a sum of features of inputs."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((GENES, GENES))
    for j, drive in DRIVES.items():
        for i, effect in drive.items():
            truth[i, j] = effect
    values = []
    for clock in times:
        start = rng.random(GENES)
        level = 0.5 + phi(start) @ truth
        fall = np.exp(-(clock[:, None] - clock[0]))
        exact = np.where(np.arange(GENES) < INPUTS, start, level + (start - level) * fall)
        seen = exact + NOISE * rng.standard_normal(exact.shape)
        seen[rng.random(exact.shape) < missing] = np.nan
        values.append(seen)
    return Given(blocks_of(TimeCourse.from_arrays(values, times)), truth)


def gathered(given: Given, prior: np.ndarray, *, passes: int = 2) -> State:
    noise = estimate_noise(given.blocks)
    assert list(np.flatnonzero(noise.constant)) == [i for i in range(GENES) if not given.truth[:, i].any()]
    first = relax(given.blocks, noise)
    edges = PriorEdges.from_matrix(prior, signed=True)
    targets = {}
    for j in np.flatnonzero(~noise.constant).tolist():
        others = np.delete(np.arange(GENES), j)
        targets[j] = Target(j, Candidates.unseen(others, *edges.into(j)), 4 * noise.variance, noise.variance)
    state = State(edges, noise.variance, noise.constant, targets, np.zeros(GENES))
    parts = {j: parts_of(given.blocks, j, float(first.rates[j])) for j in targets}
    for k in range(passes):
        select(state, parts, Plain(first.courses), first=True, products=k > 0)
    return state


def found(state: State) -> np.ndarray:
    network = np.zeros((GENES, GENES))
    for j, target in state.targets.items():
        network[target.members, j] = np.sign(target.coefficients)
    return network


EVEN = [np.array([0.0, 1, 2, 4, 7])] * 40
UNEVEN = [np.array(clock) for clock in [[0.0, 1, 2, 4, 7], [0, 0.5, 3, 6], [0.0, 2, 9]] for _ in range(16)]


@pytest.mark.parametrize(("times", "missing"), [(EVEN, 0.0), (UNEVEN, 0.0), (EVEN, 0.1)])
@pytest.mark.parametrize("known", ["all", "none", "wrong"])
def test_finds_the_network(times: list[np.ndarray], missing: float, known: str) -> None:
    given = measured(times, missing)
    prior = np.sign(given.truth) if known != "none" else np.zeros((GENES, GENES))
    if known == "wrong":  # three edges moved
        for j in (7, 9, 12):
            old = min(DRIVES[j])
            new = next(i for i in range(INPUTS) if i not in DRIVES[j])
            prior[new, j], prior[old, j] = prior[old, j], 0
    state = gathered(given, prior)
    network, truth = found(state), np.sign(given.truth)
    assert np.array_equal(network[truth != 0], truth[truth != 0])
    assert not network[(truth == 0) & (prior == 0)].any()
    for j, target in state.targets.items():
        assert np.allclose(target.coefficients, given.truth[target.members, j], atol=0.1)
        edge = target.candidates
        true = given.truth[edge.genes, j] != 0
        assert (edge.log_bf[true] > 20).all()
        assert (edge.log_bf[edge.listed & ~true] < -1.5).all()


def test_order_of_genes_does_not_matter() -> None:
    given = measured(EVEN)
    order = np.random.default_rng(3).permutation(GENES)
    turned = tuple(Block(b.trajectories, b.times, b.grid, b.at, b.values[:, :, order]) for b in given.blocks)
    one = gathered(given, np.sign(given.truth))
    back = Given(turned, given.truth[np.ix_(order, order)])
    other = gathered(back, np.sign(back.truth))
    for j, target in other.targets.items():
        same = one.targets[int(order[j])].candidates
        place = np.searchsorted(same.genes, order[target.candidates.genes])
        assert np.allclose(target.candidates.log_odds, same.log_odds[place], rtol=1e-9, atol=1e-6)


def test_a_target_without_rows_keeps_its_prior() -> None:
    given = measured(EVEN)
    state = gathered(given, np.sign(given.truth), passes=1)
    edge = state.targets[8].candidates
    parts = {j: parts_of(given.blocks, j, 1.0) for j in state.targets} | {8: ()}
    edge.log_bf[:] = 0
    select(state, parts, Plain(relax(given.blocks, estimate_noise(given.blocks)).courses), first=True, products=True)
    assert not edge.log_bf.any()
    assert np.array_equal(edge.log_odds, edge.prior)


def test_columns_are_integrals_of_features() -> None:
    """Columns of two genes and of their product, by the definition; in several parts, with missing values."""
    given = measured(UNEVEN, missing=0.08)
    rng = np.random.default_rng(1)
    courses = [rng.random((len(block.trajectories), len(block.grid), GENES)) for block in given.blocks]
    features, parts = Features.of_courses(courses), parts_of(given.blocks, 8, 0.7)
    genes, pairs = np.array([2, 9]), np.array([[2, 9], [9, 9]])
    assert any(part.centred for part in parts)
    assert not all(part.centred for part in parts)
    asked = given_rows(parts, features)
    drive, others = columns_of(asked, genes)
    product_drive, product_others = products_of(asked, pairs)
    shifted = columns_of(given_rows(parts, features, [0.1 * course[:, :, genes] for course in courses]), genes)
    a = b = 0
    for part in parts:
        block, course = given.blocks[part.block], courses[part.block]
        _, basis = row_basis(0.7, block.times[part.points])
        across = basis.T @ drive_weights(0.7, block.grid, block.at[part.points])
        values = [phi(course[part.members][:, :, i]) - features.centre[i] for i in (2, 9)]
        functions = [*values, values[0] * values[1], values[1] ** 2]
        functions += [values[k] + 0.1 * course[part.members][:, :, i] for k, i in enumerate((2, 9))]
        n, k = len(part.members), len(part.points)
        every = np.stack([function @ across.T for function in functions], axis=-1)
        if part.centred:
            every[:, 1:] -= every[:, 1:].mean(axis=0)
        in_a, in_b = every[:, 0], every[:, 1:].transpose(1, 0, 2).reshape(n * (k - 2), 6)
        for columns, right in ((drive, slice(0, 2)), (product_drive, slice(2, 4)), (shifted[0], slice(4, 6))):
            assert np.allclose(columns[a : a + n], in_a[:, right], atol=1e-12)
        for columns, right in ((others, slice(0, 2)), (product_others, slice(2, 4)), (shifted[1], slice(4, 6))):
            assert np.allclose(columns[b : b + len(in_b)], in_b[:, right], atol=1e-12)
        a, b = a + n, b + len(in_b)
    assert (len(drive), len(others)) == (a, b)


def wandering(trajectories: int, seed: int) -> tuple[Block, ...]:
    """40 genes that have nothing to do with each other: smooth random courses, seen 60 times with little noise."""
    rng = np.random.default_rng(seed)
    clock = np.linspace(0.0, 9.0, 60)
    rhythm = np.stack([np.ones_like(clock), clock / 9, *(np.sin(k * clock / 3 + k) for k in range(1, 11))])
    values = 0.5 + rng.normal(size=(trajectories, 40, 12)) @ rhythm / 12
    values = values.transpose(0, 2, 1) + 0.005 * rng.standard_normal((trajectories, 60, 40))
    return blocks_of(TimeCourse.from_arrays(values, [clock] * trajectories))


@pytest.mark.parametrize("trajectories", [1, 3])
def test_few_smooth_courses_do_not_count_as_evidence(trajectories: int) -> None:
    """Sixty points of one course are not sixty measurements of who drives whom: the prior decides."""
    new = supported = 0
    for seed in range(3):
        blocks = wandering(trajectories, seed)
        noise, prior = estimate_noise(blocks), np.zeros((40, 40))
        rng = np.random.default_rng((1, seed))
        for j in range(40):
            prior[rng.choice(np.delete(np.arange(40), j), 2, replace=False), j] = 1
        first, edges = relax(blocks, noise), PriorEdges.from_matrix(prior, signed=False)
        targets = {}
        for j in range(40):
            others = np.delete(np.arange(40), j)
            targets[j] = Target(j, Candidates.unseen(others, *edges.into(j)), 4 * noise.variance, noise.variance)
        state = State(edges, noise.variance, noise.constant, targets, np.zeros(40))
        parts = {j: parts_of(blocks, j, float(first.rates[j])) for j in targets}
        for k in range(2):
            select(state, parts, Plain(first.courses), first=True, products=k > 0)
        for target in targets.values():
            edge = target.candidates
            new += int((edge.log_odds[~edge.listed] > 0).sum())
            supported += int((edge.log_bf > np.log(4)).sum())
    assert new <= 3  # of 4,440 pairs
    assert supported <= 10


def test_a_model_that_is_slightly_wrong_admits_no_more() -> None:
    """Without noise what the model misses is all there is; it must not be taken for the work of further regulators."""
    rng = np.random.default_rng(5)
    clock = np.array([0.0, 1, 2, 4, 7])
    values = []
    for _ in range(40):
        start = rng.random(GENES)
        drive = np.zeros(GENES)
        for j, regulators in DRIVES.items():
            a, c = sorted(regulators)
            drive[j] = 0.2 + 0.6 * start[a] ** 2 / (0.2 + start[a] ** 2) * (1 - 0.7 * start[c])
        level = np.where(np.arange(GENES) < INPUTS, start, drive)
        values.append(level + (start - level) * np.exp(-clock[:, None]))
    given = measured(EVEN)
    blocks = blocks_of(TimeCourse.from_arrays(values, [clock] * 40))
    state = gathered(Given(blocks, given.truth), np.zeros((GENES, GENES)), passes=2)
    network, truth = found(state) != 0, given.truth != 0
    assert network[truth].all()
    assert network[~truth].sum() <= 2
