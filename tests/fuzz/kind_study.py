from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from random import Random
from typing import Any

from kind import Altered, Case, Kind
from mutators import change_bytes, change_text

from dash_hpc.errors import StudyError
from dash_hpc.execution.planning import planned_runs
from dash_hpc.study import load_study, parse_study, plan
from dash_hpc.study.schema import PARTS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_GOOD = """\
# A study with a comment
[study]
name = "fuzzed"
description = '''two
lines'''
[data]
kind = "simulate"
genes = 12
regulators = 4
edges = 16
trajectories = 6
test_trajectories = 2
times = [0, 2.5, 3, 7]
seed = 3
starts = ["measured", "smoothed"]
[model]
hidden = 4
dtype = "float64"
[solver]
rtol = 1e-6
[training]
epochs = 20
lr = 2e-3
betas = [0.9, 0.99]
early_stop = 0
reset_lr_at_events = false
criterion = "rows"
[schedule]
first_epoch = 3
every = 5
[sweep]
seeds = [0, 1, "4..7"]
[[strategy]]
name = "none"
[[strategy]]
name = "dash"
lambda_ppi = [0.1, 0.5]
lambda_motif = "0..1 step 0.25"
[[strategy]]
name = "imp"
rewind = ["none", "init", 2]
[[strategy]]
name = "evidence"
mode = ["network", "recall"]
keep = [-1.5, "mode"]
admit = "mode"
alpha = 0.3
rounds = 2
candidates = 50
"""
_VALUES = (
    "0", "1", "-1", "2", "1e3", "0.5", "true", "false", "nan", "inf", "-inf", "[]", "[[]]", "[1, 2]", "{}", "{a = 1}",
    '""', '"x"', '"0..3"', '"3..0"', '"0..1"', '"0..1 step 0"', '"0..1e9"', '"0..999999999999999999999"', "9" * 60,
    "0x1F", "1_000", "+5", "1979-05-27", "07:32:00", "'''a\nb'''", '"\\u0000"', '"\\u001b[2J"', '"\\u202e"', '"[/x]"',
    '"$x$"',
    '"none"', '"dash"', '"evidence"', '"mode"', '"share"', '"rows"', '"smoothed"',
    '"simulate"', '"files"', '"float32"', "[0, 1, 1]", "[1, 0]", '["a", 1]', "1" + "0" * 18,
    "1e308", '"' + "a" * 5000 + '"', "[" * 40 + "]" * 40, "1e-320", "0.1", "-0.0",
)  # fmt: skip
_KEYS = (
    "genes",
    "hidden",
    "epochs",
    "seeds",
    "name",
    "lambda_ppi",
    "rewind",
    "mode",
    "admit",
    "starts",
    "criterion",
    "times",
    "x",
    '"a.b"',
    "a.b.c",
    "''",
    "λ",
)


class StudyFile(Kind):
    """A study file, up to its plan, as ``run --dry-run`` reads it."""

    name = "study file"
    short = 200

    def prepare(self, place: Path) -> None:
        self.path = place / "study.toml"
        if self.check(Case("good", _GOOD.encode())) != "equal":
            raise RuntimeError("refused before anything was changed")

    def mutate(self, rng: Random) -> Case:
        how = rng.random()
        if how < 0.25:
            return Case(*change_bytes(_GOOD.encode(), rng))
        if how < 0.45:
            return Case(*change_text(_GOOD.encode(), rng))
        lines = _GOOD.splitlines()
        labels = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            labels.append(_change_line(lines, rng))
        return Case("+".join(labels), "\n".join(lines).encode())

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        try:
            study = load_study(self.path)
            if study.n_runs <= 2000:
                runs = planned_runs(study)
                again = plan(parse_study(study.to_toml()), "")
                if [run.id for run in again] != [run.id for run in runs]:
                    raise Altered("the resolved study has another plan")
        except StudyError as error:
            text = str(error)
            named = text.startswith((str(self.path), "study "))
            if not named or "\n" in text:
                raise Altered(f"the message does not name the file in one line: {text[:200]!r}") from None
            return "refused"
        raw = tomllib.loads(case.data.decode("utf-8-sig"))
        wrong = _differences(raw, study.model_dump(mode="json"), {part: study.part(part).axes for part in PARTS})
        if wrong:
            raise Altered("; ".join(wrong))
        return "equal"


def _change_line(lines: list[str], rng: Random) -> str:
    k = rng.randrange(len(lines))
    key, equals, _ = lines[k].partition(" = ")
    how = rng.choice(("value", "value", "value", "key", "twice", "gone", "order", "insert", "section"))
    if how == "value" and equals:
        lines[k] = f"{key} = {rng.choice(_VALUES)}"
    elif how == "key" and equals:
        lines[k] = f"{rng.choice(_KEYS)} = {lines[k].partition(' = ')[2]}"
    elif how == "twice":
        lines.insert(rng.randrange(len(lines) + 1), lines[k])
    elif how == "gone":
        del lines[k]
    elif how == "order":
        other = rng.randrange(len(lines))
        lines[k], lines[other] = lines[other], lines[k]
    elif how == "insert":
        lines.insert(k, f"{rng.choice(_KEYS)} = {rng.choice(_VALUES)}")
    else:
        lines.insert(
            k, rng.choice(("[training]", "[[strategy]]", "[x]", "[[sweep]]", "[data.times]", "[strategy.dash]"))
        )
    return how


def _differences(raw: dict[str, Any], read: dict[str, Any], axes: dict[str, Any]) -> list[str]:
    """What the file gives, by the TOML library alone, and the study has otherwise."""
    wrong = []
    for section, content in raw.items():
        tables = content if isinstance(content, list) else [content]
        found = read[section] if isinstance(content, list) else [read[section]]
        if len(tables) != len(found):
            wrong.append(f"{len(tables)} tables of {section}, {len(found)} read")
        for table, own in zip(tables, found, strict=False):
            for key, value in table.items():
                swept = (section in ("sweep", "strategy") and key != "name") or key in axes.get(section, ())
                given = _listed(value) if swept else value
                if given is not None and not _same(given, own.get(key)):
                    wrong.append(f"{section}.{key} is {str(value)[:60]}, read as {str(own.get(key))[:60]}")
    return wrong


def _listed(value: Any) -> list[Any] | None:
    """The values that a scalar, a list or a range of whole numbers stands for; None for other ranges."""
    values = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, list):
            return None
        found = re.fullmatch(r"\s*(-?\d+)\s*\.\.\s*(-?\d+)\s*", item) if isinstance(item, str) else None
        if found:
            values += range(int(found[1]), int(found[2]) + 1)
        elif isinstance(item, str) and ".." in item:
            return None
        else:
            values.append(item)
    return values


def _same(given: Any, read: Any) -> bool:
    if isinstance(given, list):
        return isinstance(read, list) and len(given) == len(read) and all(map(_same, given, read))
    if isinstance(given, bool) or isinstance(read, bool) or isinstance(given, str):
        return given is read or (isinstance(given, str) and given == read)
    return isinstance(read, (int, float)) and math.isclose(given, read, rel_tol=0, abs_tol=0)
