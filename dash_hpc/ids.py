"""The id of a run: a hash of its spec, so that equal work has one name wherever it is planned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["spec_id", "spec_text"]


def spec_text(spec: Mapping[str, Any]) -> str:
    """Return the one text of ``spec``: JSON, keys sorted, no spaces, ASCII; NaN and infinity raise ValueError."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def spec_id(spec: Mapping[str, Any]) -> str:
    """Return the run id that belongs to ``spec``: the first 16 hexadecimal digits of BLAKE2b over its text."""
    return hashlib.blake2b(spec_text(spec).encode()).hexdigest()[:16]
