"""What is wrong with a value, in words: whatever model of options it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError

__all__ = ["nearest", "number_text", "phrase", "told"]

_PLAIN = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "is not UTF-8; rename the file or folder",
    "tuple_type": "must be a list",
}


def number_text(value: Any) -> str:
    """Write a bound: whole numbers in full, others with six digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def nearest(word: str, legal: list[str]) -> str:
    """Return a hint: the legal word nearest to ``word``, or the whole list when none is near."""
    close = get_close_matches(word, legal, n=1, cutoff=0.6) or [name for name in legal if name.lower() == word.lower()]
    return f"did you mean {close[0]}?" if close else f"there is {', '.join(legal)}"


def phrase(item: Mapping[str, Any], model: type[BaseModel], key: str) -> str:
    """Say what is wrong with the value of ``key`` in ``model``; ``item`` is one of pydantic's errors."""
    kind, context = str(item["type"]), item.get("ctx", {})
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind.startswith(("greater_than", "less_than")):
        info = model.model_fields.get(key)
        return _bounds(list(info.metadata) if info is not None else [], context)
    if kind == "literal_error":
        legal = [part.strip("'") for part in context["expected"].replace(" or ", ", ").split(", ")]
        hint = nearest(item["input"], legal) if isinstance(item["input"], str) else f"there is {', '.join(legal)}"
        return f"is unknown; {hint}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "too_short":
        return f"must have {context['min_length']} entries or more"
    if kind == "too_long":
        return f"must have at most {number_text(context['max_length'])} entries"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_too_long":
        return f"must have at most {number_text(context['max_length'])} characters"
    if kind == "string_pattern_mismatch":
        return "must be one line without '/' and '\\', and not begin with '.', '-' or a space nor end with a space"
    return str(item["msg"])


def told(error: ValidationError, model: type[BaseModel], what: str) -> str:
    """Say in one line what is wrong with the first key that is; ``what`` the keys of the model are: "option"."""
    item = error.errors(include_url=False)[0]
    key, legal = str(item["loc"][0]), list(model.model_fields)
    if item["type"] == "extra_forbidden":
        return f"unknown {what} {key!r}; {nearest(key, legal) if legal else f'it has no {what}s'}"
    if item["type"] == "missing":
        return f"{key} is missing ({model.model_fields[key].description})"
    return f"{key} = {item['input']!r} {phrase(item, model, key)}"


def _bounds(metadata: list[Any], context: Mapping[str, Any]) -> str:
    """Say what a number may be, from the bounds of the field or, for an entry of a list, from the one broken."""
    low = next((m.ge if isinstance(m, Ge) else m.gt for m in metadata if isinstance(m, (Ge, Gt))), None)
    high = next((m.le if isinstance(m, Le) else m.lt for m in metadata if isinstance(m, (Le, Lt))), None)
    if low is None and high is None:
        low, high = context.get("ge", context.get("gt")), context.get("le", context.get("lt"))
    open_low = any(isinstance(m, Gt) for m in metadata) or "gt" in context
    open_high = any(isinstance(m, Lt) for m in metadata) or "lt" in context
    if low is not None and high is not None and not open_low and not open_high:
        return f"must be between {number_text(low)} and {number_text(high)}"
    parts = []
    if low is not None:
        parts.append(f"larger than {number_text(low)}" if open_low else f"{number_text(low)} or larger")
    if high is not None:
        parts.append(f"smaller than {number_text(high)}" if open_high else f"{number_text(high)} or smaller")
    return "must be " + " and ".join(parts)
