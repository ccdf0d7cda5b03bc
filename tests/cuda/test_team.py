"""Runs that all blocks of a launch work on together, forced and by size."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.ops import SolverOptions, solve_arrays
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.solver import SolveTask
from dash_hpc.rng import stream
from tests.cuda import problems
from tests.cuda.problems import TIGHT

#: Genes, hidden units, pairs around the edges of warps (32 genes), quads (8 genes), panels (4 units), tiles (16 pairs).
SIZES = [(1, 1, 1), (15, 7, 3), (31, 41, 5), (33, 1, 16), (33, 9, 17), (31, 7, 33), (351, 41, 16)]


@pytest.fixture
def team(gpu):
    """All multiprocessors on one run; in the emulation two blocks."""
    return dataclasses.replace(gpu, team=True)


@pytest.mark.parametrize("density", [1.0, 0.08, "mixed"])
@pytest.mark.parametrize("size", SIZES)
def test_train_epoch_equals_the_cpu(team, size, density):
    G, m, n = size
    state = problems.model(G, m, density)
    work = problems.task(state, *problems.pairs(G, n), batch=17, solver=SolverOptions())
    wanted_state, wanted = problems.on_cpu(work)
    [found] = team.train_many([work])
    assert (found.status, found.evaluations, wanted.status) == (0, wanted.evaluations, 0)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert problems.difference(work.state, wanted_state) < 1e-7


def test_ends_that_were_not_observed_are_left_out_as_on_the_cpu(team):
    y0, y1, dt = problems.pairs(33, 40)
    y1[np.random.default_rng(0).random(y1.shape) < 0.2] = np.nan
    work = problems.task(problems.model(33, 9, 0.5), y0, y1, dt, batch=17, solver=SolverOptions())
    wanted_state, wanted = problems.on_cpu(work)
    [found] = team.train_many([work])
    assert (found.status, wanted.status) == (0, 0)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert problems.difference(work.state, wanted_state) < 1e-7


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize("density", [1.0, 0.08, "mixed"])
@pytest.mark.parametrize("size", [(1, 1, 3), (33, 9, 17), (130, 20, 5)])
def test_solve_equals_the_cpu(team, size, density, method):
    """As do statuses and counts, with samples that fail among those that do not."""
    G, m, n = size
    weights = problems.model(G, m, density).weights
    y0, _, dt = problems.pairs(G, n)
    y0[1, G // 2] = np.nan
    dt[2] = 0.0
    for solver in (dataclasses.replace(TIGHT, method=method), SolverOptions(method=method, step=0.02, max_steps=20)):
        wanted = solve_arrays(weights, y0, dt, solver=solver)
        [found] = team.solve_many([SolveTask(weights, y0, dt, solver)])
        for name in ("status", "steps", "rejected", "evaluations"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
        np.testing.assert_allclose(found.y1[found.ok], wanted.y1[wanted.ok], rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.step_sizes, wanted.step_sizes, rtol=1e-3, atol=0)
    assert wanted.status.any()


@pytest.mark.parametrize(
    ("size", "density", "multipliers", "method"),
    [
        ((1, 1, 4, 5), 1.0, True, "dopri5"),
        ((33, 9, 4, 130), "mixed", False, "dopri5"),
        ((64, 9, 5, 2081), 1.0, True, "rk4"),
    ],
)
def test_the_prior_loss_equals_the_cpu(team, size, density, multipliers, method):
    G, m, n, points = size
    rng = stream(0, "test-cuda-prior", G)
    motif = csr_array(np.where(rng.random((G, G)) < 0.1, rng.choice([-1.0, 1.0], size=(G, G)), 0.0))
    prior = PriorLoss(
        motif, n_points=points, low=-0.5, high=0.5, rng=rng, dtype=np.dtype("f8"), multipliers=multipliers
    )
    solver = SolverOptions(method=method, step=0.5)  # the slots of a chunk are full after 2,048 points
    work = problems.task(problems.model(G, m, density), *problems.pairs(G, n), batch=3, solver=solver)
    work = dataclasses.replace(work, tau=0.7, prior=prior)
    wanted_state, wanted = problems.on_cpu(work)
    [found] = team.train_many([work])
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert problems.difference(work.state, wanted_state) < 1e-7


def test_a_compressed_model_with_more_units_than_genes_equals_the_cpu(team):
    work = problems.task(problems.compressed(problems.model(40, 90, 0.03)), *problems.pairs(40, 7), batch=7)
    wanted_state, wanted = problems.on_cpu(work)
    [found] = team.train_many([work])
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert problems.difference(work.state, wanted_state) < 1e-7


def test_a_larger_model_follows_the_cpu(team):
    """700 x 64 in float32: sums over genes in several parts, several panels."""
    data = problems.pairs(700, 16, np.float32)
    work = problems.task(problems.model(700, 64, 1.0, np.float32), *data, batch=16, solver=SolverOptions())
    wanted_state, wanted = problems.on_cpu(work)
    [found] = team.train_many([work])
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-5)
    assert problems.difference(work.state, wanted_state) < 1e-2


def test_long_solves_outgrow_the_tape(team):
    """Beyond 256 iterations of slots states are kept; a tape that is full is made larger and the batch done again."""
    work = problems.task(
        problems.model(33, 5), *problems.pairs(33, 5), batch=5, solver=SolverOptions(method="rk4", step=0.01)
    )
    again = copy.deepcopy(work)
    wanted_state, wanted = problems.on_cpu(work)
    [found] = team.train_many([work])
    assert found.evaluations == wanted.evaluations > 5 * 256
    assert problems.difference(work.state, wanted_state) < 1e-7
    [other] = dataclasses.replace(team, state_limit=1).train_many([again])
    assert problems.same_bits(work.state, again.state)
    assert other.evaluations == found.evaluations


def test_a_failed_batch_leaves_the_state_before_it(team):
    y0, y1, dt = problems.pairs(40, 7)
    y0[1, 3] = np.nan
    work = problems.task(problems.model(40, 6), y0, y1, dt, batch=2)
    work = dataclasses.replace(work, batch_index=np.array([0, 3, 1, 4, 6, 2, 5]))
    wanted_state, wanted = problems.on_cpu(work)
    [found] = team.train_many([work])
    assert (found.status, found.reason, work.state.step) == (3, wanted.reason, 1)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert problems.difference(work.state, wanted_state) < 1e-7


def test_bits_depend_neither_on_blocks_nor_on_threads_nor_on_their_order(emulation):
    """Blocks take turns in a shuffled order: what one reads before another has written it would show."""
    team = dataclasses.replace(emulation, team=True)
    solver = SolverOptions(rtol=1e-6, atol=1e-8)
    rng = stream(0, "test-cuda-prior", 65)
    motif = csr_array(np.where(rng.random((65, 65)) < 0.1, 1.0, 0.0))
    prior = PriorLoss(motif, n_points=40, low=-0.5, high=0.5, rng=rng, dtype=np.dtype("f4"), multipliers=True)
    states = []
    for blocks, threads, seed in [(1, 0, 0), (2, 0, 1), (3, 96, 2), (5, 32, 3), (2, 512, 4)]:
        emulation.module.emulate(blocks=blocks, threads=threads, seed=seed)
        works = [
            problems.task(problems.model(65, 9, d, np.float32), *problems.pairs(65, 19, np.float32), 17, solver=solver)
            for d in (1.0, "mixed", 0.1)
        ]
        works[0] = dataclasses.replace(works[0], tau=0.5, prior=prior)
        team.train_many(works)
        states.append([work.state for work in works])
    assert all(problems.same_bits(a, b) for other in states[1:] for a, b in zip(states[0], other, strict=True))


def test_a_run_has_the_bits_it_has_alone(team):
    """Also when the launch before it, in the same memory, was that of blocks."""
    works = [
        problems.task(problems.model(33, 5, density, seed=k), *problems.pairs(33, 6))
        for k, density in enumerate((1.0, 0.1))
    ]
    alone = copy.deepcopy(works)
    team.train_many(works)
    for work, single in zip(works, alone, strict=True):
        dataclasses.replace(team, team=False).train_many([copy.deepcopy(single)])
        team.train_many([single])
        assert problems.same_bits(work.state, single.state)


def test_size_chooses_and_blocks_stand_in_where_there_are_no_teams(emulation):
    weights = problems.model(4096, 128, 1.0, np.float32).weights
    for name in ("W_sums", "W_prods"):  # 8 MiB of weights, all dense
        weights[name][:] = stream(0, "test-cuda-team", name).normal(0, 0.02, weights[name].shape)
    y0, _, dt = problems.pairs(4096, 2, np.float32)

    def ends(**choice):
        task = SolveTask(weights, y0, dt, SolverOptions(method="rk4", step=9.0))
        return dataclasses.replace(emulation, **choice).solve_many([task])[0].y1

    chosen, team, block = ends(), ends(team=True), ends(team=False)
    np.testing.assert_array_equal(chosen, team)
    assert (chosen != block).any()
    emulation.module.emulate(cooperative=False)
    np.testing.assert_array_equal(ends(team=True), block)
    emulation.module.emulate()
    small = SolveTask(problems.model(350, 40, 1.0, np.float32).weights, y0[:, :350].copy(), dt, SolverOptions())
    found, wanted = emulation.solve_many([small])[0], dataclasses.replace(emulation, team=False).solve_many([small])[0]
    np.testing.assert_array_equal(found.y1, wanted.y1)
