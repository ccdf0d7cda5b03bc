"""Smoothed courses against closed forms and smoothing runs of their own."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from dash_hpc.evidence import smooth as smoothing
from dash_hpc.evidence import tangent
from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.smooth import Smoothing, smooth
from dash_hpc.evidence.state import State, phi, phi_slope
from dash_hpc.evidence.wiring import MOST_LATENTS, Wiring
from tests.evidence.networks import TIMES, block, parts, simulate, state, target

NOISE = 0.025**2
RATES = np.array([0.0, 0.0, 0.0, 1.0, 0.7, 1.4, 1.1, 0.9])


def chain(loop: bool = False) -> State:
    """0, 1, 2 constant; 0, 1 -> 3; 3, 2 -> 4; 4 -> 5; 5, 0 -> 6; 1, 2 -> 7; with a loop 5 -> 3 too."""
    third = {0: 0.9, 1: -0.5, **({5: 0.6} if loop else {})}
    return state(
        8,
        [
            target(3, third),
            target(4, {3: 0.8, 2: 0.4}),
            target(5, {4: -0.7}),
            target(6, {5: 0.5, 0: 0.3}),
            target(7, {1: 0.6, 2: 0.6}),
        ],
        NOISE,
    )


def measured(known: State, n: int = 30, seed: int = 0, feature: object = phi) -> tuple[np.ndarray, np.ndarray]:
    """Values (N, K, G) with noise, and without."""
    rng = np.random.default_rng(seed)
    clean = simulate(known, RATES, rng.uniform(0, 1, (n, known.n_genes)), TIMES, feature)
    return clean + rng.normal(0, np.sqrt(NOISE), clean.shape), clean


def first_courses(blocks: list[Block]) -> list[np.ndarray]:
    """Means over time: a start that is not good."""
    return [np.repeat(np.nanmean(found.values, axis=1)[:, None], len(found.grid), axis=1) for found in blocks]


def run(known: State, blocks: list[Block], rates: np.ndarray = RATES) -> Smoothing:
    return smooth(blocks, parts(blocks, known, rates), known, rates, first_courses(blocks), anchored=False)


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features are the levels themselves."""
    monkeypatch.setattr(tangent, "phi", lambda x: np.array(x))
    monkeypatch.setattr(tangent, "phi_slope", lambda x: np.ones_like(x))


@pytest.mark.parametrize("loop", [False, True], ids=["chain", "loop"])
@pytest.mark.usefixtures("linear")
def test_the_cavity_is_smoothing_without_the_rows(loop: bool) -> None:
    known = chain(loop)
    values, _ = measured(known, feature=lambda x: x)
    blocks = [block(values)]
    whole = run(known, blocks)
    every = np.arange(8)
    for gene in known.targets:
        rows = parts(blocks, known, RATES)
        none = np.empty(0, dtype=np.int64)
        rows[gene] = tuple(replace(part, members=none, z=part.z[:0]) for part in rows[gene])
        alone = smooth(blocks, rows, known, RATES, first_courses(blocks), anchored=False)
        others = np.array([other for other in every if other != gene or gene in (3, 4, 5)])
        (shift,), (before,), (after,) = whole.shift(gene, others), whole.courses, alone.courses  # type: ignore[misc]
        (cavity,), here = whole.cavity(gene, others), before[:, :, others]
        np.testing.assert_allclose(cavity, after[:, :, others], rtol=0, atol=1e-8)
        np.testing.assert_allclose(shift, (cavity - here) * phi_slope(here), rtol=0, atol=1e-12)


@pytest.mark.usefixtures("linear")
def test_one_target_of_one_constant_regulator_is_a_regression() -> None:
    """Levels have a closed form: precision-weighted mean of own values, target's rows and population."""
    known = state(2, [target(1, {0: 0.8}, excess=0.0)], NOISE)
    rng = np.random.default_rng(3)
    clean = simulate(known, np.array([0.0, 1.0]), rng.uniform(0, 1, (40, 2)), TIMES, lambda x: x)
    values = clean + rng.normal(0, np.sqrt(NOISE), clean.shape)
    found = run(known, [block(values)], np.array([0.0, 1.0]))
    mean = values[:, :, 0].mean(1)
    rise = 1 - np.exp(-TIMES)
    start = np.exp(-TIMES) / np.linalg.norm(np.exp(-TIMES))
    gain = np.linalg.norm(rise - start * (start @ rise))
    row = values[:, :, 1] @ (rise - start * (start @ rise)) / gain
    population = mean.var(ddof=1) - NOISE / 5
    weights = np.array([5 / NOISE, (0.8 * gain) ** 2 / NOISE, 1 / population])
    wanted = [mean, (row / gain - 0.5) / 0.8, np.full(40, mean.mean())]
    np.testing.assert_allclose(found.courses[0][:, 0, 0], weights @ wanted / weights.sum(), rtol=0, atol=1e-9)
    uncertainty = (0.8 * gain) ** 2 / (weights[0] + weights[2])  # what is left without the target's own rows
    assert found.drive_uncertainty(1) == pytest.approx(uncertainty, rel=1e-9)


@pytest.mark.parametrize("loop", [False, True], ids=["chain", "loop"])
def test_errors_are_as_large_as_the_posterior_says(loop: bool) -> None:
    known = chain(loop)
    for found in known.targets.values():
        found.excess, found.other_variance = 0.0, NOISE
    values, clean = measured(known, n=400)
    smoothed = run(known, [block(values)])
    (courses,), ((posterior,),) = smoothed.courses, smoothed.posteriors
    latents = [0, 1, 2, 3, 4, 5]
    error = ((courses - clean[:, :1])[:, 0, latents] ** 2).mean(0)
    said = posterior.variance.mean(axis=0)
    np.testing.assert_allclose(error, said, rtol=0.25)  # the variance of 400 squares: 7 %
    assert (np.sqrt(error[:3]) < 0.95 * np.sqrt(NOISE / 5)).all()
    assert error[3:].mean() < NOISE
    late = np.sqrt(((courses[:, -1] - clean[:, -1])[:, 3:] ** 2).mean())
    assert late < 0.6 * np.sqrt(NOISE)


def test_targets_may_be_asked_for_side_by_side() -> None:
    known = chain(loop=True)
    values, _ = measured(known, n=60)
    smoothed, every = run(known, [block(values)]), np.arange(8)
    asked = [3, 4, 5, 6, 7] * 60
    alone = {gene: smoothed.shift(gene, every) for gene in asked[:5]}
    with ThreadPoolExecutor(4) as pool:
        for gene, shift in zip(asked, pool.map(lambda gene: smoothed.shift(gene, every), asked), strict=True):
            np.testing.assert_array_equal(shift[0], alone[gene][0])  # type: ignore[index]


def test_what_is_found_later_leaves_smoothed_courses_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass changes targets one by one and asks for courses on the way, whose derivatives may not be kept."""
    monkeypatch.setattr(smoothing, "_MOVES", 0)
    known, every = chain(), np.arange(8)
    smoothed = run(known, [block(measured(known)[0])])
    (before,) = smoothed.shift(3, every) or ()
    assert np.abs(before[:, :, 7]).max() > 1e-3
    known.targets[7].members, known.targets[7].coefficients = np.array([2, 0]), np.array([0.3, -0.9])
    (after,) = smoothed.shift(3, every) or ()
    np.testing.assert_array_equal(after, before)


def test_blocks_and_missing_values_say_what_whole_data_say() -> None:
    """The same trajectories in two blocks; and values that are missing weigh as if they had not been asked for."""
    known = chain(loop=True)
    values, _ = measured(known)
    (whole,) = run(known, [block(values)]).courses
    two = run(known, [block(values[:12]), block(values[12:])]).courses
    np.testing.assert_allclose(np.concatenate(two), whole, rtol=0, atol=1e-9)
    # Trajectories without the value at 3 h: as missing, and as a block that has no such time.
    gone = values.copy()
    gone[12:, 2] = np.nan
    missing = run(known, [block(gone)]).courses[0]
    kept = np.delete(np.arange(5), 2)
    parted = run(known, [block(values[:12]), block(values[12:][:, kept], TIMES[kept])]).courses
    np.testing.assert_allclose(missing[:12], parted[0], rtol=0, atol=2e-4)  # another grid between 2 h and 7 h
    np.testing.assert_allclose(missing[12:, -1], parted[1][:, -1], rtol=0, atol=2e-4)
    assert np.abs(missing - whole).max() > 1e-3


def test_permuted_genes_give_permuted_courses() -> None:
    known = chain(loop=True)
    values, _ = measured(known)
    (courses,) = run(known, [block(values)]).courses
    order = np.random.default_rng(1).permutation(8)
    place = np.argsort(order)  # where each gene went
    moved = state(
        8,
        [
            replace(found, gene=int(place[gene]), members=place[found.members].astype(np.int64))
            for gene, found in known.targets.items()
        ],
        NOISE,
    )
    (other,) = run(moved, [block(values[:, :, order])], RATES[order]).courses
    np.testing.assert_allclose(other, courses[:, :, order], rtol=0, atol=1e-9)
    (again,) = run(known, [block(values)]).courses
    np.testing.assert_array_equal(again, courses)


def test_products_move_the_drive_as_differences_say() -> None:
    """Derivatives of courses in the latents, squares and loops included, against central differences."""
    known = chain(loop=True)
    third = known.targets[3]
    known.targets[3] = replace(third, pairs=np.array([[0, 5], [1, 1]]), pair_coefficients=np.array([0.7, -0.4]))
    values, _ = measured(known, n=4)
    found = block(values)
    wiring = Wiring.of(known, set(known.targets))
    network = tangent.Network(found, known, wiring, RATES, first_courses([found])[0].transpose(2, 1, 0).copy())
    latents = np.random.default_rng(2).uniform(0.2, 0.8, (4, len(wiring)))
    network.solve(latents)
    moves = {gene: network.moves[gene].copy() for gene in (3, 4, 5)}
    for latent in range(len(wiring)):
        ends = []
        for step in (-1e-5, 1e-5):
            network.solve(latents + step * (np.arange(len(wiring)) == latent))
            ends.append(network.courses.copy())
        for gene, move in moves.items():
            reach = wiring.reach[gene].tolist()
            wanted = (ends[1][gene] - ends[0][gene]) / 2e-5
            got = move[:, reach.index(latent)] if latent in reach else np.zeros_like(wanted)
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)  # the slope of phi has a kink


def test_wiring_orders_ancestors_first_and_knows_loops() -> None:
    known = state(
        8,
        [
            target(3, {0: 1.0, 5: 1.0}),
            target(4, {3: 1.0}),
            target(5, {4: 1.0}),
            target(6, {5: 1.0}),
            target(7, {6: 1.0}),
        ],
        NOISE,
    )
    wiring = Wiring.of(known, set(known.targets))
    assert wiring.order == (((3, 4, 5), True), ((6,), False))
    assert wiring.levels.tolist() == [0]
    assert wiring.starts.tolist() == [3, 4, 5, 6]
    assert wiring.reach[4].tolist() == [0, 1, 2, 3]
    assert wiring.reach[7].tolist() == [0, 1, 2, 3, 4]
    # Without rows of its own nothing says where gene 5 starts.
    parted = Wiring.of(known, set(known.targets) - {5})
    assert parted.order == (((3,), False), ((4,), False), ((6,), False))
    assert parted.reach[6].tolist() == [parted.place[6]]


def test_a_reach_goes_back_whole_steps_while_its_latents_are_few() -> None:
    """0 <- 1 <- 2, 3 <- 4 ... 63: half of the last step has no room, and the step before it is the last."""
    far = dict.fromkeys(range(4, 4 + MOST_LATENTS), 0.1)
    targets = [target(0, {1: 1.0}), target(1, {2: 1.0, 3: 1.0}), target(2, far)]
    wiring = Wiring.of(state(4 + MOST_LATENTS, targets, NOISE), {0, 1, 2})
    assert wiring.reach[0].tolist() == sorted(int(wiring.place[gene]) for gene in (1, 2, 3))
    assert wiring.reach[2].tolist() == sorted(int(wiring.place[gene]) for gene in (2, *far))  # its own always count


@pytest.mark.usefixtures("linear")
def test_a_few_trajectories_at_a_time_and_without_covariances_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    known = chain(loop=True)
    values, _ = measured(known, feature=lambda x: x)
    values[3:9, 2, 4] = np.nan
    blocks = [block(values[:20]), block(values[20:])]
    whole = run(known, blocks)
    asked = {gene: np.array([0, 4, 6, 7]) for gene in known.targets}
    for name, size in (("_AT_ONCE", 20_000), ("_MOVES", 5_000), ("_SPREADS", 0)):
        monkeypatch.setattr(smoothing, name, size)
    rows = parts(blocks, known, RATES)
    other = smooth(blocks, rows, known, RATES, first_courses(blocks), anchored=False, asked=asked)
    assert [len(found) for found in whole.posteriors] == [1, 1]
    assert min(len(found) for found in other.posteriors) > 1
    for one, two in zip(whole.courses, other.courses, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-9)
    for gene in known.targets:
        pairs = zip(whole.shift(gene, asked[gene]), other.shift(gene, asked[gene]), strict=True)  # type: ignore[arg-type]
        for one, two in pairs:
            np.testing.assert_allclose(two, one, rtol=0, atol=1e-9)
        assert other.drive_uncertainty(gene) == pytest.approx(whole.drive_uncertainty(gene), rel=1e-9)


def test_memory_grows_with_regulators_and_not_with_genes_times_latents() -> None:
    """100 regulators that feed one another: the course of each of 250 genes depends on every start."""
    regulators, genes, n = 100, 250, 20
    rng = np.random.default_rng(0)
    targets = [
        target(gene, {int(other): 0.02 for other in rng.choice(regulators, 4, replace=False) if other != gene})
        for gene in range(genes)
    ]
    known = state(genes, targets, NOISE)
    blocks = [block(rng.uniform(0.3, 0.7, (n, len(TIMES), genes)))]
    rates = np.ones(genes)
    rows, first = parts(blocks, known, rates), first_courses(blocks)
    tracemalloc.start()
    smoothed = smooth(blocks, rows, known, rates, first)
    for gene in range(0, genes, 30):
        smoothed.shift(gene, np.arange(0, genes, 7))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    everything = 8 * genes * regulators * n * len(blocks[0].grid)  # derivatives of every course in every latent
    assert peak < 0.7 * everything


def test_a_network_without_an_edge_has_its_genes_relax() -> None:
    """No gene regulates: nothing is unknown, and every course is the curve that fits the gene's own data."""
    known = state(3, [target(1, {}), target(2, {}, offset=0.2)], NOISE)
    rates = np.array([0.0, 1.0, 0.5])
    clean = simulate(known, rates, np.random.default_rng(0).uniform(0, 1, (6, 3)), TIMES)
    smoothed = run(known, [block(clean)], rates)
    np.testing.assert_allclose(smoothed.courses[0][:, -1, 1:], clean[:, -1, 1:], rtol=0, atol=1e-9)
    assert smoothed.shift(1, np.arange(3)) is None
    assert smoothed.drive_uncertainty(1) == 0.0
