"""Every mistake in a study file ends in one line with file, line, key and remedy."""

from __future__ import annotations

import pytest

from dash_hpc.errors import StudyError
from dash_hpc.study import load_study, parse_study

STUDY = """\
[study]
name = "example"

[data]
kind = "simulate"
genes = 60
times = [0, 2, 3]

[model]
hidden = 8

[solver]
method = "dopri5"

[training]
epochs = 10
lr = 1e-3

[sweep]
seeds = "0..2"

[[strategy]]
name = "none"

[[strategy]]
name = "dash"
lambda_ppi = [0.1, 0.5]
lambda_motif = 0.5

[[strategy]]
name = "imp"
rewind = "none"
"""


def message(text: str, *overrides: str) -> str:
    with pytest.raises(StudyError) as caught:
        parse_study(text, overrides, source="study.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_text_that_the_mistakes_are_made_in_is_right() -> None:
    assert parse_study(STUDY).n_runs == 3 * (1 + 2 + 1)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "lambda_ppi = [0.1, 0.5]",
            "lambda_ppi = 1.5",
            "study.toml:27: strategy[1].lambda_ppi = 1.5 must be between 0 and 1",
        ),
        (
            "lambda_motif = 0.5",
            "lambda_motif = [0.5, -0.1]",
            "study.toml:28: strategy[1].lambda_motif = -0.1 must be between 0 and 1",
        ),
        ("lambda_motif = 0.5\n", "", "study.toml:25: strategy[1].lambda_motif is missing"),
        (
            "lambda_motif = 0.5",
            'lambda_motif = "0.1..0.5"',
            'study.toml:28: strategy[1].lambda_motif = "0.1..0.5" needs a step',
        ),
        ("epochs = 10", "epoch = 10", "study.toml:16: unknown key training.epoch; did you mean epochs?"),
        ("hidden = 8", "epochs = 8", "study.toml:10: unknown key model.epochs; it belongs in [training]"),
        ("hidden = 8", "zzz = 8", "study.toml:10: unknown key model.zzz; there is family, hidden, dtype, init_U"),
        ("[model]", "[modell]", "study.toml:9: unknown section [modell]; did you mean model?"),
        ("lambda_ppi =", "lambda_pi =", "study.toml:27: unknown key strategy[1].lambda_pi; did you mean lambda_ppi?"),
        ("hidden = 8", "hidden = 0", "study.toml:10: model.hidden = 0 must be between 1 and 100,000"),
        ("hidden = 8", "hidden = 8.5", "study.toml:10: model.hidden = 8.5 must be a whole number"),
        ("hidden = 8", "hidden = true", "study.toml:10: model.hidden = true must be a whole number"),
        ("hidden = 8", 'hidden = "8"', 'study.toml:10: model.hidden = "8" must be a whole number'),
        ("lr = 1e-3", "lr = 0", "study.toml:17: training.lr = 0 must be larger than 0"),
        ("lr = 1e-3", "lr = nan", "study.toml:17: training.lr = nan must be a finite number"),
        ("lr = 1e-3", "lr = 1e-5", "training.min_lr must not be larger than lr = 1e-05"),
        ("genes = 60", "genes = 10", "study.toml:4: data.regulators must not be larger than genes = 10"),
        ("times = [0, 2, 3]", "times = [0, 3, 3]", "study.toml:7: data.times = [0, 3, 3] must increase"),
        ("times = [0, 2, 3]", "times = 3", "study.toml:7: data.times = 3 must be a list"),
        ("times = [0, 2, 3]", "times = [0]", "study.toml:7: data.times = [0] must have 2 entries or more"),
        ("times = [0, 2, 3]", 'times = [0, "x"]', 'study.toml:7: data.times = "x" must be a number'),
        (
            'method = "dopri5"',
            'method = "dopri"',
            'study.toml:13: solver.method = "dopri" is unknown; did you mean dopri5',
        ),
        (
            'kind = "simulate"',
            'kind = "simulated"',
            'study.toml:5: data.kind = "simulated" is unknown; did you mean sim',
        ),
        ('kind = "simulate"\n', "", "study.toml:4: data.kind is missing; there is simulate, catalogue, files"),
        ('name = "imp"', 'name = "ipm"', 'study.toml:31: strategy[2].name = "ipm" is unknown; did you mean imp?'),
        ('name = "imp"\n', "", "study.toml:30: strategy[2].name is missing; there is none, imp, dash"),
        (
            'rewind = "none"',
            'rewind = "start"',
            'study.toml:32: strategy[2].rewind = "start" must be "none", "init" or',
        ),
        (
            'rewind = "none"',
            "rewind = 3",
            "study.toml:32: strategy[2].rewind = 3 must be smaller than schedule.first_epo",
        ),
        ('"0..2"', "[0, -1]", "study.toml:20: sweep.seeds = -1 must be 0 or larger"),
        ('"0..2"', "[]", "study.toml:20: sweep.seeds = [] is empty"),
        ('"0..2"', "[4, 4]", "study.toml:20: sweep.seeds = [4, 4] names 4 twice"),
        ('"0..2"', '"2..0"', 'study.toml:20: sweep.seeds = "2..0" runs downwards; write "0..2"'),
        ('"0..2"', "1.5", "study.toml:20: sweep.seeds = 1.5 must be a whole number"),
        ('"0..2"', '"x"', 'study.toml:20: sweep.seeds = "x" must be a whole number'),
        ('name = "example"', 'name = "../x"', 'study.toml:2: study.name = "../x" must be one line without'),
        ('name = "example"', 'name = "a\\nb"', 'study.toml:2: study.name = "a\\nb" must be one line without'),
        ('name = "example"', 'name = " a"', 'study.toml:2: study.name = " a" must be one line without'),
        ('name = "example"', 'name = "a "', 'study.toml:2: study.name = "a " must be one line without'),
        ('name = "example"', 'name = "-a"', 'study.toml:2: study.name = "-a" must be one line without'),
        ('name = "example"', f'name = "{"x" * 300}"', 'study.toml:2: study.name = "xxxx'),
        ('name = "none"', 'name = "imp"', 'study.toml:31: strategy[2].name = "imp" repeats runs of strategy[0]'),
        ("lr = 1e-3", "lr =", "study.toml:17: not valid TOML at column 5"),
        ("lr = 1e-3", "epochs = 3", "study.toml:17: not valid TOML"),
        ("[model]\nhidden = 8", "", "study.toml:9: not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, expected: str) -> None:
    assert STUDY.count(old) >= 1
    if expected == "study.toml:9: not valid TOML":
        new = "[model\nhidden = 8"
    found = message(STUDY.replace(old, new, 1))
    if expected.startswith("training."):  # a default is at fault: the line is that of the section
        expected = f"study.toml:15: {expected}"
    assert found.startswith(expected), found


def test_the_same_grid_point_in_two_tables_is_refused() -> None:
    more = '\n[[strategy]]\nname = "dash"\nlambda_ppi = [0.2, 0.5]\nlambda_motif = 0.5\n'
    assert message(STUDY + more) == (
        'study.toml:35: strategy[3].name = "dash" repeats runs of strategy[1] (lambda_ppi = 0.5): '
        "every run must be different"
    )
    apart = more.replace("0.2, 0.5", "0.2, 0.6")
    assert parse_study(STUDY + apart).n_runs == 3 * (1 + 2 + 1 + 2)


def test_several_mistakes_are_counted_and_the_first_is_shown() -> None:
    text = STUDY.replace("hidden = 8", "hidden = 0").replace("genes = 60", "genes = -1")
    assert message(text) == "study.toml:6: data.genes = -1 must be between 2 and 100,000 (and 1 more)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "study.toml: the section [data] is missing"),
        ('[data]\nkind = "simulate"\n', "study.toml: the section [[strategy]] is missing"),
        (
            '[data]\nkind = "simulate"\n[strategy]\nname = "none"\n',
            "study.toml:3: strategy must be written [[strategy]]",
        ),
        ('strategy = []\n[data]\nkind = "simulate"\n', "study.toml:1: the study has no strategy"),
        ('model = 3\n[data]\nkind = "simulate"\n[[strategy]]\nname = "none"\n', "study.toml:1: model must be a table"),
    ],
)
def test_a_missing_or_misshapen_section_is_named(text: str, expected: str) -> None:
    assert message(text).startswith(expected)


FILES = '[data]\nkind = "files"\ntrain = "x.csv"\n{}\n[[strategy]]\nname = "{}"\n'


@pytest.mark.parametrize("split", ["[0, 0]", "1.0", "[]", "[-1]", "true", '""', "0"])
def test_a_validation_split_that_means_nothing_is_refused(split: str) -> None:
    found = message(FILES.format(f"validation = {split}", "none"))
    assert found.startswith(f"study.toml:4: data.validation = {split} must be a file, a fraction")


@pytest.mark.parametrize("split", ["[0, 2]", "0.2", '"other.csv"'])
def test_a_validation_split_may_be_a_list_a_fraction_or_a_file(split: str) -> None:
    spec = parse_study(FILES.format(f"validation = {split}", "none")).data_spec()
    assert spec["validation"] == {"[0, 2]": [0, 2], "0.2": 0.2, '"other.csv"': "other.csv"}[split]


def test_a_strategy_that_needs_prior_knowledge_says_so() -> None:
    assert message(FILES.format("", "bioprune")) == (
        'study.toml:6: strategy[0].name = "bioprune" needs prior knowledge (bioprune does): add prior = "…" to [data]'
    )


def test_an_option_without_effect_beside_the_others_is_refused() -> None:
    """A list of its values would be the same run again and again."""
    table = 'random"\nwhen = ["init", "schedule"]\nkeep = [0.1, 0.2]#'
    assert message(FILES.format("", table)) == (
        'study.toml:8: strategy[0].keep = [0.1, 0.2] has no effect with when = "schedule": leave it out (two tables '
        "may have one name)"
    )


def test_a_study_file_that_cannot_be_read(tmp_path) -> None:
    missing = tmp_path / "none.toml"
    with pytest.raises(StudyError, match=r"none\.toml: no such study file; write one with: dash-hpc init"):
        load_study(missing)
    with pytest.raises(StudyError, match="is a folder"):
        load_study(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'[study]\nname = "x"\ndescription = "\xe9"\n')
    with pytest.raises(StudyError, match=r"latin\.toml:3: not UTF-8 text"):
        load_study(latin)


def test_a_file_with_windows_line_ends_and_a_mark_keeps_its_lines(tmp_path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(b"\xef\xbb\xbf" + STUDY.replace("hidden = 8", "hidden = 0").replace("\n", "\r\n").encode())
    with pytest.raises(StudyError, match=r"windows\.toml:10: model\.hidden"):
        load_study(file)


def test_a_single_strategy_that_is_wrong_is_named_and_not_called_missing() -> None:
    head = '[data]\nkind = "simulate"\n[[strategy]]\n'
    for table, expected in (
        (
            'name = "dash"\nlambda_ppi = 1.5\nlambda_motif = 0.1\n',
            "study:5: strategy[0].lambda_ppi = 1.5 must be between",
        ),
        ('name = "DASH"\n', 'study:4: strategy[0].name = "DASH" is unknown; did you mean dash?'),
    ):
        with pytest.raises(StudyError) as caught:
            parse_study(head + table)
        assert str(caught.value).startswith(expected)
        assert "more)" not in str(caught.value)
