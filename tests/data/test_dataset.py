"""build and digest: own files, simulated data, and every refusal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import CATALOGUE, DataSet, Prior, TimeCourse, build, digest
from dash_hpc.errors import DataError, PriorError

FILES: dict[str, Any] = {
    "kind": "files",
    "train": "train.csv",
    "genes": "genes.csv",
    "validation": 0.25,
    "test": "test.csv",
    "prior": "prior.csv",
    "ppi": None,
    "truth": "truth.csv",
    "expression_noise": 0.0,
}
SIMULATE: dict[str, Any] = {
    "kind": "simulate",
    "genes": 20,
    "regulators": 6,
    "edges": 30,
    "trajectories": 10,
    "test_trajectories": 3,
    "times": [0, 2, 3, 7, 9],
    "seed": 0,
    "expression_noise": 0.025,
    "prior_noise": 0.1,
    "validation": 0.2,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    TimeCourse.from_arrays(list(rng.random((8, 4, 3))), [[0, 1, 2, 3]] * 8).write_csv(tmp_path / "train.csv")
    TimeCourse.from_arrays(list(rng.random((2, 4, 3))), [[0, 1, 2, 3]] * 2).write_csv(tmp_path / "test.csv")
    (tmp_path / "genes.csv").write_text("gene\nA\nB\nC\n")
    (tmp_path / "prior.csv").write_text("0,1,0\n0,0,-1\n0,0,0\n")
    (tmp_path / "truth.csv").write_text("from,to\nA,B\nB,C\nX,C\n")
    return tmp_path


def values(course: TimeCourse) -> np.ndarray:
    return np.concatenate([t.values.ravel() for t in course.trajectories])


def test_own_files(folder: Path) -> None:
    data = build(FILES, seed=0, base=folder)
    assert data.name == "train"
    assert data.genes == ("A", "B", "C")
    assert data.n_genes == 3
    assert (len(data.train), len(data.validation), len(data.test or ())) == (6, 2, 2)
    assert data.prior is not None
    assert data.prior.motif[1, 2] == -1
    assert data.truth is not None
    np.testing.assert_array_equal(data.truth.toarray(), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert any("truth.csv: 1 of 3 edges dropped" in note for note in data.notes)
    assert any(note.startswith("validation trajectories (from 0): ") for note in data.notes)


def test_the_split_does_not_depend_on_the_run(folder: Path) -> None:
    first, second = build(FILES, seed=0, base=folder), build(FILES, seed=1, base=folder)
    np.testing.assert_array_equal(values(first.validation), values(second.validation))


def test_noise_depends_on_the_run_and_spares_the_test_set(folder: Path) -> None:
    spec = {**FILES, "expression_noise": 0.05}
    clean, a, b, again = (build(s, seed=k, base=folder) for s, k in ((FILES, 0), (spec, 0), (spec, 1), (spec, 0)))
    assert (values(a.train) != values(b.train)).all()
    assert (values(a.validation) != values(clean.validation)).all()
    np.testing.assert_array_equal(values(a.train), values(again.train))
    assert a.test is not None
    assert clean.test is not None
    np.testing.assert_array_equal(values(a.test), values(clean.test))
    assert any("noise N(0, 0.05²)" in note for note in a.notes)


def test_the_noise_of_a_trajectory_does_not_depend_on_the_split(folder: Path) -> None:
    spec = {**FILES, "expression_noise": 0.05}
    first = build({**spec, "validation": [0, 3]}, seed=0, base=folder)
    second = build({**spec, "validation": [3]}, seed=0, base=folder)
    np.testing.assert_array_equal(first.validation.trajectories[0].values, second.train.trajectories[0].values)


def test_validation_by_list_file_or_default(folder: Path) -> None:
    listed = build({**FILES, "validation": [7, 1]}, seed=0, base=folder)
    assert "validation trajectories (from 0): 7, 1" in listed.notes
    filed = build({**FILES, "validation": "test.csv", "test": None}, seed=0, base=folder)
    assert (len(filed.train), len(filed.validation), filed.test) == (8, 2, None)
    default = build({**FILES, "validation": None}, seed=0, base=folder)
    assert len(default.validation) == 1
    assert any(note.startswith("no validation data was named: a fraction of 0.1") for note in default.notes)


def test_noise_on_a_validation_file_is_its_own(folder: Path) -> None:
    spec = {**FILES, "validation": "train.csv", "expression_noise": 0.05}
    data = build(spec, seed=0, base=folder)
    assert (values(data.train) != values(data.validation)).all()


def test_only_what_is_there(folder: Path) -> None:
    bare = {"kind": "files", "train": str(folder / "train.csv"), "validation": 0.25}
    data = build(bare, seed=0, base=Path("/"))
    assert data.genes == ("gene1", "gene2", "gene3")
    assert data.prior is data.truth is data.test is None
    assert "no reference network: balanced accuracy cannot be computed" in data.notes


def test_dropped_pairs_are_counted(folder: Path) -> None:
    text = (folder / "train.csv").read_text().splitlines()
    text[1] = text[1].split(",", 1)[0] + ",," + text[1].split(",", 2)[2]
    (folder / "train.csv").write_text("\n".join(text) + "\n")
    data = build({**FILES, "validation": [7]}, seed=0, base=folder)
    # one of three genes is more than a quarter: the step that starts there is left out, the one that ends there counts
    # for the other two
    assert [note for note in data.notes if note.startswith("training data")] == [
        "training data: 1 of 84 values missing (1.2 %): 0 start values filled in from neighbouring times, 1 of 60 end "
        "values do not count",
        "training data: 1 of 21 pairs dropped, over 0.25 of the genes are missing at the start, or all at one of the "
        "ends (data.max_missing)",
    ]
    assert len(data.train.pairs()) == 20


def test_expression_of_another_scale_is_noted(folder: Path) -> None:
    assert not any("scale" in note for note in build(FILES, seed=0, base=folder).notes)
    counts = np.random.default_rng(1).integers(0, 5000, (8, 4, 3)).astype(float)
    TimeCourse.from_arrays(list(counts), [[0, 1, 2, 3]] * 8).write_csv(folder / "train.csv")
    notes = build(FILES, seed=0, base=folder).notes
    assert any("values of about 0 to 1, so scale the data" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train": "no.csv"}, DataError, "no.csv: file not found; correct data.train (relative paths start at the"),
        ({"prior": "no.csv"}, DataError, "no.csv: file not found; correct data.prior"),
        ({"train": "."}, DataError, "is a folder, not a file; correct data.train"),
        ({"train": None}, DataError, "data.train is missing: name the file with the trajectories"),
        ({"kind": "other"}, DataError, "data.kind must be simulate, catalogue or files, got 'other'"),
        ({"validation": [8]}, DataError, "trajectory index 8 is not in 0..7"),
        ({"validation": 1.5}, DataError, "the validation fraction must be between 0 and 1, got 1.5"),
        ({"validation": {}}, DataError, "data.validation must be a file, trajectory indices or a fraction, got {}"),
        ({"prior": "genes.csv"}, PriorError, "genes.csv:1: which column is the regulator, which the target?"),
        ({"prior": None, "ppi": "prior.csv"}, PriorError, "prior.csv: interactions need a motif prior beside them"),
        (
            {"genes": None},
            PriorError,
            "none of its 3 edges has both ends among the 3 genes; not among them: A, B, C (and 1 more)",
        ),
    ],
)
def test_refusals(folder: Path, change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as caught:
        build({**FILES, **change}, seed=0, base=folder)
    assert "\n" not in str(caught.value)


def test_test_data_of_another_size(folder: Path) -> None:
    TimeCourse.from_arrays([[[1, 2]]], [[0]]).write_csv(folder / "test.csv")
    with pytest.raises(DataError, match=r"test\.csv:1: the header says 2 genes, but .*genes\.csv names 3"):
        build(FILES, seed=0, base=folder)
    with pytest.raises(DataError, match=r"test\.csv: 3 gene names for 2 genes"):
        build({**FILES, "genes": None, "truth": None}, seed=0, base=folder)


def test_data_without_a_pair(folder: Path) -> None:
    TimeCourse.from_arrays([[[1, 2, 3]]] * 4, [[0]] * 4).write_csv(folder / "train.csv")
    with pytest.raises(DataError, match="the training data has no two neighbouring time points"):
        build(FILES, seed=0, base=folder)


def test_dataset_parts_share_one_gene_list() -> None:
    def course(*genes: str) -> TimeCourse:
        n = len(genes)
        return TimeCourse.from_arrays([np.ones((2, n))], [[0, 1]], genes)

    with pytest.raises(DataError, match="the validation data names genes that are not in the training data: X, Y, Z"):
        DataSet("d", course(*"ABCDE"), course(*"AXYZQ"))
    with pytest.raises(DataError, match="the test data has 2 genes, but the training data has 3"):
        DataSet("d", course(*"ABC"), course(*"ABC"), test=course(*"AB"))
    with pytest.raises(PriorError, match="the prior has the genes in another order: gene 2 is C, but B in"):
        DataSet("d", course(*"ABC"), course(*"ABC"), prior=Prior.from_arrays(np.eye(3), genes=list("ACB")))
    with pytest.raises(PriorError, match=r"the reference network must be \[3, 3\], got \[2, 2\]"):
        DataSet("d", course(*"ABC"), course(*"ABC"), truth=Prior.from_arrays(np.eye(2)).motif)


def test_digest_follows_bytes_and_roles_not_places(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = digest(FILES, base=folder)
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    assert digest(dict(reversed(FILES.items())), base=folder) == first
    assert digest({**FILES, "expression_noise": 0.1, "validation": 0.5}, base=folder) == first
    other = tmp_path_factory.mktemp("moved")
    for name in ("train.csv", "test.csv", "genes.csv", "prior.csv", "truth.csv"):
        (other / name).write_bytes((folder / name).read_bytes())
    assert digest(FILES, base=other) == first
    assert digest({**FILES, "test": None}, base=folder) != first
    assert digest({**FILES, "prior": "truth.csv", "truth": "prior.csv"}, base=folder) != first
    (other / "truth.csv").write_text("from,to\nA,B\nB,C\nX,D\n")
    assert digest(FILES, base=other) != first
    with pytest.raises(DataError, match=r"no\.csv: file not found"):
        digest({**FILES, "train": "no.csv"}, base=folder)
    assert digest(SIMULATE, base=folder) == ""


def test_catalogue_needs_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = {"kind": "catalogue", "name": "sim350", "expression_noise": 0.025, "prior_noise": 0.05}
    monkeypatch.delenv("DASH_HPC_DATA", raising=False)
    message = (
        "data set sim350 needs published files: set the environment variable DASH_HPC_DATA to the folder that holds"
    )
    with pytest.raises(DataError, match=message):
        build(spec, seed=0, base=tmp_path)
    with pytest.raises(DataError, match=message):
        digest(spec, base=tmp_path)
    monkeypatch.setenv("DASH_HPC_DATA", str(tmp_path))
    with pytest.raises(
        DataError,
        match=r"gene_names\.csv: file not found; data set sim350 needs it below the folder that DASH_HPC_DATA",
    ):
        build(spec, seed=0, base=tmp_path)
    with pytest.raises(
        DataError, match=r"data\.name 'sim35' is not in the catalogue; it has sim350, hema_b, breast_500"
    ):
        build({**spec, "name": "sim35"}, seed=0, base=tmp_path)
    with pytest.raises(DataError, match=r"data\.prior_noise is 0\.1, but no prior was published for breast_2000"):
        build({**spec, "name": "breast_2000", "prior_noise": 0.1}, seed=0, base=tmp_path)


def test_catalogue_names() -> None:
    assert list(CATALOGUE) == ["sim350", "hema_b", "breast_500", "breast_2000", "yeast_500"]
    assert all(entry.name == name for name, entry in CATALOGUE.items())


def test_simulated_data(tmp_path: Path) -> None:
    data = build(SIMULATE, seed=0, base=tmp_path)
    assert data.n_genes == 20
    assert (len(data.train), len(data.validation), len(data.test or ())) == (8, 2, 3)
    assert data.truth is not None
    assert data.prior is not None
    assert data.truth.nnz == 30
    moved = (data.truth != data.prior.motif).toarray() & (data.truth.toarray() != 0)
    assert 1 <= moved.sum() <= 3
    assert "prior: 3 of 30 edges relocated (0.1)" in data.notes


def test_simulated_parts_follow_their_seeds(tmp_path: Path) -> None:
    a, again, run, system = (
        build({**SIMULATE, "seed": seed}, seed=run, base=tmp_path) for seed, run in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    for one, two in ((a.train, again.train), (a.validation, again.validation)):
        np.testing.assert_array_equal(values(one), values(two))
    # another run: other noise, all else the same
    assert (values(a.train) != values(run.train)).all()
    assert a.notes == run.notes
    for part in (a, run, system):
        assert part.test is not None
        assert part.truth is not None
        assert part.prior is not None
    np.testing.assert_array_equal(values(a.test), values(run.test))
    np.testing.assert_array_equal(a.prior.motif.toarray(), run.prior.motif.toarray())
    # another system
    assert (a.truth.toarray() != system.truth.toarray()).any()
    assert a.name != system.name


def test_simulated_without_noise_is_the_simulator_s_output(tmp_path: Path) -> None:
    from dash_hpc.data.simulator import simulate

    spec = {**SIMULATE, "expression_noise": 0.0, "prior_noise": 0.0}
    data, system = build(spec, seed=0, base=tmp_path), simulate(spec)
    held = {t.values.tobytes() for part in (data.train, data.validation) for t in part.trajectories}
    assert held == {t.values.tobytes() for t in system.train_val.trajectories}
    assert data.prior is not None
    assert (data.prior.motif != data.truth).nnz == 0
