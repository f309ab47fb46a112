"""The factorised nodal admittance matrix, as arrays for compiled code.

Of the nodes that are neither fixed nor dead, ``P Y Q = L U`` (SuperLU, symmetric minimum degree: radial networks
get no fill-in). ``b`` goes in at ``row_of``, the solution comes out at ``column_of``.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array


class Factor(NamedTuple):
    """LU factors by columns, real and imaginary parts apart; the diagonal of U inverted, that of L one."""

    n: int
    l_start: Int32Array  # (n + 1,)
    l_row: Int32Array  # strictly below the diagonal
    l_re: FloatArray
    l_im: FloatArray
    u_start: Int32Array  # (n + 1,)
    u_row: Int32Array  # strictly above the diagonal
    u_re: FloatArray
    u_im: FloatArray
    d_re: FloatArray  # (n,) one over the diagonal of U
    d_im: FloatArray
    b_re: FloatArray  # (n,) right-hand side of the fixed nodes' voltages, in the rows' order
    b_im: FloatArray
    row_of: Int32Array  # (n_node,) where a node's current goes in; -1: fixed or dead
    column_of: Int32Array  # (n_node,) where a node's voltage comes out; -1: fixed or dead
    fixed_re: FloatArray  # (n_node,) V, 0 where not fixed
    fixed_im: FloatArray


def _superlu(y: Any) -> Any:
    """Factorise, or None where the matrix is singular."""
    from scipy.sparse.linalg import MatrixRankWarning, splu

    with warnings.catch_warnings():
        warnings.simplefilter("error", MatrixRankWarning)
        try:
            return splu(y.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        except (RuntimeError, MatrixRankWarning):
            return None


def _split(
    indptr: Int32Array, indices: Int32Array, data: ComplexArray, fixed: Int32Array, fixed_v: ComplexArray, on: BoolArray
) -> tuple[Any, ComplexArray, Int32Array]:
    """Matrix of the free nodes, what the fixed ones inject into them, and which they are."""
    from scipy.sparse import csr_array

    n = len(indptr) - 1
    free_mask = on.copy()
    free_mask[fixed] = False
    free = np.flatnonzero(free_mask).astype(np.int32)
    y = csr_array((data, indices, indptr), shape=(n, n))
    rows = y[free]
    return rows[:, free], -(rows[:, fixed] @ fixed_v), free


def no_load(
    indptr: Int32Array, indices: Int32Array, data: ComplexArray, fixed: Int32Array, fixed_v: ComplexArray, on: BoolArray
) -> ComplexArray:
    """Voltages (n_node,) in V without legs; NaN at nodes where nothing holds the voltage against ground.

    Those are the ones whose pivot vanished: it is less than 1e-13 of the node's own admittance, where rounding is
    all that is left of it.
    """
    from scipy.sparse import diags_array

    y, b, free = _split(indptr, indices, data, fixed, fixed_v, on)
    v = np.zeros(len(indptr) - 1, dtype=np.complex128)
    v[fixed] = fixed_v
    size = np.abs(y.diagonal())
    lu = _superlu(y) or _superlu(y + diags_array(1e-14 * size))  # the second shows where the first one broke off
    if lu is None:
        v[free] = np.nan
        return v
    pivot = np.abs(lu.U.diagonal())[lu.perm_c]
    v[free] = np.where(pivot > 1e-13 * size, lu.solve(b), np.nan)
    return v


def factorise(
    indptr: Int32Array, indices: Int32Array, data: ComplexArray, fixed: Int32Array, fixed_v: ComplexArray, on: BoolArray
) -> Factor | None:
    """Factorise the admittance matrix of a network; None where it is singular."""
    y, b, free = _split(indptr, indices, data, fixed, fixed_v, on)
    lu = _superlu(y)
    if lu is None:
        return None
    n, n_node = len(free), len(indptr) - 1
    row_of, column_of = np.full(n_node, -1, dtype=np.int32), np.full(n_node, -1, dtype=np.int32)
    row_of[free], column_of[free] = lu.perm_r, lu.perm_c
    lower, upper = lu.L.tocsc(), lu.U.tocsc()
    diagonal = 1.0 / upper.diagonal()
    rhs, fixed_all = np.empty(n, dtype=np.complex128), np.zeros(n_node, dtype=np.complex128)
    rhs[lu.perm_r] = b
    fixed_all[fixed] = fixed_v
    return Factor(
        n,
        *_strict(lower, below=True),
        *_strict(upper, below=False),
        *parts(diagonal),
        *parts(rhs),
        row_of,
        column_of,
        *parts(fixed_all),
    )


def parts(x: ComplexArray) -> tuple[FloatArray, FloatArray]:
    """Split into real and imaginary, each contiguous."""
    return np.ascontiguousarray(x.real), np.ascontiguousarray(x.imag)


def _strict(matrix: Any, *, below: bool) -> tuple[Int32Array, Int32Array, FloatArray, FloatArray]:
    """Take what stands off the diagonal of a triangular CSC matrix: start, row, real, imaginary."""
    n = matrix.shape[0]
    column = np.repeat(np.arange(n), np.diff(matrix.indptr))
    keep = (matrix.indices > column) if below else (matrix.indices < column)
    keep &= matrix.data != 0.0
    start = np.concatenate([[0], np.cumsum(np.bincount(column[keep], minlength=n))]).astype(np.int32)
    return start, matrix.indices[keep].astype(np.int32), *parts(matrix.data[keep])
