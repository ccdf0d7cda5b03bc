"""Kinds of data and readers by registry, and what a study says of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import TimeCourse, build, digest, foresee, input_folders, made_bytes
from dash_hpc.data.kinds import KINDS
from dash_hpc.data.readers import READERS, Expression, Genes, Reader, ReaderKeys, reader_of
from dash_hpc.errors import DataError, StudyError
from dash_hpc.store import publish
from dash_hpc.study import parse_study, plan
from dash_hpc.study.sources import DATA_KINDS

STUDY = '[data]\nkind = "files"\n{}\n[[strategy]]\nname = "none"\n'


class PairKeys(ReaderKeys):
    side: str
    factor: float | None = None


class Pair(Reader):
    """Trajectories in one file, a factor for them in another beside it."""

    name = "pair"
    suffixes = (".pair", ".one.csv")
    Keys = PairKeys

    def files(self, path: Path, keys: PairKeys) -> dict[str, Path]:
        return {"side": path.parent / keys.side}

    def read(self, path: Path, keys: PairKeys, genes: Genes) -> Expression:
        factor = float((path.parent / keys.side).read_text())
        course = TimeCourse.read_csv(path, genes)
        return Expression(
            TimeCourse.from_arrays([factor * t.values for t in course.trajectories], [[0, 1, 2]] * 4, course.genes),
            remarks=("a pair was recognised",),
            notes=(f"multiplied by {factor:g}",),
        )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for suffix in Pair.suffixes:
        monkeypatch.setitem(READERS, suffix, Pair())
    values = np.arange(24.0).reshape(4, 3, 2)
    for name in ("x.pair", "x.csv"):
        TimeCourse.from_arrays(list(values), [[0, 1, 2]] * 4).write_csv(tmp_path / name)
    (tmp_path / "two").write_text("2")
    return tmp_path


def test_every_kind_of_a_study_can_be_built() -> None:
    assert set(KINDS) == set(DATA_KINDS)
    assert all(kind.name == name for name, kind in KINDS.items())


def test_only_data_without_files_are_foreseen() -> None:
    simulated = parse_study('[data]\nkind = "simulate"\ngenes = 60\n[[strategy]]\nname = "none"\n').data_spec()
    assert foresee(simulated).genes == 60
    # 60 genes, 5 times, 40 + 10 trajectories, 8 bytes each
    assert made_bytes(simulated) == (120_000, "expression of 40 + 10 trajectories")
    assert input_folders(simulated, Path()) == []
    filed = parse_study(STUDY.format('train = "x.csv"')).data_spec()
    assert foresee(filed) is made_bytes(filed) is None


def test_the_longest_end_of_a_name_says_who_reads_it(folder: Path) -> None:
    named = {name: reader_of(f"a/{name}").name for name in ("x.csv", "x.CSV", "y.one.csv", "x.pair", "x.dat", "x")}
    assert named == {
        "x.csv": "text", "x.CSV": "text", "y.one.csv": "pair", "x.pair": "pair", "x.dat": "text", "x": "text",
    }  # fmt: skip


def test_a_reader_gets_its_keys_and_says_what_it_did(folder: Path) -> None:
    spec = parse_study(STUDY.format('train = { file = "x.pair", side = "two" }\nvalidation = [0]')).data_spec()
    assert spec["train"] == {"file": "x.pair", "side": "two"}
    data = build(spec, seed=0, base=folder)
    np.testing.assert_array_equal(data.train.trajectories[0].values, 2 * np.arange(6.0, 12).reshape(3, 2))
    assert data.remarks == ("a pair was recognised",)
    assert "multiplied by 2" in data.notes


def test_files_that_a_reader_opens_are_part_of_the_digest(folder: Path) -> None:
    spec = {"kind": "files", "train": {"file": "x.pair", "side": "two"}, "validation": [0]}
    whole = "".join(
        f"{role}:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n"
        for role, name in (("train", "x.pair"), ("train.side", "two"))
    )
    assert digest(spec, base=folder) == hashlib.sha256(whole.encode()).hexdigest()
    assert input_folders(spec, folder) == [folder]
    with pytest.raises(DataError, match=r"three: file not found; correct data\.train"):
        build({**spec, "train": {"file": "x.pair", "side": "three"}}, seed=0, base=folder)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"file": "x.pair"}, r"x\.pair: data\.train\.side: Field required; the keys of pair files: side, factor"),
        ({"file": "x.csv", "side": "two"}, r"x\.csv: data\.train\.side: .*; the keys of text files: none"),
        ({"side": "two"}, r"data\.train\.file is missing"),
    ],
)
def test_keys_are_checked_without_a_study_file(folder: Path, train: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build({"kind": "files", "train": train}, seed=0, base=folder)


def test_one_file_is_one_run_however_it_is_written(folder: Path) -> None:
    def ids(data: str, *overrides: str) -> list[str]:
        return [run.id for run in plan(parse_study(STUDY.format(data), overrides), "")]

    assert ids('train = "x.csv"') == ids('train = { file = "x.csv" }') == ids('[data.train]\nfile = "x.csv"')
    paired = ids('train = { file = "x.pair", side = "two" }')
    assert paired == ids('train = "x.pair"', "data.train.side=two") != ids('train = "x.pair"', "data.train.side=one")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('train = "x.pair"', "study:3: data.train.side is missing"),
        ('train = { file = "x.pair", sied = "a" }', "study:3: unknown key data.train.sied; did you mean side?"),
        ('train = { file = "x.pair", side = 1 }', "study:3: data.train.side = 1 must be text"),
        ('train = { side = "a" }', "study:3: data.train.file is missing: name the file"),
        ('train = { file = "" }', 'study:3: data.train.file = "" must not be empty'),
        ('train = { file = "x.csv", side = "a" }', "study:3: unknown key data.train.side; files of this kind have no "),
        ('train = "x.csv"\ntest = { file = "x.pair" }', "study:4: data.test.side is missing"),
        ('train = "x.csv"\nvalidation = { file = "x.pair", side = 1 }', "study:4: data.validation.side = 1 must be"),
        ('train = "x.csv"\nvalidation = "x.pair"', "study:4: data.validation.side is missing"),
    ],
)  # fmt: skip
def test_mistakes_in_a_study_name_the_key_and_its_line(folder: Path, data: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_study(STUDY.format(data))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_override_of_a_key_that_is_no_table_is_refused() -> None:
    with pytest.raises(StudyError, match=r"--set data\.genes\.a: .*data\.genes"):
        parse_study(STUDY.format('train = "x.csv"\ngenes = 3'), ["data.genes.a=1"])


def test_trajectories_are_published_like_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = TimeCourse.from_arrays([[[1, 2], [3, 4]]], [[0, 1]])
    course.write_csv(tmp_path / "x.csv")
    before = (tmp_path / "x.csv").read_bytes()
    seen: list[str] = []
    sync = publish.layer.sync

    def watched(descriptor: int) -> None:
        seen.append("sync")
        sync(descriptor)

    monkeypatch.setattr(publish.layer, "sync", watched)
    course.write_csv(tmp_path / "x.csv")
    assert seen == ["sync"]

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish.layer, "write", full)
    with pytest.raises(DataError, match=r"cannot write .*x\.csv: No space left on device"):
        TimeCourse.from_arrays([[[5, 6]]], [[0]]).write_csv(tmp_path / "x.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    assert (tmp_path / "x.csv").read_bytes() == before


def test_a_file_that_is_not_text_has_a_size_and_no_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"kind": "files", "train": {"file": "x.pair", "side": "two"}}
    data = bytes(5 << 20)  # no line break in 5 MiB
    (folder / "x.pair").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.pair: a line of more than 4 MiB"):
        digest(spec, base=folder)
    monkeypatch.setattr(Pair, "max_bytes", len(data))
    parts = (hashlib.sha256(data).hexdigest(), hashlib.sha256(b"2").hexdigest())
    whole = f"train:{parts[0]}\ntrain.side:{parts[1]}\n"
    assert digest(spec, base=folder) == hashlib.sha256(whole.encode()).hexdigest()
    (folder / "x.pair").write_bytes(data + b"x")
    with pytest.raises(DataError, match=r"x\.pair: more than 5,242,880 bytes"):
        digest(spec, base=folder)
