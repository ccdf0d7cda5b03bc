"""The published data sets: what their descriptions say about them holds for what is read."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.data import CATALOGUE, DataSet, Prior, TimeCourse, build, digest
from dash_hpc.data.genefile import read_gene_names

pytestmark = pytest.mark.usefixtures("published")
VALIDATION = [3, 23, 25, 61, 74, 90, 103, 128, 139, 146]
# share of relocated edges, true positive rate and balanced accuracy of the shipped priors against the true network
PRIORS = [(0.0, 1.000, 1.0000), (0.05, 0.951, 0.9753), (0.1, 0.900, 0.9498), (0.2, 0.800, 0.8995)]


@pytest.fixture(name="published")
def _published(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DASH_HPC_DATA", str(data_root))
    return data_root


def catalogue(name: str, expression_noise: float = 0.0, prior_noise: float = 0.0, seed: int = 0) -> DataSet:
    return build(spec(name, expression_noise, prior_noise), seed=seed, base=Path("."))


def spec(name: str, expression_noise: float = 0.0, prior_noise: float = 0.0) -> dict:
    return {"kind": "catalogue", "name": name, "expression_noise": expression_noise, "prior_noise": prior_noise}


def rates(network: csr_array, truth: csr_array) -> tuple[float, float]:
    guess, real = network.toarray() != 0, truth.toarray() != 0
    tpr, tnr = guess[real].mean(), 1 - guess[~real].mean()
    return tpr, (tpr + tnr) / 2


def test_sim350_sizes_and_split() -> None:
    data = catalogue("sim350")
    assert data.n_genes == 350
    assert sum(gene.endswith("_input") for gene in data.genes[:73]) == 73
    assert (len(data.train), len(data.validation), len(data.test or ())) == (140, 10, 10)
    for part in (data.train, data.validation, data.test):
        assert part is not None
        for trajectory in part.trajectories:
            np.testing.assert_array_equal(trajectory.times, [0, 2, 3, 7, 9])
            assert trajectory.values.min() >= 0
            assert trajectory.values.max() <= 1
    assert len(data.train.pairs()) == 560
    assert f"validation trajectories (from 0): {', '.join(map(str, VALIDATION))}" in data.notes


def test_sim350_inputs_are_constant_in_time() -> None:
    data = catalogue("sim350")
    pairs = data.train.pairs()
    np.testing.assert_allclose(pairs.y0[:, :73], pairs.y1[:, :73], atol=1e-12)
    assert (np.abs(pairs.y0 - pairs.y1)[:, 73:].max(axis=0) > 0.05).all()


def test_sim350_test_set_statistics() -> None:
    test = catalogue("sim350").test
    assert test is not None
    values = np.array([t.values for t in test.trajectories])
    assert values.mean() == pytest.approx(0.456, abs=5e-4)
    assert values.std() == pytest.approx(0.226, abs=5e-4)


def test_sim350_truth() -> None:
    truth = catalogue("sim350").truth
    assert truth is not None
    dense = truth.toarray()
    assert ((dense > 0).sum(), (dense < 0).sum()) == (374, 176)
    assert ((dense != 0).any(axis=1).sum(), (dense != 0).any(axis=0).sum()) == (97, 277)
    assert np.linalg.matrix_rank(np.abs(dense)) == 87
    assert not (dense[:, :73] != 0).any()  # nothing regulates an input


def test_sim350_truth_equals_the_edge_table(published: Path) -> None:
    names = [gene.removesuffix("_input") for gene in read_gene_names(published / "sim350" / "gene_names.csv")]
    dense = np.zeros((350, 350))
    for line in (published / "sim350" / "edge_properties.csv").read_text().splitlines()[1:]:
        regulator, target, _, activates, *_ = line.split(",")
        dense[names.index(regulator), names.index(target)] = 1 if activates == "TRUE" else -1
    truth = catalogue("sim350").truth
    assert truth is not None
    np.testing.assert_array_equal(truth.toarray(), dense)


@pytest.mark.parametrize(("level", "tpr", "ba"), PRIORS)
def test_sim350_shipped_priors(level: float, tpr: float, ba: float) -> None:
    data = catalogue("sim350", prior_noise=level)
    assert data.prior is not None
    assert data.truth is not None
    measured = rates(data.prior.motif, data.truth)
    assert measured[0] == pytest.approx(tpr, abs=5e-4)
    assert measured[1] == pytest.approx(ba, abs=5e-5)
    assert any(f"{level:.0%} of the edges relocated" in note and "published file" in note for note in data.notes)


@pytest.mark.parametrize("level", [0.05, 0.1, 0.2])
def test_our_corruption_resembles_the_shipped_one(level: float) -> None:
    from dash_hpc.rng import stream

    data = catalogue("sim350")
    assert data.prior is not None
    assert data.truth is not None
    for seed in range(5):
        tpr, ba = rates(data.prior.corrupt(level, stream(seed, "prior-noise")).motif, data.truth)
        assert tpr == pytest.approx(1 - level, abs=0.004)
        assert ba == pytest.approx(1 - level / 2, abs=0.002)


def test_sim350_other_levels_are_made_and_equal_for_all_runs() -> None:
    first, second = catalogue("sim350", 0.025, 0.15, seed=0), catalogue("sim350", 0.025, 0.15, seed=1)
    assert first.prior is not None
    assert second.prior is not None
    assert (first.prior.motif != second.prior.motif).nnz == 0
    assert "prior: 82 of 550 edges relocated (0.15)" in first.notes
    assert rates(first.prior.motif, first.truth)[1] == pytest.approx(0.925, abs=0.002)


def test_sim350_noise() -> None:
    clean, noisy, again, other = (
        catalogue("sim350", noise, 0.05, seed=seed) for noise, seed in ((0.0, 0), (0.025, 0), (0.025, 0), (0.025, 1))
    )
    for part in ("train", "validation"):
        a, b, c, d = (
            np.array([t.values for t in getattr(data, part).trajectories]) for data in (noisy, clean, again, other)
        )
        # 140 · 5 · 350 draws: the standard error of the s.d. is 0.14 %, for validation 0.5 %
        assert (a - b).std() == pytest.approx(0.025, rel=0.02)
        assert (a[:, 0] != b[:, 0]).all()
        assert (a[:, :, :73] != b[:, :, :73]).all()
        np.testing.assert_array_equal(a, c)
        assert (a != d).all()
    np.testing.assert_array_equal(noisy.test.trajectories[0].values, clean.test.trajectories[0].values)


def test_sim350_persistence_error() -> None:
    pairs = catalogue("sim350").test.pairs()
    # the predictor "nothing changes", known to be 2.06e-2 on the published test set
    assert ((pairs.y1 - pairs.y0) ** 2).mean() == pytest.approx(2.06e-2, abs=5e-5)


def test_sim350_common_targets_have_the_rank_of_the_prior() -> None:
    prior = catalogue("sim350").prior
    assert prior is not None
    c = prior.interactions()
    assert c.sum() == pytest.approx(1, rel=1e-12)
    assert np.linalg.matrix_rank(c.toarray() * c.nnz) == 87


def test_hema_b() -> None:
    data = catalogue("hema_b")
    assert data.n_genes == 529
    assert [len(t) for t in data.train.trajectories] == [168]
    assert [len(t) for t in data.validation.trajectories] == [482]
    assert [len(t) for t in data.test.trajectories] == [391, 1005, 48]
    assert (len(data.train.pairs()), len(data.validation.pairs()), len(data.test.pairs())) == (
        167,
        481,
        390 + 1004 + 47,
    )
    for part in (data.train, data.validation, data.test):
        for trajectory in part.trajectories:
            assert trajectory.times[0] == 0
            assert trajectory.times[-1] == 1
            assert trajectory.values.min() == 0
            assert trajectory.values.max() == 1
    assert len(np.unique(np.diff(data.train.trajectories[0].times))) > 100  # irregular
    motif = data.prior.motif.toarray()
    assert set(np.unique(motif)) == {0.0, 1.0}
    assert (motif.sum(), motif.any(axis=1).sum(), motif.any(axis=0).sum(), np.trace(motif)) == (31030, 111, 450, 85)
    assert data.prior.ppi is data.truth is None
    assert "no reference network was published: balanced accuracy cannot be computed" in data.notes
    assert "no PPI: C = |A||A|ᵀ from the motif prior" in data.notes


def test_breast_500() -> None:
    data = catalogue("breast_500")
    assert data.n_genes == 500
    assert (len(data.train.pairs()), len(data.validation.pairs()), len(data.test.pairs())) == (169, 8, 7)
    motif = data.prior.motif.toarray()
    assert set(np.unique(motif)) == {-0.5, 0.0, 0.5}
    assert sorted([(motif > 0).sum(), (motif < 0).sum()]) == [3863, 3869]
    assert (motif.any(axis=1).sum(), motif.any(axis=0).sum()) == (34, 499)
    assert data.truth.nnz == 1586
    assert (data.truth.toarray() != 0).any(axis=1).sum() == 7
    assert (data.prior.ppi != data.prior.ppi.T).nnz == 0
    assert any("random" in note for note in data.notes)


def test_breast_split_keeps_the_test_slice_apart() -> None:
    data = catalogue("breast_500")
    times = data.test.trajectories[0].times
    train = data.train.pairs()
    inside = [t for t in np.concatenate([train.t0, train.t1]) if times[0] <= t <= times[-1]]
    assert not inside
    spanning = (train.t0 < times[0]) & (train.t1 > times[-1])
    assert spanning.sum() == 1  # as the notes say
    seen = set(zip(train.t0, train.t1, strict=True))
    held = data.validation.pairs()
    assert not seen & set(zip(held.t0, held.t1, strict=True))


def test_breast_interactions_in_the_large_list(published: Path) -> None:
    folder = published / "breast"
    names = read_gene_names(folder / "desmedt_gene_names_11165.csv")
    assert len(names) == 11165
    from dash_hpc.data.networks import read_interactions

    ppi, record = read_interactions(folder / "PPI_matrix_desmedt_11165.csv", names)
    assert ppi.nnz == 986 + 2 * 29439
    assert (ppi.diagonal() == 1).sum() == 986
    assert (ppi.data.min(), ppi.data.max()) == (0.15, 1.0)
    assert record.notes() == ()
    first = (folder / "PPI_matrix_desmedt_11165.csv").read_text().split("\n", 1)[0]
    assert first == "222,222,1"
    assert ppi[221, 221] == 1
    assert ppi[222, 221] == ppi[221, 222]

    small, _ = read_interactions(
        folder / "PPI_matrix_desmedt_11165.csv", read_gene_names(folder / "desmedt_gene_names_500.csv"), names
    )
    members = [names.index(gene) for gene in read_gene_names(folder / "desmedt_gene_names_500.csv")]
    np.testing.assert_array_equal(small.toarray(), ppi[members][:, members].toarray())
    assert small.nnz > 0


def test_breast_2000_has_no_prior() -> None:
    data = catalogue("breast_2000")
    assert data.n_genes == 2000
    assert data.prior is None
    assert data.truth.nnz == 8174
    assert (data.truth.toarray() != 0).any(axis=1).sum() == 10
    assert any("no motif prior was published" in note for note in data.notes)


def test_yeast_500(published: Path) -> None:
    data = catalogue("yeast_500")
    expected = [*range(0, 101, 5), 110, 115, 120]
    for part in (data.train, data.validation):
        np.testing.assert_array_equal(part.trajectories[0].times, expected)
        assert len(part.pairs()) == 23
    lowest = min(part.trajectories[0].values.min() for part in (data.train, data.validation))
    highest = max(part.trajectories[0].values.max() for part in (data.train, data.validation))
    assert (lowest, highest) == (pytest.approx(-2.53, abs=5e-3), pytest.approx(4.04, abs=5e-3))
    motif = data.prior.motif.toarray()
    assert sorted([(motif > 0).sum(), (motif < 0).sum()]) == [534, 612]
    assert (motif.any(axis=1).sum(), motif.any(axis=0).sum()) == (6, 454)
    assert data.genes[0] == "YAL004W"
    assert data.test is None
    # the edge list within the 500 genes has the support of the matrix
    listed = Prior.read_csv(published / "yeast" / "motif_prior.csv", data.genes)
    np.testing.assert_array_equal(listed.motif.toarray() != 0, motif != 0)
    (note,) = listed.notes
    assert note.startswith(
        "motif_prior.csv: 80,084 of 81,230 edges dropped, an end is not among the 500 genes: YKL112W,"
    )


def by_hand(path: Path, n_genes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times and values of each trajectory, with nothing but split and float."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    rows = [[float(cell) for cell in line.split(",") if cell.strip()] for line in text.splitlines()[1:]]
    blocks = [rows[k : k + n_genes + 1] for k in range(0, len(rows), n_genes + 1)]
    return [(np.array(block[-1]), np.array(block[:-1]).T) for block in blocks]


FILES = {
    "sim350": (350, "train", "test"),
    "hema_b": (529, "train", "test"),
    "breast_500": (500, "test"),
    "breast_2000": (2000, "test"),
    "yeast_500": (500, "train", "validation"),
}


@pytest.mark.parametrize("name", FILES)
def test_published_files_are_read_to_the_last_bit(published: Path, name: str) -> None:
    entry, (n_genes, *roles) = CATALOGUE[name], FILES[name]
    folder = published / entry.folder
    for role in roles:
        course = TimeCourse.read_csv(folder / entry.files[role])
        wanted = by_hand(folder / entry.files[role], n_genes)
        assert len(course) == len(wanted)
        for trajectory, (times, values) in zip(course.trajectories, wanted, strict=True):
            np.testing.assert_array_equal(trajectory.times, times)
            np.testing.assert_array_equal(trajectory.values, values)
    data = catalogue(name)
    assert data.remarks == ()
    if "prior" in entry.files:
        assert data.prior is not None
        np.testing.assert_array_equal(
            data.prior.motif.toarray(), np.loadtxt(folder / entry.files["prior"], delimiter=",")
        )
        assert [record.remarks for record in data.prior.records] == [()] * len(data.prior.records)
        assert [record.doubts for record in data.prior.records] == [()] * len(data.prior.records)
    if entry.folder == "breast":
        assert data.truth is not None
        assert data.truth_record is not None
        assert (data.truth_record.remarks, data.truth_record.doubts) == ((), ())
        known = set(data.genes)
        lines = (folder / entry.files["truth"]).read_text().replace('"', "").splitlines()[1:]
        edges = {tuple(line.split(",")) for line in lines}
        kept = {(i, j) for i, j in edges if i in known and j in known}
        found = {(data.genes[i], data.genes[j]) for i, j in zip(*data.truth.tocoo().coords, strict=True)}
        assert found == kept


def test_digests_are_stable_and_distinct() -> None:
    names = ("sim350", "hema_b", "breast_500", "breast_2000", "yeast_500")
    first = [digest(spec(name), base=Path(".")) for name in names]
    assert [digest(spec(name), base=Path("/")) for name in names] == first
    assert len(set(first)) == len(names)
    # another prior file is another digest; noise drawn at reading is part of the spec, not of the files
    assert digest(spec("sim350", 0.0, 0.05), base=Path(".")) != first[0]
    assert digest(spec("sim350", 0.025), base=Path(".")) == first[0]


def test_large_files_are_read_quickly(published: Path) -> None:
    from time import perf_counter

    start = perf_counter()
    course = TimeCourse.read_csv(published / "breast" / "desmedt_11165genes_1TESTsample_8middleT.csv")
    assert course.n_genes == 11165
    np.testing.assert_allclose(course.trajectories[0].times[[0, -1]], [0.5, 0.5357], atol=5e-5)
    assert perf_counter() - start < 5
