"""What the fuzzer needs to know about one kind of file.

A kind stands in a module of its own, ``kind_<name>.py``, with a class derived from :class:`Kind`, and is listed in
``registry.py``. ``prepare`` makes a good file and remembers what readers find in it; ``mutate`` returns changed bytes;
``check`` lets all readers of such a file see them and judges what they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

__all__ = ["Altered", "Case", "Kind"]


class Altered(Exception):
    """A reader took changed content for good, or found nothing wrong where something is."""


@dataclass(frozen=True)
class Case:
    """Changed bytes. ``forged``: whoever made them renewed the checksums, so that a reader cannot know of the change
    and need only take no harm; else it has to see the original or say that the file is damaged.
    """

    label: str
    data: bytes
    forged: bool = False


class Kind:
    """One kind of file."""

    name = ""
    #: Cases of the short form, in the test suite.
    short = 200

    def prepare(self, place: Path) -> None:
        """Make the good file, and what else its readers need, in the empty folder ``place``."""
        raise NotImplementedError

    def mutate(self, rng: Random) -> Case:
        """Return changed bytes."""
        raise NotImplementedError

    def check(self, case: Case) -> str:
        """Let the readers see the case; return "equal", "refused" or (forged) "other".

        Raises
        ------
        Altered
            When a reader takes changed content for good.
        Exception
            Whatever else leaves a reader is a traceback that a user would see.
        """
        raise NotImplementedError
