"""Events of many runs on the CPU: the operators' bits, failures that stay their own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse import random as sparse_random

from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.ops import ScoreJob, ScorePrior, SelectJob, dash_scores, score_pack, select, select_pack

M, G = 6, 20


def score_job(seed: int, spoilt: bool = False) -> ScoreJob:
    rng = np.random.default_rng(seed)
    names = {"W_sums": (M, G), "W_prods": (M, G), "U_sums": (G, M), "U_prods": (G, M), "v": (G,)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in names.items()}
    omega = {branch: rng.random((M, G)) for branch in ("sums", "prods")}
    if seed % 2:
        omega["prods"][3] = omega["prods"][1]  # Cholesky does not serve
    if spoilt:
        omega["prods"][0, 0] = np.nan
    C, P = (csr_array(sparse_random(G, G, 0.2, format="csr", random_state=rng)) for _ in range(2))
    return ScoreJob(weights, omega, ScorePrior(C, P), 0.3, 0.2, ("paper", "rank")[seed % 2], 0.25)


@pytest.mark.parametrize("threads", [1, 3])
def test_packed_scores_have_the_operators_bits(threads: int) -> None:
    jobs = [score_job(seed) for seed in range(6)]
    for job, found in zip(jobs, score_pack(jobs, threads=threads), strict=True):
        assert not isinstance(found, RunFailed)
        for branch in ("sums", "prods"):
            wanted = dash_scores(
                job.weights[f"W_{branch}"], job.weights[f"U_{branch}"], job.weights["v"], job.omega[branch],
                job.prior.C, job.prior.P, branch=branch, lambda_ppi=0.3, lambda_motif=0.2,
                score_norm=job.score_norm, omega_damping=0.25,
            )  # fmt: skip
            assert found[branch].omega.tobytes() == wanted.omega.tobytes()
            assert found[branch].psi.tobytes() == wanted.psi.tobytes()
            assert found[branch].omega_diagnostics == wanted.omega_diagnostics


@pytest.mark.parametrize("threads", [1, 3])
def test_a_run_that_fails_leaves_the_others_alone(threads: int) -> None:
    failed, found = score_pack([score_job(0, spoilt=True), score_job(0)], threads=threads)
    assert isinstance(failed, RunFailed)
    assert "previous event" in str(failed)
    assert not isinstance(found, RunFailed)
    masks = {"W_sums": np.ones((M, G), bool)}
    bad = SelectJob({"W_sums": np.full((M, G), np.nan)}, masks, {"W_sums": 1})
    good = SelectJob({"W_sums": np.arange(M * G).reshape(M, G) % 7 * 1.0}, masks, {"W_sums": 30})
    failed, chosen = select_pack([bad, good], threads=threads)
    assert isinstance(failed, RunFailed)
    assert not isinstance(chosen, RunFailed)
    mask, threshold = select(good.scores["W_sums"], masks["W_sums"], 30)
    np.testing.assert_array_equal(chosen["W_sums"][0], mask)
    assert chosen["W_sums"][1] == threshold
    assert masks["W_sums"].all()


def test_wrong_jobs_are_refused() -> None:
    job = score_job(0)
    wrong = ScoreJob(job.weights, {branch: np.ones((M, G - 1)) for branch in ("sums", "prods")}, job.prior, 0.3, 0.2)
    with pytest.raises(UsageError, match="omega of sums must be"):
        score_pack([job, wrong])
    with pytest.raises(UsageError, match="needs the interactions"):
        score_pack([ScoreJob(job.weights, job.omega, ScorePrior(), 0.3, 0.0)])


def test_runs_with_equal_priors_share_them() -> None:
    prior = score_job(0).prior
    assert prior.C is not None
    same, other = ScorePrior(prior.C.copy(), prior.P), ScorePrior(prior.P, prior.C)
    assert prior.digest == same.digest != other.digest
    assert ScorePrior(prior.C).digest != ScorePrior(None, prior.C.T.tocsr()).digest
    pointer, index, value = prior.native_form[0]
    np.testing.assert_array_equal(csr_array((value, index, pointer), (G, G)).toarray(), prior.C.toarray().T)
