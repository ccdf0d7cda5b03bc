"""Studies that would cost time and memory without end are refused at once: in a process of its own, measured."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_hpc.errors import StudyError
from dash_hpc.study import load_study, parse_study
from dash_hpc.study.limits import TooLarge, check_size
from dash_hpc.study.sweep import compact, expand
from dash_hpc.study.toml import key_lines, parse, tomllib

HEAD = '[data]\nkind = "simulate"\n[[strategy]]\nname = "none"\n'
FILES = '[data]\nkind = "files"\ntrain = "{}"\n[[strategy]]\nname = "none"\n'


def repeated(*parts: tuple[str, int]) -> Callable[[Path], None]:
    """Write a file of repeated parts without holding it in memory."""

    def write(file: Path) -> None:
        with file.open("w", encoding="utf-8") as target:
            for text, count in parts:
                many = max(1, 2**20 // len(text))
                for _ in range(count // many):
                    target.write(text * many)
                target.write(text * (count % many))

    return write


def text(content: str) -> Callable[[Path], None]:
    return lambda file: (file.write_text(content, encoding="utf-8"), None)[1]


def _sparse(file: Path) -> None:
    with file.open("wb") as target:
        target.truncate(5 << 30)


DOTTED = ".".join("a" * 100_000)
HOSTILE = {
    "arrays": (repeated(("x = ", 1), ("[", 10**7)), "bytes are no study file"),
    "arrays-closed": (repeated(("x = ", 1), ("[", 10**7), ("]", 10**7)), "bytes are no study file"),
    "arrays-that-fit": (repeated(("x = ", 1), ("[", 10**6), ("]", 10**6)), "1: lists or tables more than 16 deep"),
    "empty-arrays": (repeated(("x = [", 1), ("[],", 2 * 10**6), ("]", 1)), "1: more than 100,000 entries of lists"),
    "inline-tables": (repeated(("x = ", 1), ("{a = ", 10**5), ("1", 1), ("}", 10**5)), "more than 16 deep"),
    "dotted": (text(f"{DOTTED} = 1\n"), "1: a key of more than 16 parts"),
    "dotted-header": (text(f"{HEAD}[{DOTTED}]\n"), "5: a key of more than 16 parts"),
    "dotted-quoted": (text(DOTTED.replace("a", '"a"') + " = 1\n"), "1: a key of more than 16 parts"),
    "dotted-spaced": (text(DOTTED.replace(".", " . ") + " = 1\n"), "1: a key of more than 16 parts"),
    "dotted-inline": (text("x = {" + DOTTED + " = 1}\n"), "1: a key of more than 16 parts"),
    "keys": (repeated(("[training]\n", 1), *((f"k{i} = 1\n", 1) for i in range(10**5))), "more than 10,000 keys"),
    "million-keys": (repeated(*((f"key{i} = 1\n", 1) for i in range(10**6))), "bytes are no study file"),
    "inline-keys": (text("x = {" + ", ".join(f"k{i} = 1" for i in range(10**5)) + "}"), "more than 10,000 keys"),
    "tables": (repeated(("[[strategy]]\n", 10**5)), "more than 10,000 keys"),
    "digits": (text(f"{HEAD}[training]\nepochs = {'9' * 10**5}\n"), "6: a number or key of 100,000 characters"),
    "digits-of-a-fraction": (text(f"{HEAD}[training]\nlr = 0.{'9' * 10**5}\n"), "6: a number or key of 100,002"),
    "digits-that-fit": (text(f"{HEAD}[training]\nepochs = {'9' * 120}\n"), "6: training.epochs = 9999"),
    "digits-of-a-range": (text(f'{HEAD}[sweep]\nseeds = "0..{"9" * 60_000}"\n'), "6: sweep.seeds = "),
    "epochs": (
        text(f"{HEAD}[training]\nepochs = 1000000000000\n"),
        "6: training.epochs = 1000000000000 must be between",
    ),
    "hidden": (text(f"{HEAD}[model]\nhidden = 1000000000\n"), "6: model.hidden = 1000000000 must be between 1 and"),
    "trajectories": (
        text(HEAD.replace('simulate"', 'simulate"\ntrajectories = 1000000000000')),
        "3: data.trajectories = 1000000000000 must be between 2 and 1,000,000",
    ),
    "times": (repeated((HEAD.split("[[")[0] + "times = [0", 1), (", 1", 10**7), ("]\n", 1)), "bytes are no study file"),
    "times-that-fit": (
        text(HEAD.replace('simulate"', f'simulate"\ntimes = {list(range(99_000))}')),
        "3: data.times = [0, 1, 2, ",
    ),
    "texts-for-times": (
        text(HEAD.replace('simulate"', 'simulate"\ntimes = [' + "''," * 99_000 + "]")),
        '3: data.times = "" must be a number (and 98,999 more)',
    ),
    "values": (
        text(HEAD.replace('simulate"', 'simulate"\ngenes = 90000\nedges = 90000\ntrajectories = 100000')),
        "3: data.genes = 90000 makes 45,004,500,000 values",
    ),
    "sweep": (
        text(HEAD.replace('"none"', '"dash"\nlambda_ppi = "0..1 step 0.000001"\nlambda_motif = "0..1 step 0.000001"')),
        "5: the study asks for 1,000,002,000,001 runs",
    ),
    "sweep-without-end": (
        text(HEAD.replace('"none"', f'"dash"\nlambda_ppi = "0..{"9" * 90}"\nlambda_motif = "0..{"9" * 90}"')),
        "5: the study asks for about 10^180 runs",
    ),
    "text": (text(f'{HEAD}[study]\ndescription = "{"a" * 10**6}"\n'), "6: a text of more than 65,536 characters"),
    "text-that-fits": (text(f'{HEAD}[study]\ndescription = "{"a" * 60_000}"\n'), "must have at most 20,000 characters"),
    "open-text": (text(HEAD + 'x = """' + '\\"' * 10**6), "5: a text of more than 65,536 characters, or without"),
    "quotes": (repeated(('"', 8 * 10**6)), "1: "),
    "brackets": (repeated(("[]", 4 * 10**6)), "1: more words than a study can have"),
    "words": (repeated(("a ", 4 * 10**6)), "1: more words than a study can have"),
    "lines": (repeated(("#\n", 10**6)), "1,000,000 lines; at most 200,000 are read"),
    "blanks": (repeated((" ", 8 * 10**6), ("x", 1)), "not valid TOML"),
    "nul-in-a-path": (text(FILES.format("a\\u0000b")), '3: data.train = "a\\u0000b" holds a NUL, which no path can'),
    "nul-in-the-output": (text(f'{HEAD}[study]\noutput = "a\\u0000b"\n'), '6: study.output = "a\\u0000b" holds a NUL'),
    "nul": (text(f"{HEAD}\0"), "not valid TOML"),
    "gigabytes": (_sparse, "5,368,709,120 bytes are no study file; at most 8,388,608 are read"),
    "fifo": (lambda file: os.mkfifo(file), "is a pipe, not a study file; write "),
    "device": (lambda file: file.symlink_to("/dev/zero"), "is a device, not a study file; write "),
    "terminal": (lambda file: file.symlink_to("/dev/full"), "is a device, not a study file; write "),
    "loop": (lambda file: file.symlink_to(file), "cannot be read (Too many levels of symbolic links)"),
    "folder": (lambda file: file.mkdir(), "is a folder, not a study file"),
    "memory": (
        text(HEAD.replace('simulate"', 'simulate"\ngenes = 90000\nedges = 90000') + "[model]\nhidden = 100000\n"),
        "a run needs at least 576.2 GB of memory, 576.0 GB of it for weights of 4 × model.hidden × genes",
    ),
    "prior-points": (
        text(
            HEAD.replace('simulate"', 'simulate"\ngenes = 90000\nedges = 90000')
            + "[training]\nprior_points = 9000000\n"
            "tau = 0.5\n"
        ),
        "of it for states of training.prior_points × genes = 9,000,000 × 90,000",
    ),
}
OVERRIDES = {
    "arrays": ("training.epochs=" + "[" * 10**5, "--set training.epochs: lists or tables more than 16 deep"),
    "tables": ("training.epochs=" + "{a=" * 30_000, "--set training.epochs: lists or tables more than 16 deep"),
    "digits": ("training.epochs=" + "9" * 10**5, '--set training.epochs: training.epochs = "999'),
    "entries": ("data.times=[" + "," * 10**5, "--set data.times: "),
    "dotted": ("a." * 50_000 + "b=1", "--set a.a.a."),
    "index": ("strategy[" + "9" * 10**5 + "].rewind=1", "--set strategy[9999"),
    "epochs": ("training.epochs=1000000000000", "--set training.epochs: training.epochs = 1000000000000 must be"),
    "sweep": ("sweep.seeds=0..999999999999", "--set sweep.seeds: the study asks for 1,000,000,000,000 runs"),
    "text": ("study.description=" + "a" * 10**5, "study.description = "),
}


@pytest.fixture
def refused(measured: Callable[..., tuple[int, float, int, str]]) -> Callable[..., str]:
    """Run dash-hpc, and return its one line of error when it kept within 5 s and 500 MB."""

    def run(*words: str | Path) -> str:
        code, seconds, size, said = measured([sys.executable, "-m", "dash_hpc", *map(str, words)])
        assert code == 2, said
        assert seconds < 5
        assert size < 500_000_000
        (line,) = said.splitlines()
        assert len(line) < 1100
        return line

    return run


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_study_that_cannot_be_meant_is_refused_at_once(
    kind: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    make, expected = HOSTILE[kind]
    file = tmp_path / "study.toml"
    make(file)
    line = refused("run", file, "--dry-run")
    assert line.startswith(("dash-hpc: error: " + str(file), "dash-hpc: error: study study: a run needs"))
    assert expected in line


@pytest.mark.parametrize("kind", OVERRIDES)
def test_a_setting_that_cannot_be_meant_is_refused_at_once(
    kind: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    override, expected = OVERRIDES[kind]
    file = tmp_path / "study.toml"
    file.write_text(HEAD)
    assert expected in refused("run", file, "--dry-run", "--set", override)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--genes", "1000000000"], "1000000000 is not in the range 2<=x<=100000"),
        (["--trajectories", "1000000000000"], "1000000000000 is not in the range 1<=x<=1000000"),
        (["--genes", "90000", "--edges", "90000", "--trajectories", "100000"], "45,004,500,000 values of expression"),
        (["--genes", "9" * 5000], "is not a valid integer range"),
        (["--times", "0," * 60_000], "--times 0,0,"),
    ],
)
def test_a_simulation_without_end_is_refused_at_once(
    words: list[str], expected: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert expected in refused("simulate", tmp_path / "out", *words)


def test_what_fits_is_read(tmp_path: Path) -> None:
    """The limits are those of the documentation, and the largest study within them is one."""
    seeds = list(range(0, 198_000, 2))
    long = f"[sweep]\nseeds = {seeds}\n[study]\ndescription = '''{'a' * 19_990}'''\n{HEAD}# {'#' * 10**6}\n"
    file = tmp_path / "study.toml"
    file.write_text(long.replace(", ", ",\n"), encoding="utf-8")
    study = load_study(file)
    assert study.sweep.seeds == tuple(seeds)
    again = parse_study(study.to_toml())
    assert again.sweep.seeds == study.sweep.seeds
    assert len(study.to_toml()) < 30_000
    check_size("a = " + "[" * 16 + "]" * 16)
    check_size(".".join("a" * 16) + " = 1")
    check_size("a = " + "9" * 128)
    check_size("a = '" + "x" * 65_536 + "'")


TOKENS = st.sampled_from(
    [
        "[",
        "]",
        "{",
        "}",
        ",",
        "=",
        ".",
        "\n",
        " ",
        "#",
        '"',
        "'",
        '"""',
        "'''",
        "\\",
        "a",
        "b1",
        "1",
        "1.5",
        '"q"',
        "'l'",
        "true",
        "a.b",
        "[t]\n",
        "k = 1\n",
        "k = [1, 2]\n",
        '\\"',
    ]
)


@given(st.lists(TOKENS, max_size=40).map("".join))
def test_no_text_is_refused_that_the_parser_takes(content: str) -> None:
    """Small texts are within every limit, so only the parser may refuse them."""
    try:
        check_size(content)
    except TooLarge as error:
        pytest.fail(f"{content!r}: {error}")


@given(st.integers(1, 40), st.sampled_from(["[", "{a="]), st.lists(TOKENS, max_size=10).map("".join))
def test_no_deep_text_reaches_the_parser(depth: int, opening: str, before: str) -> None:
    """Whatever stands before: a text that the parser takes and that is deeper than the limit is refused."""
    closing = "]" if opening == "[" else "}"
    content = f"{before}\nz = {opening * depth}{'' if opening == '[' else '1'}{closing * depth}\n"
    try:
        tomllib.loads(content)
    except tomllib.TOMLDecodeError:
        return
    if depth > 16:
        with pytest.raises(TooLarge):
            parse(content)
    else:
        parse(content)


def test_quoted_keys_of_every_kind_have_lines() -> None:
    content = '"\\U0001F600\t" = 1\n"a b" = 2\n\'c"d\' = 3\n[x."y\\u0041"]\nz = 1\n'
    assert key_lines(content) == {
        ("\U0001f600\t",): 1,
        ("a b",): 2,
        ('c"d',): 3,
        ("x", "yA"): 4,
        ("x", "yA", "z"): 5,
    }


@given(
    st.lists(
        st.tuples(st.integers(-5, 10**6), st.integers(1, 50), st.integers(1, 1500)).map(
            lambda run: [run[0] + k * run[1] for k in range(run[2])]
        )
        | st.lists(st.sampled_from(["init", 0.1, 7, True]), max_size=3),
        max_size=4,
    )
)
def test_a_shortened_list_stands_for_the_same_values(parts: list[list[object]]) -> None:
    values = [value for part in parts for value in part]
    short = compact(values)
    assert list(map(repr, expand(short) if short else ())) == list(map(repr, values))


def test_ranges_of_fractions_are_shortened_exactly() -> None:
    values = expand("0..1 step 0.0001")
    assert compact(values) == ["0.0..1.0 step 0.0001"]
    assert values[3] == 0.0003
    assert list(map(repr, expand(compact(values)))) == [repr(k / 10_000) for k in range(10_001)]


def test_a_study_of_many_seeds_stays_a_small_file() -> None:
    study = parse_study(f'{HEAD}[sweep]\nseeds = "0..99999"\n')
    written = study.to_toml()
    assert '"0..99999"' in written
    assert len(written) < 3000
    assert parse_study(written).sweep.seeds == tuple(range(100_000))


def test_many_mistakes_are_counted_and_the_first_is_told() -> None:
    keys = "\n".join(f"k{number} = 1" for number in range(9_000))
    with pytest.raises(StudyError, match=r"study:6: unknown key training\.k0; .* \(and 8,999 more\)$"):
        parse_study(f"{HEAD}[training]\n{keys}\n")
