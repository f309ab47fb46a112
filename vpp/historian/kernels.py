"""The loops of the historian's hot path: one row of one series into the tail, in its stored form.

``cells`` is the tail seen as (steps, items of one dtype); a series owns the columns from ``start`` on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from vpp.historian.layout import BYTE_FILL, SHORT_FILL

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with numba, cached on disk and without the GIL; the function's type is kept."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))


@compiled
def quantise(values: npt.NDArray[Any], cells: npt.NDArray[np.int32], row: int, start: int, factor: float) -> None:
    """Round ``values * factor`` to int32; what has no such number (NaN, inf, overflow) becomes the fill value."""
    out = cells[row, start : start + values.size]
    for i in range(values.size):
        scaled = values[i] * factor
        inside = scaled if abs(scaled) <= 2147483647.0 else -2147483648.0
        out[i] = np.int32(np.rint(inside))


@compiled
def keep(values: npt.NDArray[Any], cells: npt.NDArray[np.float64], row: int, start: int, factor: float) -> None:
    """Copy float64 as it is, every bit (``factor`` is not used)."""
    out = cells[row, start : start + values.size]
    for i in range(values.size):
        out[i] = values[i]


@compiled
def encode_byte(values: npt.NDArray[Any], cells: npt.NDArray[np.uint8], row: int, start: int, factor: float) -> None:
    """Store codes 0 … factor-1 as bytes; any other value, NaN included, becomes "unknown"."""
    out = cells[row, start : start + values.size]
    for i in range(values.size):
        out[i] = np.uint8(values[i]) if 0 <= values[i] < factor else np.uint8(BYTE_FILL)


@compiled
def encode_short(values: npt.NDArray[Any], cells: npt.NDArray[np.int16], row: int, start: int, factor: float) -> None:
    """Store codes 0 … factor-1 as int16; any other value, NaN included, becomes "unknown"."""
    out = cells[row, start : start + values.size]
    for i in range(values.size):
        out[i] = np.int16(values[i]) if 0 <= values[i] < factor else np.int16(SHORT_FILL)
