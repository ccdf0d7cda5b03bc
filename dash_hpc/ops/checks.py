"""Arguments of the operators as arrays, matrices and numbers: what cannot be one is a UsageError that names it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from dash_hpc.errors import UsageError

__all__ = ["as_array", "as_count", "as_csr", "as_floats", "as_mapping", "as_number", "check_csr"]

#: Kinds of NumPy dtypes that may be cast: to floating point, and to whole numbers.
_KINDS = {"f": "fiu", "i": "iu"}


def as_array(value: Any, dtype: Any, name: str) -> np.ndarray:
    """Return ``value`` as a C-contiguous array of ``dtype`` in the machine's byte order, itself when it is one.

    Raises
    ------
    UsageError
        When it is no array of numbers, or a number does not fit.
    """
    wanted = np.dtype(dtype)
    if type(value) is np.ndarray and value.dtype is wanted and value.size:  # the usual case: nothing is to be done
        flags = value.flags
        if flags.c_contiguous and flags.aligned and min(value.strides, default=0) >= 0:
            return value
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UsageError(f"{name} must be an array of numbers: {_first_line(error)}") from None
    if found.size and found.dtype.kind not in _KINDS[wanted.kind]:
        raise UsageError(f"{name} must hold {_words(wanted)}, got an array of {found.dtype}")
    if found.dtype.kind == "u" and wanted.kind == "i" and found.size and int(found.max()) > np.iinfo(wanted).max:
        raise UsageError(f"{name} holds {int(found.max())}, which is too large for {wanted}")
    if not found.size:
        found = np.empty(found.shape, wanted)
    found = np.require(found, wanted, ["C", "A"])
    # An axis of one element may have any stride, which PyTorch does not take.
    return found.copy() if any(stride < 0 for stride in found.strides) else found


def as_floats(value: Any, shape: tuple[int | None, ...], name: str) -> np.ndarray:
    """Return ``value`` as an array of floating-point numbers of this shape, itself when it is one.

    None in ``shape`` stands for any length but 0. UsageError when it is not so.
    """
    is_one = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.dtype.isnative and value.flags.aligned
    found = value if is_one else as_array(value, np.float64, name)
    fits = found.ndim == len(shape) and all(
        n == wanted or (wanted is None and n > 0) for n, wanted in zip(found.shape, shape, strict=True)
    )
    if not fits:
        raise UsageError(f"{name} must be {_shape(shape)}, got {_shape(found.shape)}")
    return found


def as_number(
    value: Any, name: str, *, least: float = -math.inf, most: float = math.inf, open_at: tuple[float, ...] = ()
) -> float:
    """Return ``value`` as a finite float from ``least`` to ``most``, without the ends in ``open_at``; or UsageError."""
    if type(value) is float or (isinstance(value, Real) and not isinstance(value, (bool, np.bool_))):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and least <= number <= most and number not in open_at:
            return number
    if most < math.inf:
        limits = f"lie in {'(' if least in open_at else '['}{least:g}, {most:g}{')' if most in open_at else ']'}"
    elif least > -math.inf:
        limits = f"be finite and {f'above {least:g}' if least in open_at else f'{least:g} or more'}"
    else:
        limits = "be a finite number"
    raise UsageError(f"{name} must {limits}, got {_short(value)}")


def as_count(value: Any, name: str, *, least: int, most: int | None = None) -> int:
    """Return ``value`` as an int; UsageError when it is no whole number or not in the range."""
    if isinstance(value, Integral) and not isinstance(value, (bool, np.bool_)):
        number = int(value)
        if number >= least and (most is None or number <= most):
            return number
    limit = "" if most is None else f" and at most {most:,}"
    raise UsageError(f"{name} must be a whole number, {least} or more{limit}, got {_short(value)}")


def as_mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Return ``value`` when it is a mapping; UsageError when not."""
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} must be a mapping by tensor, got {type(value).__name__}")
    return value


def as_csr(matrix: Any, shape: tuple[int | None, int | None], name: str) -> csr_array:
    """Return ``matrix`` as a float64 ``csr_array`` with sorted columns; a new one where it is not so.

    ``shape`` holds None for a length that is free.
    """
    if issparse(matrix) and matrix.format == "csr":
        check_csr(matrix, name)
    elif not issparse(matrix):
        matrix = as_array(matrix, np.float64, name)
    wanted = [length if length is not None else found for length, found in zip(shape, matrix.shape, strict=False)]
    if matrix.ndim != 2 or list(matrix.shape) != wanted:
        raise UsageError(f"{name} must be {_shape(shape)}, got {_shape(matrix.shape)}")
    if matrix.dtype.kind not in "fiub":
        raise UsageError(f"{name} must hold numbers, got {matrix.dtype}")
    found = csr_array(matrix, dtype=np.float64)
    return found if found.has_sorted_indices else found.sorted_indices()


def check_csr(matrix: Any, name: str) -> None:
    """Raise UsageError when the parts of a CSR matrix do not fit each other: SciPy reads them without looking."""
    rows, columns = matrix.shape
    ptr, index = matrix.indptr, matrix.indices
    fits = (
        all(isinstance(part, np.ndarray) and part.ndim == 1 for part in (ptr, index, matrix.data))
        and ptr.dtype.kind in "iu"
        and index.dtype.kind in "iu"
        and len(ptr) == rows + 1
        and ptr[0] == 0
        and ptr[-1] == len(index) == len(matrix.data)
        and bool((ptr[1:] >= ptr[:-1]).all())
        and (not len(index) or (index.min() >= 0 and index.max() < columns))
    )
    if not fits:
        raise UsageError(f"{name}: its row pointers, columns and values do not make a CSR matrix {list(matrix.shape)}")


def _words(dtype: np.dtype) -> str:
    return "numbers" if dtype.kind == "f" else "whole numbers"


def _shape(lengths: tuple[int | None, ...]) -> str:
    return f"[{', '.join('any' if length is None else str(length) for length in lengths)}]"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
