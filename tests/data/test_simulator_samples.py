"""Samples, whole benchmarks and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dash_hpc.data import Prior, TimeCourse
from dash_hpc.data.simulator import (
    InputModel,
    SimulatedSystem,
    draw_input_model,
    draw_start,
    read_edge_table,
    simulate,
    write,
)
from dash_hpc.errors import UsageError
from dash_hpc.store import publish

SPEC: dict[str, Any] = {
    "genes": 24,
    "regulators": 8,
    "edges": 40,
    "trajectories": 6,
    "test_trajectories": 2,
    "times": [0, 2, 3, 7, 9],
    "seed": 5,
}


def values(course: TimeCourse | None) -> np.ndarray:
    assert course is not None
    return np.stack([trajectory.values for trajectory in course.trajectories])


@pytest.fixture(scope="module")
def small() -> SimulatedSystem:
    return simulate(SPEC)


# --- laws of the samples


def test_input_model_follows_its_law() -> None:
    model = draw_input_model(np.ones(20_000, dtype=bool), np.random.default_rng(0))
    # Beta(10, 10): mean 1/2, variance 1/84; Beta(15, 15): mean 1/2.
    assert model.mean.mean() == pytest.approx(0.5, abs=0.004)
    assert model.mean.var() == pytest.approx(1 / 84, rel=0.05)
    ratio = 3 * model.sd / np.minimum(model.mean, 1 - model.mean)
    assert ratio.mean() == pytest.approx(0.5, abs=0.004)
    assert ratio.var() == pytest.approx(1 / 124, rel=0.05)
    assert model.sd.min() >= 0.01
    assert (model.shift.min(), model.shift.max()) == pytest.approx((-0.25, 0.25), abs=1e-3)


def test_inputs_are_normal_and_redrawn_into_the_unit_interval() -> None:
    inputs = np.arange(3)
    model = InputModel(inputs, np.array([0.5, 0.6, 0.02]), np.array([0.05, 0.08, 0.05]), np.zeros(3))
    draws = np.stack([draw_start(model, np.random.default_rng(k)) for k in range(4000)])
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert not np.any(draws == 0)  # cut by drawing again, not by clipping
    np.testing.assert_allclose(draws[:, :2].mean(axis=0), [0.5, 0.6], atol=0.005)
    np.testing.assert_allclose(draws[:, :2].std(axis=0), [0.05, 0.08], rtol=0.05)
    # Mean of N(0.02, 0.05²) given that it is positive.
    assert draws[:, 2].mean() == pytest.approx(0.02 + 0.05 * 0.36827 / 0.65542, abs=0.003)


def test_other_genes_start_from_a_shifted_beta() -> None:
    model = InputModel(np.arange(0), np.empty(0), np.empty(0), np.array([0.0, 0.2, -0.25]))
    draws = np.stack([draw_start(model, np.random.default_rng(k)) for k in range(4000)])
    assert draws[:, 0].mean() == pytest.approx(0.5, abs=0.012)
    assert draws[:, 0].var() == pytest.approx(0.05, rel=0.08)  # Beta(2, 2)
    # P(Beta(2, 2) > 0.8) = 0.104; P(Beta(2, 2) < 0.25) = 0.15625
    assert (draws[:, 1] == 1).mean() == pytest.approx(0.104, abs=0.02)
    assert (draws[:, 2] == 0).mean() == pytest.approx(0.15625, abs=0.025)
    with pytest.raises(UsageError):
        draw_start(model, np.random.default_rng(0), overlap=0.0)


def test_published_input_models_obey_the_law_and_explain_the_published_inputs(data_root: Path) -> None:
    folder = data_root / "sim350"
    models = pd.read_csv(folder / "input_models.csv")
    largest = np.maximum(0.01, np.minimum(models["mean"], 1 - models["mean"]) / 3)
    assert ((models["sd"] >= 0.01) & (models["sd"] <= largest)).all()
    course = TimeCourse.read_csv(folder / "sim350_train_150.csv.gz", folder / "gene_names.csv")
    assert [gene.removesuffix("_input") for gene in course.genes[:73]] == models["gene"].tolist()
    z = (values(course)[:, 0, :73] - models["mean"].to_numpy()) / models["sd"].to_numpy()
    ours = InputModel(np.arange(73), models["mean"].to_numpy(), models["sd"].to_numpy(), np.zeros(73))
    drawn = np.stack([draw_start(ours, np.random.default_rng(k)) for k in range(150)])
    z_ours = (drawn - ours.mean) / ours.sd
    for sample in (z, z_ours):
        assert abs(sample.mean()) < 0.03
        assert sample.std() == pytest.approx(1.0, abs=0.03)


# --- whole benchmarks


def test_parts_of_a_benchmark_fit_together(small: SimulatedSystem) -> None:
    train = values(small.train_val)
    assert train.shape == (6, 5, 24)
    assert values(small.test).shape == (2, 5, 24)
    assert small.test is not None
    assert small.train_val.genes == small.test.genes == small.prior_clean.genes
    assert small.train_val.genes[: len(small.input_genes)] == small.input_genes
    np.testing.assert_array_equal(small.train_val.trajectories[0].times, SPEC["times"])
    constant = np.ptp(train, axis=1).max(axis=0) == 0
    assert constant.sum() == len(small.input_genes)
    assert train.min() >= -1e-9
    assert train.max() <= 1 + 1e-9
    truth = small.truth.toarray()
    assert small.truth.nnz == 40
    for row in small.edges.itertuples():
        source, target = (small.train_val.genes.index(name) for name in row[1:3])
        assert truth[source, target] == (1.0 if row.activation else -1.0)
    np.testing.assert_array_equal(small.prior_clean.motif.toarray(), truth)


def test_same_spec_gives_the_same_bytes(small: SimulatedSystem) -> None:
    again = simulate({**SPEC, "kind": "simulate", "expression_noise": 0.1})
    assert values(again.train_val).tobytes() == values(small.train_val).tobytes()
    assert values(again.test).tobytes() == values(small.test).tobytes()
    assert again.edges.equals(small.edges)


def test_another_seed_gives_another_system(small: SimulatedSystem) -> None:
    other = simulate({**SPEC, "seed": 6})
    assert not other.edges.equals(small.edges)
    assert not np.array_equal(values(other.train_val), values(small.train_val))


def test_a_trajectory_does_not_depend_on_how_many_there_are(small: SimulatedSystem) -> None:
    more = simulate({**SPEC, "trajectories": 70, "test_trajectories": 1})
    np.testing.assert_array_equal(values(more.train_val)[:6], values(small.train_val))
    np.testing.assert_array_equal(values(more.test), values(small.test)[:1])
    assert not np.array_equal(values(more.train_val)[0], values(more.test)[0])


def test_a_sim350_sized_benchmark_has_the_statistics_of_sim350() -> None:
    big = simulate({**SPEC, "genes": 350, "regulators": 97, "edges": 550, "trajectories": 40, "seed": 0})
    v = values(big.train_val)
    inputs = len(big.input_genes)
    assert inputs == 73
    # SIM350's published test set: mean 0.456, s.d. 0.226; across samples 0.061 (inputs), 0.202 (others, t = 0) and
    # 0.056 (others, t = 9).
    assert v.mean() == pytest.approx(0.456, abs=0.05)
    assert v.std() == pytest.approx(0.226, abs=0.03)
    across = v.std(axis=0)
    assert across[0, :inputs].mean() == pytest.approx(0.061, abs=0.012)
    assert across[0, inputs:].mean() == pytest.approx(0.202, abs=0.03)
    assert across[-1, inputs:].mean() == pytest.approx(0.056, abs=0.012)


def test_no_test_trajectories_is_no_test_set() -> None:
    assert simulate({**SPEC, "test_trajectories": 0}).test is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"genes": 1}, "data.genes = 1"),
        ({"genes": 24.0}, r"data.genes = 24.0: must be a whole number"),
        ({"genes": True}, "data.genes = True"),
        ({"regulators": 25}, "regulators = 25"),
        ({"edges": 15}, "edges = 15: 24 genes with 8 regulators need 16 to 184"),
        ({"edges": 600}, "at most 552 ordered pairs"),
        ({"trajectories": 0}, "data.trajectories = 0"),
        ({"test_trajectories": -1}, "data.test_trajectories = -1"),
        ({"seed": -1}, "data.seed = -1"),
        ({"times": [0]}, "at least two"),
        ({"times": "0,1"}, "at least two"),
        ({"times": [0, 2, 2]}, "2 follows 2"),
        ({"times": [0, 3, 2]}, "2 follows 3"),
        ({"times": [0, float("inf")]}, "finite"),
        ({"times": [0, "2"]}, "must be a number"),
    ],
)
def test_bad_specs_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        simulate({**SPEC, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", sorted(SPEC))
def test_missing_keys_are_named(key: str) -> None:
    with pytest.raises(UsageError, match=f"data.{key} is missing"):
        simulate({name: value for name, value in SPEC.items() if name != key})


# --- files


def test_written_files_read_back(small: SimulatedSystem, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    files = write(small, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)
    names = files["gene_names.csv"]
    for part, course in (("train", small.train_val), ("test", small.test)):
        again = TimeCourse.read_csv(files[f"expression_{part}.csv"], names)
        assert again.genes == small.train_val.genes
        np.testing.assert_array_equal(values(again), values(course))
    prior = Prior.read_csv(files["edge_prior_matrix.csv"], genes=names)
    np.testing.assert_array_equal(prior.motif.toarray(), small.truth.toarray())
    network = read_edge_table(files["edge_properties.csv"], small.train_val.genes)
    assert network.table().equals(small.edges)


def test_writing_twice_gives_the_same_bytes_and_never_overwrites_unasked(
    small: SimulatedSystem, tmp_path: Path
) -> None:
    files = write(small, tmp_path)
    first = {name: path.read_bytes() for name, path in files.items()}
    with pytest.raises(UsageError, match=r"expression_train\.csv exists"):
        write(simulate({**SPEC, "seed": 9}), tmp_path)
    assert {name: path.read_bytes() for name, path in files.items()} == first
    write(simulate(SPEC), tmp_path, overwrite=True)
    assert {name: path.read_bytes() for name, path in files.items()} == first


def test_no_foreign_test_set_stays_beside_new_files(small: SimulatedSystem, tmp_path: Path) -> None:
    untested = simulate({**SPEC, "test_trajectories": 0, "seed": 6})
    (tmp_path / "expression_test.csv").write_text("another network's")
    with pytest.raises(UsageError, match=r"expression_test\.csv exists"):
        write(untested, tmp_path)
    files = write(untested, tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    assert "expression_test.csv" not in files


def test_a_failed_write_leaves_nothing_behind(
    small: SimulatedSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish.layer, "write", full)
    with pytest.raises(UsageError, match="No space left"):
        write(small, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_refused(small: SimulatedSystem, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*taken: a file of this name is in the way"):
        write(small, tmp_path / "taken")
