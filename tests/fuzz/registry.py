"""All kinds of files that are fuzzed. A new one: its module, and a line here."""

from __future__ import annotations

from kind import Kind
from kind_bundle import Bundle
from kind_checkpoint import Checkpoint
from kind_index import Index
from kind_run import Run

__all__ = ["KINDS"]

KINDS: tuple[type[Kind], ...] = (Run, Checkpoint, Bundle, Index)
