"""What reading a network found: how much was kept, what was left out, what was recognised, what is in doubt."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NetworkRecord"]


@dataclass(frozen=True)
class NetworkRecord:
    """The account of one network file.

    Attributes
    ----------
    file : str
        Its name, without folders.
    layout : str
        How it was read: ``"edge list"``, ``"matrix"``, ``"numbered triples"``.
    entries : int
        Edges (or pairs, see ``what``) that the file gives, before anything is left out.
    what : str
        What the entries are: "edges" or "pairs".
    genes : int
        Size of the gene list they had to fit.
    dropped : int
        Entries with an end that is not among the genes.
    by_case : int
        Of these, the ones that would fit if upper and lower case were ignored.
    strangers : str
        The first names that are not among the genes.
    merged : int
        Entries that went into another one at the same place.
    contradictory : int
        Edges that were given with both signs.
    unsigned : int
        Edges whose sign the file calls unknown.
    zero : int
        Entries of weight 0, which are no edges.
    loops : int
        Edges from a gene to itself.
    remarks : tuple of str
        What was recognised beyond the plain form: separators, spellings, columns.
    doubts : tuple of str
        What may be wrong, and how to say it.
    """

    file: str
    layout: str
    entries: int
    genes: int
    what: str = "edges"
    dropped: int = 0
    by_case: int = 0
    strangers: str = ""
    merged: int = 0
    contradictory: int = 0
    unsigned: int = 0
    zero: int = 0
    loops: int = 0
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def losses(self) -> tuple[str, ...]:
        """What was left out, merged or changed, a clause each; empty when everything went in as it stands."""
        one = self.what.removesuffix("s")
        told = []
        if self.dropped:
            case = f" ({self.by_case:,} only by case)" if self.by_case else ""
            names = f": {self.strangers}" if self.strangers else ""
            told.append(
                f"{self.dropped:,} of {self.entries:,} {self.what} dropped, an end is not among the "
                f"{self.genes:,} genes{case}{names}"
            )
        if self.merged:
            told.append(f"{self._several(self.merged, 'entry', 'entries')} merged into another of the same {one}")
        if self.contradictory:
            told.append(
                f"{self._several(self.contradictory)} with contradictory signs: the sign is taken as unknown, so "
                "positive, with the largest weight"
            )
        if self.unsigned:
            told.append(f"{self._several(self.unsigned)} of unknown sign, taken as positive")
        if self.zero:
            told.append(f"{self._several(self.zero, 'entry', 'entries')} of weight 0, which is no {one}")
        return tuple(told)

    def _several(self, count: int, one: str = "", many: str = "") -> str:
        return f"{count:,} {(one or self.what.removesuffix('s')) if count == 1 else (many or self.what)}"

    def notes(self) -> tuple[str, ...]:
        """All of it as sentences that name the file."""
        return tuple(f"{self.file}: {text}" for text in (*self.remarks, *self.losses(), *self.doubts))
