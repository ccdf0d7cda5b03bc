"""Reading of a study file, with ``--set`` values on top."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dash_hpc.errors import StudyError
from dash_hpc.names import is_utf8
from dash_hpc.shown import shell_path, shown
from dash_hpc.study import toml
from dash_hpc.study.count import count_runs
from dash_hpc.study.limits import TooLarge, read_limited
from dash_hpc.study.phrases import nearest
from dash_hpc.study.presets import Conflict, apply_preset
from dash_hpc.study.problems import Path as KeyPath
from dash_hpc.study.problems import problem_count, problems
from dash_hpc.study.schema import Study
from dash_hpc.study.sources import DATA_KINDS
from dash_hpc.study.sweep import MAX_RUNS, many

__all__ = ["load_study", "parse_study"]


def load_study(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Study:
    """Read and validate a study file.

    Parameters
    ----------
    path : path-like
        TOML file.
    overrides : sequence of str
        ``"key=value"``, applied on top of the file in this order: ``"training.epochs=10"``, ``"sweep.seeds=0..2"``,
        ``"strategy.dash.lambda_ppi=[0.1, 0.5]"`` (all tables of that name; ``strategy[0].…`` names one). Values are
        TOML; what is not TOML is text.

    Returns
    -------
    Study
        Complete: what the file leaves out has its default.

    Raises
    ------
    StudyError
        One line with file, line and key (or ``--set key``): file missing, too large or not TOML, unknown key, value of
        the wrong type or out of range, the same run twice, or more than 1,000,000 runs (refused before they are
        listed).
    """
    file = Path(path)
    text = read_limited(file, hint=f"; write one with: dash-hpc init {shell_path(file)}")
    return parse_study(text, overrides, source=str(file), stem=file.stem, base=file.resolve().parent)


def parse_study(
    text: str, overrides: Sequence[str] = (), *, source: str = "study", stem: str = "study", base: Path | None = None
) -> Study:
    """Validate a study given as text; ``source`` names it in errors, ``stem`` is the study's name if it has none.

    ``base`` is the folder that relative paths of ``[data]`` start from. Raises as ``load_study`` does.
    """
    try:
        raw = toml.parse(text)
    except toml.TOMLDecodeError as error:
        raise StudyError(_not_toml(source, str(error))) from None
    except TooLarge as error:
        raise StudyError(f"{source}:{error.line}: {error}") from None
    lines = toml.key_lines(text)
    places: dict[KeyPath, str] = {}
    for override in overrides:
        _override(raw, override, places)

    try:
        apply_preset(raw)
    except Conflict as error:
        raise StudyError(f"{_place(error.path, source, lines, places)}: {error}") from None
    count = count_runs(raw)
    if count.total > MAX_RUNS:
        place = _place(count.longest, source, lines, places)
        raise StudyError(
            f"{place}: the study asks for {many(count.total)} runs = {count.reason}; at most {MAX_RUNS:,} are allowed, "
            "so shorten the lists or split the study"
        )
    _complete(raw, stem, base, source)
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        found, number = problems(error, raw), problem_count(error)
    # A missing key may be the one that is misspelt elsewhere in its table, which says more.
    first = min(found, key=lambda problem: (problem.missing, _line(problem.path, lines)))
    more = f" (and {number - 1:,} more)" if number > 1 else ""
    raise StudyError(f"{_place(first.path, source, lines, places)}: {first.message}{more}")


def _not_toml(source: str, message: str) -> str:
    if match := re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", message):
        return f"{source}:{match[2]}: not valid TOML at column {match[3]}: {match[1]}"
    return f"{source}: not valid TOML: {message}"


def _complete(raw: dict[str, Any], stem: str, base: Path | None, source: str) -> None:
    """Fill in what depends on the file: the study's name, and where relative data paths start."""
    section = raw.setdefault("study", {})
    if not isinstance(section, dict):
        return  # validation says so
    section.setdefault("name", re.sub(r"[^A-Za-z0-9_.-]", "-", stem).lstrip("-_.") or "study")
    data = raw.get("data")
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if base is not None and isinstance(kind, str) and kind in DATA_KINDS and DATA_KINDS[kind].names_files:
        own = section.get("base", ".")
        if isinstance(own, str):
            section["base"] = str(base / own)
            if not is_utf8(section["base"]):
                raise StudyError(
                    f"{source}: its data are in {shown(section['base'])}, a name that is not UTF-8, which the study "
                    "file in the output cannot hold; rename the folder"
                )


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return 0


def _place(path: KeyPath, source: str, lines: Mapping[KeyPath, int], places: Mapping[KeyPath, str]) -> str:
    for end in range(len(path), 0, -1):
        if path[:end] in places:
            return places[path[:end]]
    line = _line(path, lines)
    return f"{source}:{line}" if line else source


def _override(raw: dict[str, Any], override: str, places: dict[KeyPath, str]) -> None:
    key, equals, text = override.partition("=")
    key, text = key.strip(), text.strip()
    place = f"--set {key}"
    if not equals or not re.fullmatch(r"\w+(?:\[\d{1,9}\])?(?:\.\w+)+", key):
        raise StudyError(f'--set {override}: write section.key=value, for example "training.epochs=10"')
    try:
        value = _value(text)
    except TooLarge as error:
        raise StudyError(f"{place}: {error}") from None
    section, *rest = key.split(".")
    if section == "strategy" or section.startswith("strategy["):
        _override_strategy(raw, section, rest, value, place, places)
        return
    nested = section == "data" and len(rest) == 2  # the keys of a file's reader
    if not (nested or len(rest) == 1) or "[" in section:
        raise StudyError(f"{place}: unknown key; write section.key=value")
    if section not in raw:
        places[(section,)] = place
    table = raw.setdefault(section, {})
    if not isinstance(table, dict):
        raise StudyError(f"{place}: {section} is not a section")
    if nested:
        if isinstance(table.get(rest[0]), str):
            table[rest[0]] = {"file": table[rest[0]]}
        table = table.setdefault(rest[0], {})
        if not isinstance(table, dict):
            raise StudyError(f"{place}: {section}.{rest[0]} is not a table")
    table[rest[-1]] = value
    places[(section, *rest)] = place


def _override_strategy(
    raw: dict[str, Any], section: str, rest: list[str], value: Any, place: str, places: dict[KeyPath, str]
) -> None:
    found = raw.get("strategy")
    tables = [table for table in found if isinstance(table, dict)] if isinstance(found, list) else []
    if index := re.fullmatch(r"strategy\[(\d+)\]", section):
        chosen = [int(index[1])] if int(index[1]) < len(tables) else []
        if not chosen:
            raise StudyError(f"{place}: the study has {len(tables)} strategies, counted from 0")
    else:
        names = [str(table.get("name")) for table in tables]
        name, *rest = rest
        chosen = [k for k, other in enumerate(names) if other == name]
        if not chosen:
            raise StudyError(f"{place}: the study has no strategy {name}; {nearest(name, names)}")
    if len(rest) != 1:
        raise StudyError(f"{place}: write strategy.<name>.<option>=value")
    for k in chosen:
        tables[k][rest[0]] = value
        places[("strategy", k, rest[0])] = place


def _value(text: str) -> Any:
    """Read a value as TOML; what is not TOML (a bare word, a range) is text."""
    try:
        parsed = toml.parse(f"value = {text}")
    except toml.TOMLDecodeError:
        return text
    except TooLarge:
        if text[:1] in "[{\"'":
            raise
        return text  # a bare word of any length: a path
    return parsed["value"] if len(parsed) == 1 else text
