"""Lines of keys, and writing of TOML."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dash_hpc.study.toml import key_lines, parse, to_toml


def test_every_key_has_its_line() -> None:
    text = '''\
top = 1
[a] # comment with [brackets]
x = """
[not.a.table]
y = 2
"""
y = [ # ]
  1,
  "]", 2,
]
"quoted key" = {inner = 1, more = [1, 2]}
b.c = 3

[[t]]
k = '#'
[[t]]
k = "\\" [ "
z = 1
[d.e]
f = 1
'''
    parse(text)
    assert key_lines(text) == {
        ("top",): 1,
        ("a",): 2,
        ("a", "x"): 3,
        ("a", "y"): 7,
        ("a", "quoted key"): 11,
        ("a", "b"): 12,
        ("a", "b", "c"): 12,
        ("t", 0): 14,
        ("t", 0, "k"): 15,
        ("t", 1): 16,
        ("t", 1, "k"): 17,
        ("t", 1, "z"): 18,
        ("d", "e"): 19,
        ("d", "e", "f"): 20,
    }


SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)


@given(st.dictionaries(st.text(min_size=1), SCALARS | st.lists(SCALARS), max_size=5))
def test_what_is_written_reads_back(table: dict) -> None:
    assert parse(to_toml({"one": table, "many": [table, {}]})) == {"one": table, "many": [table, {}]}
