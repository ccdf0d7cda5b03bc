"""Validation errors in one line: where, what is written there, and what may be written instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from dash_hpc.study.expression import ExpressionTable, WrongTable
from dash_hpc.study.models import MODELS, section_of
from dash_hpc.study.phrases import nearest, phrase
from dash_hpc.study.schema import SECTIONS, Study, tables
from dash_hpc.study.sources import DATA_KINDS
from dash_hpc.study.toml import value_text

__all__ = ["Path", "Problem", "path_text", "problem_count", "problems"]

Path = tuple[str | int, ...]
_MOST = 100


@dataclass(frozen=True)
class Problem:
    """One thing wrong: the path of the key, the sentence without its place, and whether the key is not there."""

    path: Path
    message: str
    missing: bool = False


def path_text(path: Path) -> str:
    """Write a path as a user reads it: ``strategy[1].lambda_ppi``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def problems(error: ValidationError, raw: Mapping[str, Any]) -> list[Problem]:
    """Translate the errors of validating ``raw`` as a Study, the first hundred."""
    return [_problem(item, raw) for item in _told(error)[:_MOST]]


def problem_count(error: ValidationError) -> int:
    """Return how many there are."""
    return len(_told(error))


def _told(error: ValidationError) -> list[Any]:
    items = error.errors(include_url=False)
    # A list whose entries are all wrong is also called too short; the entries say what is wrong with it.
    wrong = {item["loc"][: len(item["loc"]) - k] for item in items for k in range(1, len(item["loc"]))}
    return [item for item in items if item["type"] != "too_short" or item["loc"] not in wrong]


def _problem(item: Any, raw: Mapping[str, Any]) -> Problem:
    return _told_at(item, raw, *_resolve(item["loc"], raw))


def _told_at(item: Any, raw: Mapping[str, Any], path: Path, model: type[BaseModel]) -> Problem:
    kind, context = item["type"], item.get("ctx", {})
    if isinstance(wrong := context.get("error"), WrongTable):
        # A missing key may be the one that is misspelt beside it, which says more.
        inner = min(wrong.error.errors(include_url=False), key=lambda item: item["type"] == "missing")
        return _told_at(inner, raw, (*path, *inner["loc"]), wrong.model)
    if kind == "at_key":
        path = (*path, *(int(part) if part.isdigit() else part for part in context["key"].split(".")))
        value = _lookup(raw, path)
        return Problem(path, f"{_assignment(path, value)} {context['message']}")
    if kind == "unknown_family":
        path = (*path, "family")
        hint = nearest(str(context["family"]), list(MODELS))
        return Problem(path, f"{_assignment(path, context['family'])} is unknown; {hint}")
    if kind == "extra_forbidden":
        return _unknown(path, model)
    if kind == "missing":
        return _missing(path, model)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _bad_tag(path, kind, context)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Problem(path, f"{path_text(path)} must be a table: [{path_text(path)}]")
    if kind == "tuple_type" and path == ("strategy",):
        return Problem(path, "strategy must be written [[strategy]], with two brackets, once per strategy")
    if kind == "too_short" and path == ("strategy",):
        return Problem(path, "the study has no strategy: add a [[strategy]] table")
    return Problem(path, f"{_assignment(path, item['input'])} {phrase(item, model, str(path[-1]))}")


def _resolve(location: Path, raw: Mapping[str, Any]) -> tuple[Path, type[BaseModel]]:
    """Split a pydantic location into the path in the file and the model that the last key belongs to.

    Pydantic puts the tag of a discriminated union (the data kind, the strategy name) and the positions in a list of
    values into the location; a file has neither.
    """
    head, rest = location[:1], location[1:]
    if head == ("data",):
        kind = rest[0] if rest and rest[0] in DATA_KINDS else None
        if kind is None:
            return ("data",), Study
        inner = tuple(part for part in rest[2:] if not isinstance(part, int))
        if inner[:1] == ("table",):  # one of a file of expression
            return ("data", rest[1], *inner[1:2]), ExpressionTable
        return ("data", *rest[1:2]), DATA_KINDS[str(kind)]
    if head == ("strategy",):
        if len(rest) < 2:
            return ("strategy", *rest), Study
        return ("strategy", rest[0], *rest[2:3]), tables()[str(rest[1])].scalar
    if head == ("model",):
        return (*head, *rest[:1]), section_of(raw.get("model")) if rest else Study
    if head and head[0] in SECTIONS:
        return (*head, *rest[:1]), SECTIONS[str(head[0])] if rest else Study
    return head, Study


def _lookup(raw: Any, path: Path) -> Any:
    for part in path:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return None
    return raw


def _assignment(path: Path, value: Any) -> str:
    if value is None or isinstance(value, Mapping):
        return path_text(path)
    try:
        text = value_text(value)
    except TypeError:
        text = str(value)
    return f"{path_text(path)} = {text if len(text) <= 60 else text[:57] + '…'}"


def _legal(path: Path, model: type[BaseModel]) -> list[str]:
    keys = list(model.model_fields)
    return ["name", *keys] if path[:1] == ("strategy",) and len(path) > 1 else keys


def _unknown(path: Path, model: type[BaseModel]) -> Problem:
    key = str(path[-1])
    homes = [name for name, section in SECTIONS.items() if key in section.model_fields]
    legal = _legal(path, model)
    if len(path) == 1:
        return Problem(path, f"unknown section [{key}]; {nearest(key, legal)}")
    close = get_close_matches(key, legal, n=1, cutoff=0.8)
    if not legal:
        return Problem(path, f"unknown key {path_text(path)}; files of this kind have no keys")
    hint = f"it belongs in [{homes[0]}]" if homes and not close else nearest(key, legal)
    return Problem(path, f"unknown key {path_text(path)}; {hint}")


def _missing(path: Path, model: type[BaseModel]) -> Problem:
    if len(path) == 1:
        header = "[[strategy]]" if path[0] == "strategy" else f"[{path[0]}]"
        return Problem((), f"the section {header} is missing; dash-hpc init writes a study to start from", True)
    info = model.model_fields.get(str(path[-1]))
    note = f" ({info.description})" if info is not None and info.description else ""
    return Problem(path, f"{path_text(path)} is missing{note}", True)


def _bad_tag(path: Path, kind: str, context: Mapping[str, Any]) -> Problem:
    key = "kind" if path[0] == "data" else "name"
    legal = list(DATA_KINDS if key == "kind" else tables())
    path = (*path, key)
    if kind == "union_tag_not_found":
        return Problem(path, f"{path_text(path)} is missing; there is {', '.join(legal)}")
    return Problem(path, f"{_assignment(path, str(context['tag']))} is unknown; {nearest(str(context['tag']), legal)}")
