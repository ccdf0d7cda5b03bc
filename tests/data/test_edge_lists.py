"""Lists of edges as people have them: columns, headers, signs, orientation, separators, and what is refused."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pandas as pd
import pytest

from dash_hpc.data import Prior
from dash_hpc.data.networks import read_interactions, read_network
from dash_hpc.data.record import NetworkRecord
from dash_hpc.errors import PriorError

GENES = ("ABF1", "GAL4", "MCM1", "SWI5", "TF", "TG")
Edges = dict[tuple[str, str], float]


def read(
    folder: Path, text: str | bytes, genes: tuple[str, ...] = GENES, **more: object
) -> tuple[Edges, NetworkRecord]:
    path = folder / "p.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    network, record = read_network(path, genes, **more)  # type: ignore[arg-type]
    edges = network.tocoo()
    return {(genes[i], genes[j]): float(w) for i, j, w in zip(*edges.coords, edges.data, strict=True)}, record


AB: Edges = {("ABF1", "GAL4"): 1.0, ("ABF1", "MCM1"): -1.0}


@pytest.mark.parametrize(
    "header",
    [
        "regulator,target,weight",
        "Regulator,Target,Weight",
        "TF,TG,mor",
        "TF,gene,sign",
        " tf , target gene ,value",
        "Source,Target,Interaction",
        "source_name,target_name,edge_weight",
        "Gene1,Gene2,Type",
        "regulatoryGene,targetGene,weight",
        "regulatory.gene,target.gene,importance",
        "from,to,effect",
        "reg,aff,prior_weight",
        "Transcription Factor,Target,MOA",
        "node1,node2,score",
        '"REGULATOR","TARGET","MODE"',
        "parent,child,polarity",
        "\u202eregulator\u202c,(target),weight!",
    ],
)
def test_headers_are_understood_in_any_order(tmp_path: Path, header: str) -> None:
    rows = [("ABF1", "GAL4", "1"), ("ABF1", "MCM1", "-1")]
    for order in itertools.permutations(range(3)):
        words = header.split(",")
        text = "\n".join(",".join(row[k] for k in order) for row in (words, *rows)) + "\n"
        edges, record = read(tmp_path, text)
        assert edges == AB, text
        assert record.doubts == ()


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("TG,TF\nGAL4,ABF1\nMCM1,ABF1\nSWI5,GAL4\n", [("ABF1", "GAL4"), ("ABF1", "MCM1"), ("GAL4", "SWI5")]),
        ("target_gene,regulator\nGAL4,ABF1\n", [("ABF1", "GAL4")]),
        ("to,from\nGAL4,ABF1\n", [("ABF1", "GAL4")]),
        ("gene,source\nGAL4,ABF1\n", [("ABF1", "GAL4")]),
        # one word is enough where nothing else is a name
        ("x,target\nABF1,GAL4\n", [("ABF1", "GAL4")]),
        ("x,regulator\nGAL4,ABF1\n", [("ABF1", "GAL4")]),
    ],
)
def test_the_header_says_which_end_regulates(tmp_path: Path, text: str, edges: list[tuple[str, str]]) -> None:
    assert read(tmp_path, text)[0] == dict.fromkeys(edges, 1.0)


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("ABF1,GAL4\nABF1,MCM1\n", {("ABF1", "GAL4"): 1.0, ("ABF1", "MCM1"): 1.0}),
        ("ABF1,GAL4,1\nABF1,MCM1,-1\n", AB),
        ("ABF1\tGAL4\t+\nABF1\tMCM1\t-\n", AB),
        ("ABF1 GAL4 1\nABF1  MCM1  -1\n", AB),
        ("ABF1;GAL4;activation\nABF1;MCM1;repression\n", AB),
        ("ABF1\tactivates\tGAL4\nABF1\trepresses\tMCM1\n", AB),
        ("0,ABF1,GAL4,1\n1,ABF1,MCM1,-1\n", AB),
        ("ABF1,GAL4,0.5,+\nABF1,MCM1,2,-\n", {("ABF1", "GAL4"): 0.5, ("ABF1", "MCM1"): -2.0}),
        # an edge of which one end or both are strangers is no header either
        ("YOX1,GAL4,1\nABF1,MCM1,-1\n", {("ABF1", "MCM1"): -1.0}),
        ("YOX1,YHP1\nABF1,MCM1\nYOX1,MCM1\n", {("ABF1", "MCM1"): 1.0}),
        # genes that are called like columns
        ("TF,TG,1\nABF1,GAL4,1\n", {("TF", "TG"): 1.0, ("ABF1", "GAL4"): 1.0}),
        ("ABF1,GAL4\n", {("ABF1", "GAL4"): 1.0}),
    ],
)
def test_a_list_without_header_keeps_its_first_edge(tmp_path: Path, text: str, edges: Edges) -> None:
    found, record = read(tmp_path, text)
    assert found == edges
    assert record.entries == text.count("\n")
    assert any(remark.startswith("no header: column") for remark in record.remarks)


def test_a_header_of_gene_names_is_said(tmp_path: Path) -> None:
    edges, record = read(tmp_path, "TF,TG\nABF1,GAL4\n")
    assert edges == {("ABF1", "GAL4"): 1.0}
    assert any("taken as the header, although its words are names of genes too" in r for r in record.remarks)


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (",regulator,target,weight\n0,ABF1,GAL4,1\n1,ABF1,MCM1,-1\n", "a column of row numbers was passed over"),
        ("Unnamed: 0,regulator,target,sign\n0,ABF1,GAL4,+\n1,ABF1,MCM1,-\n", "a column of row numbers"),
        ('"","from","to","w"\n"1","ABF1","GAL4",1\n"2","ABF1","MCM1",-1\n', "a column of row numbers"),
        ('"from" "to" "w"\n"1" "ABF1" "GAL4" 1\n"2" "ABF1" "MCM1" -1\n', "a column of row numbers"),
        ("TF,tissue,target,mor\nABF1,liver,GAL4,1\nABF1,brain,MCM1,-1\n", "columns not read: 'tissue'"),
        # A letter of another alphabet is part of the word.
        ("regulator,λtarget,weight\nABF1,GAL4,1\nABF1,MCM1,-1\n", "column 'λtarget' taken as the target"),
        ("regulator,targét,weight\nABF1,GAL4,1\nABF1,MCM1,-1\n", "column 'targét' taken as the target"),
        ("regulator,targe\u0301t,weight\nABF1,GAL4,1\nABF1,MCM1,-1\n", "column 'targ"),
        ("TF,target,sign,PMID\nABF1,GAL4,+,123\nABF1,MCM1,-,456\n", "columns not read: 'PMID'"),
        ("regulator\ttarget\tweight\nABF1\tGAL4\t1\nABF1\tMCM1\t-1\n", "cells are separated by tabs"),
        (
            "regulator;target;weight\r\nABF1;GAL4;1,0\r\nABF1;MCM1;-1,0\r\n",
            "2 cells with a decimal comma (first: line 2",
        ),
        ("regulator,target,weight\nABF1,GAL4,1\nABF1,MCM1,\u22121\n", "1 cell with a typographic minus sign"),
        ("regulator,target,weight\nABF1,GAL4,1\nABF1,MCM1,-1\n".encode("utf-16"), "the file is UTF-16 text"),
        ("# a comment\n#regulator\ttarget\tsign\nABF1\tGAL4\t+\nABF1\tMCM1\t-\n", "cells are separated by tabs"),
    ],
)
def test_what_was_recognised_is_said(tmp_path: Path, text: str | bytes, remark: str) -> None:
    edges, record = read(tmp_path, text)
    assert edges == AB
    assert any(said.startswith(remark) for said in record.remarks), record.remarks
    assert f"p.csv: {record.remarks[0]}" in record.notes()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffregulator,target,weight\nABF1,GAL4,1\nABF1,MCM1,-1\n",
        "regulator,target,weight\n ABF1 ,GAL4\u00a0,1\n\u200bABF1,MCM1, -1 \n",
        "regulator,target,weight\n\nABF1,GAL4,1\n\n\nABF1,MCM1,-1\n\n",
        "regulator,target,weight,\nABF1,GAL4,1,\nABF1,MCM1,-1,\n",
        '"regulator","target","weight"\n"ABF1","GAL4","1"\n"ABF1","MCM1","-1"\n',
    ],
    ids=["bom", "blanks", "empty-lines", "separator-at-the-end", "quotes"],
)
def test_harmless_differences_of_form(tmp_path: Path, text: str) -> None:
    edges, record = read(tmp_path, text)
    assert edges == AB
    assert record.notes() == ()


def test_names_are_compared_composed(tmp_path: Path) -> None:
    prior = Prior.read_csv(_write(tmp_path, "regulator,target\nn\u0303A,B\u00a01\n"), ("\u00f1A", "B 1"))
    assert prior.motif[0, 1] == 1


def _write(folder: Path, text: str, name: str = "p.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *((word, 1.0) for word in ("+", "1", "+1", "1.0", "Activation", "activator", "ACTIVATES", "positive", "up")),
        *((word, 1.0) for word in ("up-regulates activity", "stimulation", "induces", "->", "TRUE")),
        *((word, -1.0) for word in ("-", "\u2212", "-1", "Repression", "repressor", "inhibits", "negative", "down")),
        *((word, -1.0) for word in ("down-regulates", "-|", "--|", "suppresses", "FALSE")),
        *((word, 1.0) for word in ("?", "unknown", "dual", "+/-", "Unknown")),
    ],
)
def test_words_for_signs(tmp_path: Path, cell: str, value: float) -> None:
    other = "activation" if not re.fullmatch(r"[+-]?1(\.0)?", cell) else "1"
    edges, record = read(tmp_path, f"TF,target,sign\nABF1,GAL4,{cell}\nGAL4,SWI5,{other}\n")
    assert edges == {("ABF1", "GAL4"): value, ("GAL4", "SWI5"): 1.0}
    assert record.unsigned == (cell.lower() in ("?", "unknown", "dual", "+/-"))


def test_a_sign_beside_a_weight(tmp_path: Path) -> None:
    edges, _ = read(tmp_path, "TF,target,weight,sign\nABF1,GAL4,0.5,-\nABF1,MCM1,2,+\nABF1,SWI5,-3,-\n")
    assert edges == {("ABF1", "GAL4"): -0.5, ("ABF1", "MCM1"): 2.0, ("ABF1", "SWI5"): -3.0}


def test_two_columns_for_the_sign(tmp_path: Path) -> None:
    text = "source,target,is_stimulation,is_inhibition\nABF1,GAL4,1,0\nABF1,MCM1,0,1\nABF1,SWI5,1,1\nGAL4,SWI5,0,0\n"
    edges, record = read(tmp_path, text)
    assert edges == {**AB, ("ABF1", "SWI5"): 1.0, ("GAL4", "SWI5"): 1.0}
    assert record.unsigned == 2


def test_contradicting_signs_do_not_hang_on_the_order(tmp_path: Path) -> None:
    rows = ["ABF1,GAL4,1", "ABF1,GAL4,-2", "GAL4,SWI5,1", "GAL4,SWI5,3", "MCM1,SWI5,-1", "MCM1,SWI5,-0.5"]
    expected = {("ABF1", "GAL4"): 2.0, ("GAL4", "SWI5"): 3.0, ("MCM1", "SWI5"): -1.0}
    for order in itertools.permutations(rows):
        edges, record = read(tmp_path, "\n".join(["source,target,weight", *order]) + "\n")
        assert edges == expected
        assert (record.merged, record.contradictory) == (3, 1)
    assert any("1 edge with contradictory signs" in note for note in record.notes())


def test_an_unknown_sign_says_nothing_against_a_known_one(tmp_path: Path) -> None:
    for rows in (("ABF1,GAL4,-", "ABF1,GAL4,unknown"), ("ABF1,GAL4,?", "ABF1,GAL4,-")):
        edges, record = read(tmp_path, "\n".join(["TF,target,sign", *rows]) + "\n")
        assert edges == {("ABF1", "GAL4"): -1.0}
        assert (record.contradictory, record.unsigned) == (0, 0)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    text = (
        "source,target,weight\nABF1,GAL4,1\nABF1,MCM1,-1\nGAL4,SWI5,1\nabf1,SWI5,1\nYOX1,SWI5,1\nABF1,GAL4,-1\n"
        "MCM1,XXX,1\nXXX,YYY,1\nSWI5,SWI5,1\nMCM1,SWI5,0\n"
    )
    edges, record = read(tmp_path, text)
    table = pd.read_csv(tmp_path / "p.csv")
    inside = table.source.isin(GENES) & table.target.isin(GENES)
    lower = {gene.lower() for gene in GENES}
    only_case = table.source.str.lower().isin(lower) & table.target.str.lower().isin(lower) & ~inside
    assert (record.entries, record.dropped, record.by_case) == (len(table), (~inside).sum(), only_case.sum())
    assert record.merged == table[inside].duplicated(["source", "target"]).sum() == 1
    assert (record.contradictory, record.zero, record.loops) == (1, 1, 1)
    assert len(edges) == 4
    dropped = (
        "p.csv: 4 of 10 edges dropped, an end is not among the 6 genes (1 only by case): abf1, YOX1, XXX (and 1 more)"
    )
    assert dropped in record.notes()


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"regulator": "b", "target": "a"}, "a,b\nGAL4,ABF1\n"),
        ({"regulator": "The Regulator", "target": "t"}, "t,the_regulator\nGAL4,ABF1\n"),
        ({"regulator": 2, "target": 1}, "GAL4,ABF1\n"),
        ({"regulator": 2, "target": 1}, "target,regulator\nGAL4,ABF1\n"),
        # the user's word stands above the header's
        ({"regulator": "target", "target": "regulator"}, "target,regulator\nABF1,GAL4\n"),
        ({"regulator": 1, "target": 2}, "ABF1,GAL4,7\n"),
        ({"regulator": 1, "target": 2, "weight": 3}, "ABF1,GAL4,1\n"),
    ],
)
def test_columns_that_the_user_names(tmp_path: Path, columns: dict[str, str | int], text: str) -> None:
    assert read(tmp_path, text, columns=columns)[0] == {("ABF1", "GAL4"): 1.0}


@pytest.mark.parametrize(
    ("columns", "text", "message"),
    [
        (
            {"regulator": "x", "target": "a"},
            "a,b\nA,B\n",
            "p.csv:1: key.regulator = \"x\" is not in the header; it has 'a'",
        ),
        ({"regulator": 3, "target": 1}, "ABF1,GAL4\n", "p.csv: key.regulator = 3, but the columns are 1 to 2"),
        ({"regulator": 1, "target": 1}, "ABF1,GAL4\n", "p.csv: key names one column for two things"),
        ({"regulator": "a", "target": "b"}, "a,b,A\n1,2,3\n", "none of its 1 edges has both ends among the 6 genes"),
        ({"regulator": "a b", "target": "c"}, "a_b,A.B,c\n1,2,3\n", 'key.regulator = "a b" names more than one column'),
        ({"regulator": "rows", "target": "columns"}, "ABF1,GAL4\n", "the file is a list, not a matrix"),
        (
            {"regulator": 1, "target": 2, "sign": 3},
            "ABF1,GAL4,2\n",
            "p.csv:1: cell 3, the sign of ABF1 -> GAL4, is '2'",
        ),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, columns: dict[str, str | int], text: str, message: str) -> None:
    with pytest.raises(PriorError, match=re.escape(message)):
        read(tmp_path, text, columns=columns, key="key")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x,y\nABF1,GAL4\n",
            "p.csv:1: which column is the regulator, which the target? The line has 'x', 'y'; say data",
        ),
        ("protein1,protein2\nABF1,GAL4\n", "p.csv:1: which column is the regulator"),
        ("source,source_symbol,target\na,ABF1,GAL4\n", "p.csv:1: which column is the regulator"),
        ("TF,target,xyz\nABF1,GAL4,3\n", "p.csv:1: is 'xyz' the weight? Please say data.prior_columns = { regulator"),
        ("TF,target,score,value\nABF1,GAL4,3,4\n", "p.csv:1: which of 'score', 'value' is the weight?"),
        ("TF,target,mode\nABF1,GAL4,1\nABF1,MCM1,2\n", "p.csv: all weights are 0, 1 or 2, which look like codes"),
        ("ABF1,GAL4,1\nABF1,MCM1,2\nSWI5,MCM1,0\n", "p.csv: all weights are 0, 1 or 2, which look like codes"),
        ("ABF1,GAL4,2,7.5\nABF1,MCM1,1,8\n", "p.csv:1: a list of 4 columns without a header"),
        (
            "TF,target,sign\nABF1,GAL4,+\nABF1,MCM1,maybe\n",
            "p.csv:3: cell 3, the sign of ABF1 -> MCM1, is 'maybe'; write +",
        ),
        (
            "TF,target,weight\nABF1,GAL4,1\nABF1,MCM1,+\n",
            "p.csv:3: the weight of ABF1 -> MCM1 is '+', not a finite number",
        ),
        (
            "TF,target,weight\nABF1,GAL4,1\nABF1,MCM1,NaN\n",
            "p.csv:3: the weight of ABF1 -> MCM1 is 'NaN', not a finite",
        ),
        ("TF,target,weight,sign\nABF1,GAL4,-2,+\n", "p.csv:2: the weight of ABF1 -> GAL4 is -2, but its sign is '+'"),
        ("TF,target,activation,repression\nABF1,GAL4,1,x\n", "p.csv:2: cell 4 is 'x'; write 1 or 0"),
        ('TF,target\nABF1,"GAL4\nABF1,MCM1\n', "p.csv:2: a quote is opened and not closed in this line"),
        ("TF,target\nABF1,GAL4\nABF1,MCM1,1\n", "p.csv:3: 3 cells, but the first line has 2"),
        (b"TF,target\nABF1,GAL4\nABF1,MCM\xe91\n", r"p.csv:3: cell 2 is 'MCM\\xe91', not UTF-8 text; save the file as"),
        (
            "TF,target\nabf1,gal4\n",
            "none of its 1 edges has both ends among the 6 genes; 1 of them differ only by case",
        ),
    ],
)
def test_what_cannot_be_understood_is_asked_for(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(PriorError, match=re.escape(message)) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_names_that_are_numbers_need_a_header(tmp_path: Path) -> None:
    genes = ("1", "672", "7157")
    edges, _ = read(tmp_path, "regulator,target\n7157,672\n672,1\n", genes)
    assert edges == {("7157", "672"): 1.0, ("672", "1"): 1.0}
    with pytest.raises(PriorError, match="genes are called by numbers here"):
        read(tmp_path, "1,2,1\n2,3,1\n", genes)
    with pytest.raises(PriorError, match=r"gene names that are numbers a header above them \(regulator,target\)"):
        read(tmp_path, "7157,672\n672,1\n1,1\n", genes)


@pytest.mark.parametrize("header", ["regulator,target\n", ""])
def test_an_odd_orientation_is_doubted(tmp_path: Path, header: str) -> None:
    genes = tuple(f"g{k}" for k in range(40))
    straight = [f"g{k % 3},g{k}" for k in range(40)]
    turned = [",".join(reversed(row.split(","))) for row in straight]
    _, record = read(tmp_path, header + "\n".join(straight) + "\n", genes)
    assert record.doubts == ()
    edges, record = read(tmp_path, header + "\n".join(turned) + "\n", genes)
    assert len(edges) == 40
    assert record.doubts[0].startswith("40 names regulate only 3 targets, which is odd")
    assert record.notes()[-1].startswith("p.csv: 40 names regulate only 3 targets")
    _, record = read(tmp_path, header + "\n".join(turned) + "\n", genes, columns={"regulator": 2, "target": 1})
    assert record.doubts == ()


def test_interactions_do_not_ask_for_a_direction(tmp_path: Path) -> None:
    text = "protein1 protein2 combined_score\nGAL4 ABF1 900\nMCM1 SWI5 150\n"
    network, record = read_interactions(_write(tmp_path, text), GENES)
    assert network[0, 1] == network[1, 0] == 900
    assert record.doubts == ()
    with pytest.raises(
        PriorError, match="is 'x' the weight\\? Please call the columns regulator and target and weight"
    ):
        read_interactions(_write(tmp_path, "a,b,x\nGAL4,ABF1,900\n"), GENES)


def test_comments_are_said_and_alone_are_no_list(tmp_path: Path) -> None:
    edges, record = read(tmp_path, "# from somewhere\n# twice\nTF,target,sign\nABF1,GAL4,+\nABF1,MCM1,-\n")
    assert edges == AB
    assert "2 comment lines passed over" in record.remarks
    with pytest.raises(PriorError, match=r"p\.csv: no edges, only comments or empty cells"):
        read(tmp_path, "# from somewhere\n")


def test_semicolons_within_cells_do_not_separate(tmp_path: Path) -> None:
    assert read(tmp_path, "ABF1,GAL4,+,1;2\nABF1,MCM1,-,3;4\n")[0] == AB


def test_names_of_absurd_length_are_shortened_in_messages(tmp_path: Path) -> None:
    with pytest.raises(PriorError) as caught:
        read(tmp_path, f"TF,target\n{'A' * 10**6},{'B' * 10**6}\n")
    assert len(str(caught.value)) < 1000
