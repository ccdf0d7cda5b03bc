"""K-fold cross-validation as data levels, and prior knowledge of one's own files that is corrupted on purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import TimeCourse, Trajectory, build
from dash_hpc.data.simulator import simulate, write
from dash_hpc.data.splits import split_folds
from dash_hpc.errors import DataError, StudyError
from dash_hpc.rng import stream
from dash_hpc.study import parse_study

SIMULATED = {
    "kind": "simulate", "genes": 8, "regulators": 3, "edges": 10, "trajectories": 11, "test_trajectories": 2,
    "times": [0.0, 1.0, 2.0], "seed": 3, "expression_noise": 0.0, "prior_noise": 0.0,
}  # fmt: skip


def course(count: int) -> TimeCourse:
    """Trajectories that can be told apart: the k-th has the values k."""
    trajectories = [Trajectory(np.arange(3.0), np.full((3, 2), float(k))) for k in range(count)]
    return TimeCourse(("a", "b"), tuple(trajectories))


def numbers(data: TimeCourse) -> list[int]:
    return [int(trajectory.values[0, 0]) for trajectory in data.trajectories]


@pytest.mark.parametrize(("count", "folds"), [(10, 5), (11, 4), (3, 3), (7, 2)])
def test_each_trajectory_is_validated_on_exactly_once(count, folds):
    parts = [split_folds(course(count), folds, k, stream(5, "validation-folds")) for k in range(folds)]
    held = [numbers(validation) for _, validation, _ in parts]
    assert sorted(k for part in held for k in part) == list(range(count))
    assert {len(part) for part in held} <= {count // folds, -(-count // folds)}
    for (train, validation, note), own in zip(parts, held, strict=True):
        assert sorted(numbers(train) + own) == list(range(count))
        assert ", ".join(map(str, own)) in note
        assert len(train) + len(validation) == count


def test_folds_follow_the_datas_seed_alone():
    def held(seed):
        return [numbers(split_folds(course(12), 3, k, stream(seed, "validation-folds"))[1]) for k in range(3)]

    assert held(0) == held(0)
    assert held(0) != held(1)


def test_all_trajectories_train_in_the_final_fit():
    train, validation, note = split_folds(course(6), 3, "all", stream(0, "validation-folds"))
    assert numbers(train) == numbers(validation) == list(range(6))
    assert "validation error is that of the training data" in note


def test_more_folds_than_trajectories_is_one_clear_line():
    with pytest.raises(DataError, match="validation in 5 folds needs as many whole trajectories, and the data have 1"):
        split_folds(course(1), 5, 0, stream(0, "validation-folds"))


def same(one: TimeCourse, other: TimeCourse) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.values, b.values) for a, b in zip(one.trajectories, other.trajectories, strict=True)
    )


def test_simulated_folds_are_of_the_same_trajectories_whatever_the_runs_seed():
    def fold(k, seed, **more):
        spec = {**SIMULATED, "validation": {"folds": 3, "fold": k}, **more}
        return build(spec, seed=seed, base=Path("."))

    parts = [fold(k, seed=0) for k in range(3)]
    assert sorted(len(part.validation) for part in parts) == [3, 4, 4]
    assert all(len(part.train) + len(part.validation) == 11 for part in parts)
    assert same(fold(1, seed=0).validation, fold(1, seed=9).validation)
    assert not same(
        fold(1, seed=0).validation,
        build({**SIMULATED, "seed": 4, "validation": {"folds": 3, "fold": 1}}, seed=0, base=Path(".")).validation,
    )
    whole = build({**SIMULATED, "validation": 0.2}, seed=0, base=Path("."))
    everything = {t.values.tobytes() for t in (*whole.train.trajectories, *whole.validation.trajectories)}
    assert {t.values.tobytes() for part in parts for t in part.validation.trajectories} == everything
    # Noise belongs to the run: a trajectory has the same in every fold.
    noisy = [fold(k, seed=2, expression_noise=0.1) for k in range(3)]
    seen = [{t.values.tobytes() for t in (*p.train.trajectories, *p.validation.trajectories)} for p in noisy]
    assert seen[0] == seen[1] == seen[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    write(simulate({**SIMULATED, "genes": 30, "regulators": 8, "edges": 40}), place)
    return place


FILES = """
[data]
kind = "files"
train = "expression_train.csv"
genes = "gene_names.csv"
prior = "edge_prior_matrix.csv"
{}
[[strategy]]
name = "dash"
lambda_ppi = 0.1
lambda_motif = 0.1
"""


def test_own_files_have_folds(folder):
    study = parse_study(FILES.format("validation = { folds = 4 }"), base=folder)
    specs = list(study.data.specs())
    parts = [build(spec, seed=0, base=folder) for spec in specs]
    assert [spec["validation"]["fold"] for spec in specs] == [0, 1, 2, 3]
    held = [t.values.tobytes() for part in parts for t in part.validation.trajectories]
    assert len(held) == len(set(held)) == 11
    with pytest.raises(DataError, match="validation in 12 folds needs as many whole trajectories"):
        build({**specs[0], "validation": {"folds": 12, "fold": 0}}, seed=0, base=folder)


def test_a_validation_file_joins_the_folds(folder, tmp_path):
    first = build(next(parse_study(FILES.format("validation = 0.4"), base=folder).data.specs()), seed=0, base=folder)
    first.train.write_csv(tmp_path / "train.csv")
    first.validation.write_csv(tmp_path / "validation.csv")
    spec = {"kind": "files", "train": str(tmp_path / "train.csv"), "validation": {"folds": 2, "fold": 0}}
    part = build(spec, seed=0, base=tmp_path)
    assert len(part.train) + len(part.validation) == len(first.train)


def test_published_data_are_divided_into_folds(data_root):
    study = parse_study('[data]\nkind = "catalogue"\nname = "sim350"\nvalidation = { folds = 5 }\n'
                        '[[strategy]]\nname = "none"\n')  # fmt: skip
    parts = [build(spec, seed=0, base=Path(".")) for spec in study.data.specs()]
    assert [len(part.validation) for part in parts] == [30] * 5
    assert [len(part.train) for part in parts] == [120] * 5
    assert len({t.values.tobytes() for part in parts for t in part.validation.trajectories}) == 150
    spec = {"kind": "catalogue", "name": "yeast_500", "validation": {"folds": 2, "fold": 1}}
    assert (len(build(spec, seed=0, base=Path(".")).train), len(build(spec, seed=0, base=Path(".")).validation)) == (
        1,
        1,
    )
    with pytest.raises(DataError, match="validation in 5 folds needs as many whole trajectories"):
        build({**spec, "name": "breast_500", "validation": {"folds": 5, "fold": 0}}, seed=0, base=Path("."))


@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_the_prior_of_own_files_can_be_corrupted(folder, share):
    def motif(text, seed=0):
        spec = next(parse_study(FILES.format(text), base=folder).data.specs())
        found = build(spec, seed=seed, base=folder)
        return set(zip(*found.prior.motif.nonzero(), strict=True)), found.notes

    clean, _ = motif("")
    moved, notes = motif(f"prior_noise = {share}")
    count = round(share * len(clean))
    assert f"prior: {count} of {len(clean)} edges relocated ({share:.3g})" in notes
    # An edge that is moved may land on another one, or back.
    assert len(clean - moved) <= count
    assert len(clean - moved) >= 0.5 * count
    assert motif(f"prior_noise = {share}", seed=7)[0] == moved
    assert motif(f"prior_noise = {share}\nseed = 1")[0] != moved


def test_noise_on_no_prior_is_refused():
    with pytest.raises(StudyError, match=r"data\.prior_noise = 0\.1 moves edges of a prior, and none is named"):
        parse_study('[data]\nkind = "files"\ntrain = "a.csv"\nprior_noise = 0.1\n[[strategy]]\nname = "none"\n')
