"""Sparse Cholesky factors whose pattern is known, and the part of the inverse that has the same pattern.

The gain matrix of an estimate keeps its pattern from tick to tick: order and pattern are found once (`Pattern`), then
each tick fills in numbers. Columns are stored with the diagonal first, rows ascending.

Takahashi, Fagan, Chen, "Formation of a sparse bus impedance matrix", PICA 1973, for the inverse on the pattern.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from vpp.kernel.signals import BoolArray, FloatArray, IntArray

_NO_STEP = 1e30


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where the factor of a symmetric matrix has entries.

    Attributes:
        position: (n,) place of each unknown in the elimination order.
        start: (n + 1,) first entry of each column.
        row: (nnz,) row of each entry, in elimination order.
        left_start, left_column, left_entry: for each row, the columns left of the diagonal in which it has an
            entry, and where that entry is.
    """

    position: IntArray
    start: IntArray
    row: IntArray
    left_start: IntArray
    left_column: IntArray
    left_entry: IntArray

    @property
    def n(self) -> int:
        """Number of unknowns."""
        return len(self.position)

    @property
    def nnz(self) -> int:
        """Number of entries of the factor."""
        return len(self.row)


def pattern_of(n: int, first: IntArray, second: IntArray) -> Pattern:
    """The factor's pattern for a symmetric matrix with entries at these pairs of unknowns (the diagonal always).

    Args:
        n: number of unknowns.
        first: (pairs,) one unknown of each pair, repetitions allowed.
        second: (pairs,) the other.
    """
    from scipy.sparse import csc_matrix
    from scipy.sparse.linalg import splu

    diagonal = np.arange(n)
    i, j = np.concatenate([first, second, diagonal]), np.concatenate([second, first, diagonal])
    # Values that make the matrix dominant, so that SuperLU keeps to the minimum-degree order of the pattern.
    a = csc_matrix((np.full(len(i), 1e-3), (i, j)), shape=(n, n))
    a.data[:] = 1e-3
    a = a + csc_matrix((np.bincount(i, minlength=n) + 1.0, (diagonal, diagonal)), shape=(n, n))
    order = splu(a.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).perm_c
    position = np.empty(n, np.int64)
    position[np.argsort(order)] = diagonal
    place = np.argsort(position)
    b = a[place][:, place].tocsc()
    b.sort_indices()
    parent = _elimination_tree(n, b.indptr.astype(np.int64), b.indices.astype(np.int64))
    start, row = _fill(n, b.indptr.astype(np.int64), b.indices.astype(np.int64), parent)
    return Pattern(position, start, row, *_rows_of(n, start, row))


@njit(cache=True)
def _elimination_tree(n: int, indptr: IntArray, indices: IntArray) -> IntArray:
    """Parent of each column (Liu 1990), -1 for a root."""
    parent, ancestor = np.full(n, -1), np.full(n, -1)
    for k in range(n):
        for p in range(indptr[k], indptr[k + 1]):
            i = indices[p]
            while i != -1 and i < k:
                above = ancestor[i]
                ancestor[i] = k
                if above == -1:
                    parent[i] = k
                i = above
    return parent


@njit(cache=True)
def _fill(n: int, indptr: IntArray, indices: IntArray, parent: IntArray) -> tuple[IntArray, IntArray]:
    """Columns of the factor: for row k, every column on the tree paths from A's entries up to k has an entry."""
    count = np.ones(n, np.int64)
    mark = np.full(n, -1)
    for k in range(n):
        mark[k] = k
        for p in range(indptr[k], indptr[k + 1]):
            i = indices[p]
            while i < k and mark[i] != k:
                mark[i] = k
                count[i] += 1
                i = parent[i]
    start = np.zeros(n + 1, np.int64)
    for k in range(n):
        start[k + 1] = start[k] + count[k]
    row, filled = np.empty(start[n], np.int64), start[:-1].copy()
    mark[:] = -1
    for k in range(n):
        mark[k] = k
        row[filled[k]] = k
        filled[k] += 1
        for p in range(indptr[k], indptr[k + 1]):
            i = indices[p]
            while i < k and mark[i] != k:
                mark[i] = k
                row[filled[i]] = k
                filled[i] += 1
                i = parent[i]
    return start, row


@njit(cache=True)
def _rows_of(n: int, start: IntArray, row: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """The entries left of the diagonal, by row."""
    count = np.zeros(n + 1, np.int64)
    for k in range(n):
        for p in range(start[k] + 1, start[k + 1]):
            count[row[p] + 1] += 1
    left = np.cumsum(count)
    column, entry, filled = np.empty(left[n], np.int64), np.empty(left[n], np.int64), left[:-1].copy()
    for k in range(n):
        for p in range(start[k] + 1, start[k + 1]):
            i = row[p]
            column[filled[i]], entry[filled[i]] = k, p
            filled[i] += 1
    return left, column, entry


@njit(cache=True)
def entry_at(start: IntArray, row: IntArray, i: int, j: int) -> int:
    """Entry of two positions in elimination order; they must lie in the pattern."""
    low, high = min(i, j), max(i, j)
    a, b = start[low], start[low + 1]
    while a < b - 1:
        m = (a + b) // 2
        if row[m] <= high:
            a = m
        else:
            b = m
    return int(a)


@njit(cache=True, nogil=True)
def factorise(
    start: IntArray, row: IntArray, left_start: IntArray, left_column: IntArray, left_entry: IntArray, a: FloatArray,
    work: FloatArray, zero_pivot: float, held: BoolArray,
) -> int:  # fmt: skip
    """Turn the matrix (lower triangle, on the pattern) into its factor in place; returns how many unknowns are held.

    An unknown that is ``held``, or whose pivot is below ``zero_pivot`` of its own diagonal, is marked and never moves.
    """
    n, missing = start.size - 1, 0
    for j in range(n):
        begin, end = start[j], start[j + 1]
        own = a[begin]
        for p in range(begin, end):
            work[row[p]] = a[p]
        for q in range(left_start[j], left_start[j + 1]):
            k, at = left_column[q], left_entry[q]
            factor = a[at]
            for p in range(at, start[k + 1]):
                work[row[p]] -= factor * a[p]
        pivot = work[j]
        held[j] = held[j] or not pivot > zero_pivot * own
        if held[j]:
            missing += 1
            a[begin] = _NO_STEP
            for p in range(begin + 1, end):
                a[p] = 0.0
        else:
            root = np.sqrt(pivot)
            a[begin] = root
            for p in range(begin + 1, end):
                a[p] = work[row[p]] / root
        for p in range(begin, end):
            work[row[p]] = 0.0
    return missing


@njit(cache=True, nogil=True)
def solve(start: IntArray, row: IntArray, factor: FloatArray, x: FloatArray) -> None:
    """Solve with the factor in place; ``x`` is in elimination order."""
    n = start.size - 1
    for j in range(n):
        x[j] /= factor[start[j]]
        for p in range(start[j] + 1, start[j + 1]):
            x[row[p]] -= factor[p] * x[j]
    solve_upper(start, row, factor, x)


@njit(cache=True, nogil=True)
def solve_upper(start: IntArray, row: IntArray, factor: FloatArray, x: FloatArray) -> None:
    """Solve with the transposed factor in place."""
    for j in range(start.size - 2, -1, -1):
        total = x[j]
        for p in range(start[j] + 1, start[j + 1]):
            total -= factor[p] * x[row[p]]
        x[j] = total / factor[start[j]]


@njit(cache=True, nogil=True)
def inverse_on_pattern(start: IntArray, row: IntArray, factor: FloatArray, out: FloatArray, slot: IntArray) -> None:
    """Entries of the matrix's inverse on the factor's pattern; ``slot`` is (n,) scratch, -1 everywhere before and after."""
    n = start.size - 1
    for j in range(n - 1, -1, -1):
        begin, end = start[j], start[j + 1]
        scale = 1.0 / factor[begin]
        for p in range(begin + 1, end):
            slot[row[p]] = p
            out[p] = 0.0
        for p in range(begin + 1, end):
            k = row[p]
            weight = factor[p] * scale
            for q in range(start[k], start[k + 1]):
                other = slot[row[q]]
                if other >= 0:
                    out[other] -= weight * out[q]
                    if other != p:
                        out[p] -= factor[other] * scale * out[q]
        own = scale * scale
        for p in range(begin + 1, end):
            own -= factor[p] * scale * out[p]
            slot[row[p]] = -1
        out[begin] = own
