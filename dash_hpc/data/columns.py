"""Which column of a list of edges is what: by the header's words, or as the user says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dash_hpc.data.cells import clip, sign, spells_number, tidy
from dash_hpc.errors import PriorError

__all__ = [
    "Columns",
    "answer",
    "is_row_number",
    "is_sign",
    "mostly",
    "named_columns",
    "recognised",
    "tells_signs",
    "told",
    "understand",
]

_WORDS = {
    "regulator": """from reg regulator regulators regulatorgene regulatorgenename regulatorname regulatorsymbol
        regulatorid regulatory regulatorygene regulatorygenes regulatorygenename regulating regulatinggene source
        sourcegene sourcegenename sourcename sourcenode sourceid sourcesymbol sourcegenesymbol src tf tfs
        tfgene tfname tfsymbol tfgenename tfgenesymbol tfid transcriptionfactor transcriptionfactors
        transcriptionfactorname factor gene1 gene1name gene1symbol genea geneaname node1 nodea parent upstream
        upstreamgene entitya participanta modulator controller kinase predictor""",
    "target": """to aff affected affectedgene target targets targetgene targetgenes targetgenename targetname targetnode
        targetid targetsymbol targetgenesymbol targetlocus tgt tg tgs tgname tggene gene genes genename genesymbol
        geneid regulated regulatedgene regulatee dest destination gene2 gene2name gene2symbol geneb genebname node2
        nodeb child downstream downstreamgene entityb participantb controlled""",
    "weight": """weight weights w wt priorweight edgeweight score scores combinedscore motifscore strength importance
        value coefficient coef beta force probability prob likelihood mor""",
    "sign": """sign signs signed mode moderegulation modeofregulation modeofaction moa effect effects type types
        regulationtype typeofregulation interactiontype interaction interactions regulation direction action activation
        activates isactivation polarity relation relationship relationtype edgetype edgesign function""",
    "positive": """stimulation isstimulation consensusstimulation activation isactivation positive ispositive""",
    # numbers under these words are no weights
    "other": """sources pmid pmids pubmed pubmedid pubmedids reference references refs doi year id ids index rank row
        chr chrom chromosome start end position distance pvalue pval p padj fdr qvalue evidence evidences database
        databases databasesource confidence level tissue cell celltype organism species taxon taxid isdirected directed
        curationeffort nsources nreferences ec50 n hill hilln""",
    "negative": """inhibition isinhibition consensusinhibition repression isrepression negative isnegative""",
}
_KNOWN = {role: frozenset(words.split()) for role, words in _WORDS.items()}
_WEAK_TARGETS = frozenset(("gene", "genes", "genename", "genesymbol", "geneid"))


_BLANK = '"…"'


@dataclass(frozen=True)
class Columns:
    """Which columns, counted from 0, hold what.

    ``negative``, where given, makes ``sign`` the column that says "activates" and itself the one that says
    "represses", both yes or no. ``asked`` is True where the user named them. ``told`` says what was taken for what.
    """

    regulator: int
    target: int
    weight: int | None = None
    sign: int | None = None
    negative: int | None = None
    asked: bool = False
    told: str = ""
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Mapping[str, int], *, told: str, asked: bool = False, remarks: tuple[str, ...] = ()) -> Columns:
        """Make one from role -> column."""
        weight, sign_column, negative = (found.get(role) for role in ("weight", "sign", "negative"))
        return cls(found["regulator"], found["target"], weight, sign_column, negative, asked, told, remarks)


def answer(key: str, **columns: object) -> str:
    """How to say which column is what: with a key of the study, or where there is none, in the file."""
    if not key:
        return f"call the columns {' and '.join(columns)}"
    return f"say {key} = {{ {', '.join(f'{role} = {value}' for role, value in columns.items())} }} in [data]"


def plain(cell: str) -> str:
    """A header's word without case, blanks and separators; letters of every alphabet belong to it."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFC", tidy(cell)).casefold())


def recognised(cell: str, role: str) -> bool:
    """Whether a header's word names that role."""
    return plain(cell) in _KNOWN[role]


def is_row_number(column: Sequence[str]) -> bool:
    """Whether the cells count 0, 1, 2, … or 1, 2, 3, …."""
    if len(column) < 2 or tidy(column[0]) not in ("0", "1"):
        return False
    first = int(tidy(column[0]))
    return all(tidy(cell) == str(first + k) for k, cell in enumerate(column))


def is_sign(cell: str) -> bool:
    """Whether the cell names a sign, or says that it is unknown."""
    try:
        sign(cell)
    except ValueError:
        return False
    return True


def mostly(test: Callable[[str], bool], column: Sequence[str]) -> bool:
    """Whether half of the cells pass, or more; the others are faults, to be told with their line."""
    return len(column) > 0 and 2 * sum(map(test, column)) >= len(column)


def tells_signs(column: Sequence[str]) -> bool:
    """Whether most cells name a sign or call it unknown, and one at least names it."""
    return mostly(is_sign, column) and any(is_sign(cell) and sign(cell) for cell in set(column))


def named_columns(
    wanted: Mapping[str, str | int], header: Sequence[str] | None, width: int, path: str, key: str
) -> Columns:
    """Find the columns that the user named, by the header's words or by number, counted from 1.

    Raises
    ------
    PriorError
        There is no such column, or no header to name it by.
    """
    found: dict[str, int] = {}
    for role, name in wanted.items():
        if isinstance(name, int):
            if not 1 <= name <= width:
                raise PriorError(f"{path}: {key}.{role} = {name}, but the columns are 1 to {width}")
            found[role] = name - 1
            continue
        if header is None:
            raise PriorError(
                f'{path}:1: {key}.{role} = "{name}", but the file has no header line; give the number of the column, '
                "counted from 1"
            )
        places = [k for k, cell in enumerate(header) if tidy(cell) == name]
        places = places or [k for k, cell in enumerate(header) if plain(cell) == plain(name)]
        if len(places) != 1:
            what = "names more than one column" if places else "is not in the header"
            raise PriorError(f'{path}:1: {key}.{role} = "{name}" {what}; it has {_listed(header)}')
        found[role] = places[0]
    if len(set(found.values())) != len(found):
        raise PriorError(f"{path}: {key} names one column for two things; give each its own")
    return Columns.of(found, asked=True, told=told(found, header))


def understand(
    header: Sequence[str], body: Sequence[Sequence[str]], path: str, key: str, *, line: int = 1, directed: bool = True
) -> Columns:
    """Find the columns by the header's words, looking at the cells below where the words leave it open.

    Parameters
    ----------
    body : rows below the header, as wide as it
    key : str
        The key of the study file that answers what cannot be understood.
    directed : bool
        Whether it matters which of both ends is which.

    Raises
    ------
    PriorError
        Asking, with file, line and the key to answer with.
    """
    finder = _Finder(header, body, f"{path}:{line}", key, directed)
    ends = finder.ends()
    found = {"regulator": ends[0], "target": ends[1], **finder.values(ends)}
    left = [cell for k, cell in enumerate(header) if k not in found.values() and k not in finder.numbers]
    remarks = list(finder.remarks)
    if left:
        remarks.append(f"columns not read: {_listed(left)}")
    return Columns.of(found, told=told(found, header), remarks=tuple(remarks))


class _Finder:
    def __init__(
        self, header: Sequence[str], body: Sequence[Sequence[str]], place: str, key: str, directed: bool
    ) -> None:
        self.header, self.body, self.place, self.key, self.directed = header, body, place, key, directed
        self.words = [plain(cell) for cell in header]
        self.remarks: list[str] = []
        self.numbers = [k for k in range(len(header)) if self._row_number(k)]
        if any(any(self._column(k)) for k in self.numbers):
            self.remarks.append("a column of row numbers was passed over")

    def _row_number(self, k: int) -> bool:
        nameless = self.words[k] == "" or self.words[k].startswith("unnamed") or self.words[k] in ("index", "row")
        return nameless and (is_row_number(self._column(k)) or not any(self._column(k)))

    def _column(self, k: int) -> list[str]:
        return [row[k] for row in self.body]

    def _called(self, role: str) -> list[int]:
        return [k for k, word in enumerate(self.words) if word in _KNOWN[role] and k not in self.numbers]

    def _numeric(self, k: int) -> bool:
        return mostly(spells_number, self._column(k))

    def ends(self) -> tuple[int, int]:
        """The columns of regulator and target."""
        regulators, targets = self._called("regulator"), self._called("target")
        if len(targets) > 1:
            targets = [k for k in targets if self.words[k] not in _WEAK_TARGETS] or targets
        if len(regulators) == 1 and len(targets) == 1:
            return regulators[0], targets[0]
        values = {k for role in ("weight", "sign", "positive", "negative") for k in self._called(role)}
        names = [
            k
            for k, word in enumerate(self.words)
            if k not in self.numbers and k not in values and word not in _KNOWN["other"] and not self._numeric(k)
        ]
        if len(names) < 2:
            # names of genes may be numbers
            away = {*self.numbers, *values}
            names = [k for k, word in enumerate(self.words) if k not in away and word not in _KNOWN["other"]]
        if not self.directed and len(names) >= 2:
            return names[0], names[1]
        if len(names) == 2 and (len(regulators), len(targets)) in ((1, 0), (0, 1)):
            known = (regulators or targets)[0]
            other = names[0] if names[1] == known else names[1]
            if known in names:
                role = "regulator" if targets else "target"
                self.remarks.append(f"column {clip(tidy(self.header[other]))} taken as the {role}")
                return (known, other) if regulators else (other, known)
        raise PriorError(
            f"{self.place}: which column is the regulator, which the target? The line has {_listed(self.header)}; "
            f"{answer(self.key, regulator=_BLANK, target=_BLANK)}, or call the columns regulator and target"
        )

    def values(self, ends: tuple[int, int]) -> dict[str, int]:
        """The columns of weight and sign, where there are."""
        taken = {*ends, *self.numbers}
        weights = [k for k in self._called("weight") if k not in taken]
        exact = [k for k in weights if self.words[k] in ("weight", "mor")]
        weights = exact if len(exact) == 1 else weights
        if len(weights) > 1:
            raise self._ask("weight", weights)
        if weights and self._words_for_signs(weights[0]):
            return {"sign": weights[0]}
        found = {"weight": weights[0]} if weights else {}
        yes = [k for k in self._called("positive") if k not in taken]
        no = [k for k in self._called("negative") if k not in taken]
        if len(yes) == 1 and len(no) == 1:
            return {**found, "sign": yes[0], "negative": no[0]}
        signs = [k for k in self._called("sign") if k not in taken and self._signs(k)]
        if len(signs) > 1:
            raise self._ask("sign", signs)
        if signs:
            return {**found, "sign": signs[0]}
        if found:
            return found
        rest = [k for k in range(len(self.header)) if k not in taken and self.words[k] not in _KNOWN["other"]]
        numeric = [k for k in rest if self._numeric(k)]
        if numeric:
            raise self._ask("weight", numeric)
        signs = [k for k in rest if tells_signs(self._column(k))]
        return {"sign": signs[0]} if len(signs) == 1 else {}

    def _signs(self, k: int) -> bool:
        """Whether a column that is called so tells signs: one word for a sign is enough, the others are faults."""
        if self._numeric(k):
            return self.words[k] != "direction"
        return any(is_sign(cell) and sign(cell) and not spells_number(cell) for cell in set(self._column(k)))

    def _words_for_signs(self, k: int) -> bool:
        return not any(map(spells_number, self._column(k))) and tells_signs(self._column(k))

    def _ask(self, role: str, columns: Sequence[int]) -> PriorError:
        listed = _listed([self.header[k] for k in columns])
        question = f"is {listed} the {role}?" if len(columns) == 1 else f"which of {listed} is the {role}?"
        return PriorError(
            f"{self.place}: {question} Please {answer(self.key, regulator=_BLANK, target=_BLANK, **{role: _BLANK})}, "
            f"without {role} where it is none"
        )


def _listed(header: Sequence[str]) -> str:
    shown = [clip(tidy(cell)) for cell in header[:6]]
    return ", ".join(shown) + (f" and {len(header) - 6} more" if len(header) > 6 else "")


def told(found: Mapping[str, int], header: Sequence[str] | None) -> str:
    """Say which columns were taken for what: ``TF → TG, weight mor``."""

    def word(k: int) -> str:
        return f"column {k + 1}" if header is None else clip(tidy(header[k])).strip("'") or f"column {k + 1}"

    text = f"{word(found['regulator'])} → {word(found['target'])}"
    extra = [f"{role} {word(found[role])}" for role in ("weight", "sign") if role in found]
    extra = [text.split()[0] if len(set(text.split())) == 1 else text for text in extra]
    return ", ".join([text, *extra])
