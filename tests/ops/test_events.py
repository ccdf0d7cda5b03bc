"""Events of many runs on the CPU: the operators' bits, failures that stay their own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse import random as sparse_random

from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.ops import ScorePrior, ScoreTask, SelectTask, dash_scores, score_many, select, select_many

M, G = 6, 20


def score_task(seed: int, spoilt: bool = False) -> ScoreTask:
    rng = np.random.default_rng(seed)
    names = {"W_sums": (M, G), "W_prods": (M, G), "U_sums": (G, M), "U_prods": (G, M), "v": (G,)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in names.items()}
    omega = {branch: rng.random((M, G)) for branch in ("sums", "prods")}
    if seed % 2:
        omega["prods"][3] = omega["prods"][1]  # Cholesky does not serve
    if spoilt:
        omega["prods"][0, 0] = np.nan
    C, P = (csr_array(sparse_random(G, G, 0.2, format="csr", random_state=rng)) for _ in range(2))
    return ScoreTask(weights, omega, ScorePrior(C, P), 0.3, 0.2, ("paper", "rank")[seed % 2], 0.25)


@pytest.mark.parametrize("threads", [1, 3])
def test_packed_scores_have_the_operators_bits(threads: int) -> None:
    tasks = [score_task(seed) for seed in range(6)]
    for task, found in zip(tasks, score_many(tasks, threads=threads), strict=True):
        assert not isinstance(found, RunFailed)
        for branch in ("sums", "prods"):
            wanted = dash_scores(
                task.weights[f"W_{branch}"], task.weights[f"U_{branch}"], task.weights["v"], task.omega[branch],
                task.prior.C, task.prior.P, branch=branch, lambda_ppi=0.3, lambda_motif=0.2,
                score_norm=task.score_norm, omega_damping=0.25,
            )  # fmt: skip
            assert found[branch].omega.tobytes() == wanted.omega.tobytes()
            assert found[branch].psi.tobytes() == wanted.psi.tobytes()
            assert found[branch].omega_diagnostics == wanted.omega_diagnostics


@pytest.mark.parametrize("threads", [1, 3])
def test_a_run_that_fails_leaves_the_others_alone(threads: int) -> None:
    failed, found = score_many([score_task(0, spoilt=True), score_task(0)], threads=threads)
    assert isinstance(failed, RunFailed)
    assert "previous event" in str(failed)
    assert not isinstance(found, RunFailed)
    masks = {"W_sums": np.ones((M, G), bool)}
    bad = SelectTask({"W_sums": np.full((M, G), np.nan)}, masks, {"W_sums": 1})
    good = SelectTask({"W_sums": np.arange(M * G).reshape(M, G) % 7 * 1.0}, masks, {"W_sums": 30})
    failed, chosen = select_many([bad, good], threads=threads)
    assert isinstance(failed, RunFailed)
    assert not isinstance(chosen, RunFailed)
    mask, threshold = select(good.scores["W_sums"], masks["W_sums"], 30)
    np.testing.assert_array_equal(chosen["W_sums"][0], mask)
    assert chosen["W_sums"][1] == threshold
    assert masks["W_sums"].all()


def test_wrong_tasks_are_refused() -> None:
    task = score_task(0)
    wrong = ScoreTask(task.weights, {branch: np.ones((M, G - 1)) for branch in ("sums", "prods")}, task.prior, 0.3, 0.2)
    with pytest.raises(UsageError, match="omega of sums must be"):
        score_many([task, wrong])
    with pytest.raises(UsageError, match="needs the interactions"):
        score_many([ScoreTask(task.weights, task.omega, ScorePrior(), 0.3, 0.0)])


def test_runs_with_equal_priors_share_them() -> None:
    prior = score_task(0).prior
    assert prior.C is not None
    same, other = ScorePrior(prior.C.copy(), prior.P), ScorePrior(prior.P, prior.C)
    assert prior.digest == same.digest != other.digest
    assert ScorePrior(prior.C).digest != ScorePrior(None, prior.C.T.tocsr()).digest
