"""Run ids: the same wherever they are made, and as other programs make them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_hpc.ids import spec_id, spec_text


def test_id_is_that_of_other_programs() -> None:
    r"""``printf %s '{"data":{"name":"\u03bb \u2028 \u00fc"},"seed":1}' | b2sum``, the first 16 digits."""
    spec = {"seed": 1, "data": {"name": "λ \u2028 ü"}}
    assert spec_text(spec) == r'{"data":{"name":"\u03bb \u2028 \u00fc"},"seed":1}'
    assert spec_id(spec) == "4457f7f4d817f871"


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()))
def test_id_does_not_depend_on_the_order_of_keys(spec: dict) -> None:
    backwards = dict(reversed(spec.items()))
    assert spec_text(backwards) == spec_text(spec)
    assert spec_id(backwards) == spec_id(spec)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_json_does_not_have_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        spec_id({"lr": value})
