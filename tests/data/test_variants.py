"""Wrong priors: what each keeps of the prior and what it takes away, by counting; and the keys of a study for them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.data import Prior, build
from dash_hpc.data.variants import VARIANTS, flipped, margins, permuted, reversed_edges, rewired, shuffled
from dash_hpc.errors import DataError, StudyError, UsageError
from dash_hpc.study import parse_study, plan

RNG = np.random.default_rng(5)
DENSE = np.where(RNG.random((12, 12)) < 0.2, RNG.choice([-1.0, 1.0], (12, 12)), 0.0)
np.fill_diagonal(DENSE, 0.0)
PRIOR = Prior.from_arrays(DENSE, ppi=(RNG.random((12, 12)) < 0.1).astype(float))


def test_rewired_edges_keep_all_degrees_and_are_no_longer_the_same():
    new = shuffled(PRIOR, np.random.default_rng(1)).motif.toarray()
    for axis in (0, 1):
        np.testing.assert_array_equal((new != 0).sum(axis), (DENSE != 0).sum(axis))
    assert (new != 0).sum() == (DENSE != 0).sum()  # no edge fell on another
    assert not new.diagonal().any()
    assert 0 < ((new != 0) & (DENSE != 0)).sum() < 0.6 * (DENSE != 0).sum()
    assert sorted(new[new != 0]) == sorted(DENSE[DENSE != 0])


def test_rewiring_reaches_every_network_of_these_degrees_equally_often():
    """All 3 × 3 matrices with one edge in each row and column, self-pairs allowed, are the six permutations."""
    regulator, target = np.arange(3), np.array([0, 2, 1])
    rng, drawn = np.random.default_rng(0), 6000
    found = dict.fromkeys(permutations(range(3)), 0)
    for _ in range(drawn):
        found[tuple(rewired(regulator, target, 3, rng).tolist())] += 1
    # The swaps are transpositions: a chain of a fixed number of them would reach half the permutations only, but
    # trials that draw the same edge twice change nothing.
    assert all(abs(count / drawn - 1 / 6) < 0.025 for count in found.values())
    assert rewired(np.array([4]), np.array([2]), 5, rng).tolist() == [2]


def test_permuted_names_keep_the_shape_alone_and_move_interactions_with_them():
    rng = np.random.default_rng(3)
    order = np.random.default_rng(3).permutation(12)
    new = permuted(PRIOR, rng)
    for i in range(12):
        for j in range(12):
            assert new.motif[i, j] == PRIOR.motif[order[i], order[j]]
            assert new.ppi[i, j] == PRIOR.ppi[order[i], order[j]]


def test_margins_are_all_regulators_with_all_targets():
    new = margins(PRIOR)
    wanted = np.outer((DENSE != 0).any(1), (DENSE != 0).any(0)) & ~np.eye(12, dtype=bool)
    np.testing.assert_array_equal(new.motif.toarray(), wanted.astype(float))
    assert not new.signed


def test_reversed_and_flipped_edges():
    np.testing.assert_array_equal(reversed_edges(PRIOR).motif.toarray(), DENSE.T)
    for share in (0.0, 0.3, 1.0):
        new = flipped(PRIOR, share, np.random.default_rng(2)).motif.toarray()
        np.testing.assert_array_equal(np.abs(new), np.abs(DENSE))
        assert (new != DENSE).sum() == round(share * np.count_nonzero(DENSE))
    with pytest.raises(UsageError, match=r"must be in \[0, 1\], got 1.5"):
        flipped(PRIOR, 1.5, np.random.default_rng(2))


SPEC = {
    "kind": "simulate", "genes": 20, "regulators": 6, "edges": 30, "trajectories": 4, "test_trajectories": 0,
    "times": [0.0, 1.0, 2.0], "seed": 3, "expression_noise": 0.0, "prior_noise": 0.0, "validation": 0.25,
}  # fmt: skip


def _built(tmp_path, **keys):
    return build({**SPEC, **keys}, seed=0, base=tmp_path)


def test_a_study_can_withhold_flip_and_replace(tmp_path):
    plain = _built(tmp_path).prior.motif
    less = _built(tmp_path, prior_withheld=0.4).prior.motif
    assert less.nnz == plain.nnz - round(0.4 * plain.nnz)
    assert not ((less != 0).astype(int) - (plain != 0).astype(int) > 0).nnz
    turned = _built(tmp_path, prior_flipped=0.2)
    assert ((turned.prior.motif != plain).astype(int)).sum() == round(0.2 * plain.nnz)
    assert any("signs of 6 of 30 edges flipped" in note for note in turned.notes)
    for name, (make, _) in VARIANTS.items():
        found = _built(tmp_path, prior_variant=name)
        assert any(f"prior_variant = {name}" in note for note in found.notes)
        if name in ("margins", "reversed"):
            assert (found.prior.motif != make(Prior.from_arrays(plain)).motif).nnz == 0
        assert (found.truth != plain).nnz == 0  # what is judged by stays
    again = [_built(tmp_path, prior_variant="shuffled", prior_withheld=0.1).prior.motif for _ in range(2)]
    assert (again[0] != again[1]).nnz == 0
    with pytest.raises(DataError, match=r"data\.prior_variant 'other' is not one of given, shuffled"):
        _built(tmp_path, prior_variant="other")


def _plan(keys: str):
    return plan(parse_study(f'[data]\nkind = "simulate"\n{keys}\n[[strategy]]\nname = "bioprune"\n'), "")


def test_keys_at_their_default_are_no_part_of_a_run_and_others_are_levels():
    plain, said = _plan(""), _plan('prior_withheld = 0.0\nprior_flipped = 0.0\nprior_variant = "given"')
    assert [run.id for run in plain] == [run.id for run in said]
    assert not set(plain[0].spec["data"]) & {"prior_withheld", "prior_flipped", "prior_variant"}
    swept = _plan('prior_withheld = [0, 0.2]\nprior_variant = ["given", "shuffled", "permuted"]')
    assert len({run.id for run in swept}) == 6
    assert plain[0].id in {run.id for run in swept}
    with pytest.raises(StudyError, match="prior_variant"):
        _plan('prior_variant = "other"')
    with pytest.raises(StudyError, match="prior_withheld"):
        _plan("prior_withheld = 1")
    text = '[data]\nkind = "files"\ntrain = "a.csv"\nprior_flipped = 0.1\n[[strategy]]\nname = "none"\n'
    with pytest.raises(StudyError, match=r"prior_flipped = 0\.1 changes a prior, and none is named"):
        parse_study(text)


def test_a_published_set_without_a_prior_has_none_to_change(tmp_path, monkeypatch):
    monkeypatch.setenv("DASH_HPC_DATA", str(tmp_path))
    spec = {"kind": "catalogue", "name": "breast_2000", "prior_variant": "shuffled"}
    with pytest.raises(DataError, match=r"data\.prior_variant changes a prior, but none was published"):
        build(spec, seed=0, base=tmp_path)


def test_rewiring_many_edges_leaves_every_count():
    rng = np.random.default_rng(8)
    dense = rng.random((60, 200)) < 0.1
    square = np.zeros((200, 200))
    square[:60] = dense
    new = shuffled(Prior.from_arrays(csr_array(square)), rng).motif
    np.testing.assert_array_equal(np.diff(new.indptr), (square != 0).sum(1))
    np.testing.assert_array_equal(np.bincount(new.indices, minlength=200), (square != 0).sum(0))
