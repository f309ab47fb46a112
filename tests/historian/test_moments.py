"""Rows of estimates and the moments that they describe."""

from __future__ import annotations

import numpy as np
import pytest

from vpp.historian.moments import described

S = 10**9


@pytest.mark.parametrize(
    ("age_s", "rows"),
    [
        ((np.nan, 1.0, 1.0, 1.0), (1, 2, 3, -1)),
        ((np.nan, np.nan, 2.0, 2.0), (2, 3, -1, -1)),
        ((np.nan, 1.0, 2.0, 1.0), (2, 2, 3, 3)),  # an estimate every other second holds until the next
        ((np.nan, np.nan, np.nan, np.nan), (-1, -1, -1, -1)),
        ((np.nan, np.nan, np.nan, 3.0), (3, -1, -1, -1)),
    ],
)
def test_rows_of_moments(age_s: tuple[float, ...], rows: tuple[int, ...]) -> None:
    assert described(np.arange(4) * S, np.array(age_s)).tolist() == list(rows)
