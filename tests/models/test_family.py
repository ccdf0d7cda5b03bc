"""What every family keeps, and that no room but PHOENIX's own knows its tensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import dash_hpc
from dash_hpc.errors import UsageError
from dash_hpc.models import FAMILIES, Family, family_named, family_of, family_of_spec
from dash_hpc.ops.state import TrainState
from dash_hpc.rng import stream
from dash_hpc.study.models import MODELS

PACKAGE = Path(dash_hpc.__file__).parent
G, M = 9, 30
#: Operators that compute PHOENIX, or state the order in which the native modules take its tensors.
KERNELS = {
    f"ops/{name}.py"
    for name in (
        "__init__", "autograd", "cuda", "events", "gradients", "phoenix", "prior_loss", "reference", "reference_step",
        "scores", "train",
    )
}  # fmt: skip
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def weights(family: Family, seed: int = 0, **model: Any) -> dict[str, Any]:
    section = MODELS[family.name](family=family.name, hidden=M).spec() | model
    return family.initial(section, G, stream(seed, "weights"))


def test_the_seven_names_stand_in_phoenix_and_its_kernels_alone() -> None:
    names = re.compile(r"\b(W_sums|W_prods|U_sums|U_prods|b_sums|b_prods|TENSORS|PRUNABLE)\b")
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*")
        if path.suffix in (".py", ".j2", ".toml") and names.search(path.read_text(encoding="utf-8"))
    }
    assert {place for place in found if not place.startswith("models/phoenix/")} <= KERNELS
    assert "models/phoenix/family.py" in found


def test_names_of_tensors_belong_to_one_family() -> None:
    every = [name for family in FAMILIES.values() for name in family.names]
    assert len(set(every)) == len(every)
    assert list(MODELS) == list(FAMILIES)


@every_family
def test_initial_weights_are_what_the_family_states(family: Family) -> None:
    found = weights(family)
    assert tuple(found) == family.names or set(found) == set(family.names)
    shapes = family.shapes({"hidden": M}, G)
    assert {name: value.shape for name, value in found.items()} == shapes
    assert {value.dtype for value in found.values()} == {np.dtype("float32")}
    assert family.check(found) == family.sizes({"hidden": M}, G)
    assert family_of(found) is family
    assert family.n_genes(found) == G
    vectors = {tensor.axes[0] for tensor in family.tensors if len(tensor.axes) == 1}
    assert {axis for tensor in family.tensors for axis in tensor.axes} == vectors
    for name, value in weights(family).items():
        assert value.tobytes() == found[name].tobytes()
    assert any(value.tobytes() != found[name].tobytes() for name, value in weights(family, seed=1).items())


@every_family
def test_layers_are_the_prunable_matrices(family: Family) -> None:
    found = weights(family, dtype="float64")
    layers = family.layers(found)
    assert sorted(layer.name for layer in layers) == sorted(family.prunable)
    for layer in layers:
        size = layer.magnitude()
        assert size.shape == layer.tensor.shape
        assert (size >= 0).all()
        assert size.sum() == pytest.approx(1)
        np.testing.assert_array_equal(layer.expand(layer.reduce(size)), size)
    total = sum(found[name].size for name in family.prunable)
    assert family.weight_counts(found)[1] == total == family.prunable_count({"hidden": M}, G)
    gone = {name: np.zeros_like(found[name]) if name in family.prunable else found[name] for name in found}
    assert family.zero_share(gone) == 1


@every_family
def test_a_layer_is_as_large_compressed_as_whole(family: Family) -> None:
    found = weights(family, dtype="float64")
    for name in family.prunable:
        found[name][:, ::2] = 0
    compressed = {name: csr_array(value) if name in family.prunable else value for name, value in found.items()}
    assert family.weight_counts(compressed) == family.weight_counts(found)
    for whole, stored in zip(family.layers(found), family.layers(compressed), strict=True):
        if not whole.log_space:  # of which a zero has a magnitude, too
            kept = whole.tensor != 0
            np.testing.assert_allclose(stored.magnitude(), whole.magnitude()[kept], rtol=1e-14)


@every_family
def test_a_model_in_another_unit_of_time_changes_its_rates_alone(family: Family) -> None:
    found = weights(family, dtype="float64")
    other = family.rescaled(found, 60.0)
    for name, value in found.items():
        np.testing.assert_array_equal(other[name], value * 60.0 if name in family.per_time else value)
    assert family.rescaled(found, 1.0) == found


@every_family
def test_shapes_that_do_not_fit_are_named(family: Family) -> None:
    found = weights(family)
    name = family.prunable[-1]
    with pytest.raises(UsageError, match=rf"{name} must be \["):
        family_of({**found, name: found[name][:-1]})
    with pytest.raises(UsageError, match="belong to no model family; there is phoenix, mlp"):
        family_of({"other": found[name]})


def test_families_are_found_by_name() -> None:
    assert family_of_spec({"hidden": 3}) is FAMILIES["phoenix"]
    with pytest.raises(UsageError, match="unknown model family 'mpl'; the families are phoenix, mlp; did you mean 'ml"):
        family_named("mpl")


def test_a_state_has_masks_for_matrices_or_for_what_is_said() -> None:
    found = weights(FAMILIES["mlp"])
    state = TrainState.fresh(found)
    assert set(state.masks) == {"mlp_in", "mlp_out"}
    state.check()
    one = TrainState.fresh(found, {"mlp_in": found["mlp_in"] > 0})
    assert (one.weights["mlp_in"][found["mlp_in"] <= 0] == 0).all()
    with pytest.raises(UsageError, match="mask of 'W': the model has no such tensor"):
        TrainState.fresh(found, {"W": found["mlp_in"] > 0})
    state.moment1["mlp_rate"] = state.weights["mlp_rate"]
    with pytest.raises(UsageError, match="share memory"):
        state.check()
