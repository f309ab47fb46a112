"""Outages by a chord iteration: the whole network's Jacobian, factorised once, corrected for the branches that are out.

Taking a branch out changes the Jacobian in the rows of its two ends only, so a case costs a few forward and backward
substitutions (Woodbury's formula) and one pass over the admittances an iteration, and no factorisation. The mismatch is
the exact one: what converges is the power flow, only the way there is an approximation. Rows of lost nodes are left
out, and the branches between the living and the lost are taken out of the living's rows alone, so the pattern never
changes. A case that the chord does not bring home is left to Newton-Raphson (:mod:`vpp.grid.contingency.meshed`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from vpp.grid.network import Network
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array, IntArray

RANK_LIMIT = 64  # rows changed by one case; above it, the case is Newton-Raphson's


class Factor(NamedTuple):
    """A Jacobian in polar coordinates, P rows by angle and Q rows by magnitude, factorised; equations are pivoted.

    Attributes:
        row_p, row_q: (n,) equation of each node's active and reactive power, -1 where it has none.
        col_angle, col_size: (n,) unknown of each node's angle and magnitude, -1 where it has none.
        l_start, l_row, l_value: unit lower factor by columns, without its diagonal.
        u_start, u_row, u_value: upper factor by columns, without its diagonal.
        u_inverse: (unknowns,) inverse of its diagonal.
    """

    row_p: IntArray
    row_q: IntArray
    col_angle: IntArray
    col_size: IntArray
    l_start: Int32Array
    l_row: Int32Array
    l_value: FloatArray
    u_start: Int32Array
    u_row: Int32Array
    u_value: FloatArray
    u_inverse: FloatArray


class Cases(NamedTuple):
    """Cases for the kernel: branches that are out and nodes that are lost, one case after the other.

    Attributes:
        start, branch: (cases + 1,) first entry of each case, and its branches.
        lost_start, lost: the same for its lost nodes.
    """

    start: IntArray
    branch: IntArray
    lost_start: IntArray
    lost: Int32Array


class Admittances(NamedTuple):
    """A network's admittances for the kernel: the matrix by rows, and each branch's four; pu on sn_mva.

    Attributes:
        start, column, value: the matrix, CSR.
        f, t: (branches,) nodes, -1 where off.
        branch: (branches, 4) yff, yft, ytf, ytt.
    """

    start: Int32Array
    column: Int32Array
    value: ComplexArray
    f: Int32Array
    t: Int32Array
    branch: ComplexArray


def admittances_of(network: Network) -> Admittances:
    """Gather a network's admittances."""
    y = np.ascontiguousarray(np.stack([network.yff, network.yft, network.ytf, network.ytt], 1))
    nodes = network.branch_from_node, network.branch_to_node
    return Admittances(network.y_indptr, network.y_indices, network.y_data, *nodes, y)


def factorise(network: Network, v: ComplexArray) -> Factor | None:
    """Factorise the Jacobian at voltages (n_node,) pu; None where it is singular or there is nothing to solve."""
    from scipy.sparse import bmat, csr_matrix, diags
    from scipy.sparse.linalg import splu

    n = network.n_node
    y = csr_matrix((network.y_data, network.y_indices, network.y_indptr), shape=(n, n))
    unit, current = diags(v / np.abs(v)), y @ v
    by_size = diags(v) @ (y @ unit).conj() + diags(np.conj(current)) @ unit
    by_angle = 1j * diags(v) @ (diags(current) - y @ diags(v)).conj()
    angles = np.setdiff1d(np.arange(n), network.slack_node)
    sizes = np.setdiff1d(angles, network.pv_node)
    if not len(angles):
        return None
    both = [by_angle.tocsr()[:, angles], by_size.tocsr()[:, sizes]]
    blocks = [[side[angles].real for side in both], [side[sizes].imag for side in both]]
    try:
        lu = splu(bmat(blocks).tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01, options={"SymmetricMode": True})
    except RuntimeError:
        return None
    equation, unknown = lu.perm_r.astype(np.int64), lu.perm_c.astype(np.int64)
    row_p, row_q, col_angle, col_size = (np.full(n, -1, np.int64) for _ in range(4))
    row_p[angles], row_q[sizes] = equation[: len(angles)], equation[len(angles) :]
    col_angle[angles], col_size[sizes] = unknown[: len(angles)], unknown[len(angles) :]
    lower, upper, diagonal = _columns(lu.L), _columns(lu.U), np.asarray(lu.U.diagonal(), np.float64)
    return Factor(row_p, row_q, col_angle, col_size, *lower, *upper, 1.0 / diagonal)


def _columns(factor: Any) -> tuple[Int32Array, Int32Array, FloatArray]:
    """A factor by columns without its diagonal: starts, rows, values."""
    from scipy.sparse import csc_matrix, diags

    rest = csc_matrix(factor - diags(factor.diagonal()))
    rest.eliminate_zeros()
    rest.sort_indices()
    return rest.indptr.astype(np.int32), rest.indices.astype(np.int32), rest.data


@njit(cache=True, nogil=True, error_model="numpy")
def _substitute(factor: Factor, x: FloatArray) -> None:
    """Solve in place: (unknowns,) right-hand side by equation -> solution by unknown."""
    m = x.size
    for j in range(m):
        if x[j] != 0.0:
            for p in range(factor.l_start[j], factor.l_start[j + 1]):
                x[factor.l_row[p]] -= factor.l_value[p] * x[j]
    for j in range(m - 1, -1, -1):
        if x[j] != 0.0:
            x[j] *= factor.u_inverse[j]
            for p in range(factor.u_start[j], factor.u_start[j + 1]):
                x[factor.u_row[p]] -= factor.u_value[p] * x[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _mismatch(
    y: Admittances, factor: Factor, out: IntArray, s_pu: ComplexArray, v: ComplexArray, dead: BoolArray, rest: ComplexArray,
    x: FloatArray,
) -> float:  # fmt: skip
    """Fill the mismatch by equation into ``x``; returns the largest, NaN where one is NaN. ``rest`` is work space (n,)."""
    n, worst, total = v.size, 0.0, 0.0
    for k in range(n):
        current = 0j
        for p in range(y.start[k], y.start[k + 1]):
            current += y.value[p] * v[y.column[p]]
        rest[k] = current
    for b in out:
        f, t = y.f[b], y.t[b]
        if f >= 0 and t >= 0:
            rest[f] -= y.branch[b, 0] * v[f] + y.branch[b, 1] * v[t]
            rest[t] -= y.branch[b, 2] * v[f] + y.branch[b, 3] * v[t]
    for k in range(n):
        gap = s_pu[k] - v[k] * rest[k].conjugate()
        for row, value in ((factor.row_p[k], gap.real), (factor.row_q[k], gap.imag)):
            if row >= 0:
                x[row] = 0.0 if dead[k] else value
                worst = max(worst, abs(x[row]))
                total += x[row]
    return worst if total == total else total


@njit(cache=True, nogil=True, error_model="numpy")
def _changed_rows(
    y: Admittances,
    factor: Factor,
    out: IntArray,
    v: ComplexArray,
    dead: BoolArray,
    row: IntArray,
    column: IntArray,
    change: FloatArray,
) -> int:  # fmt: skip
    """Rows of the Jacobian that outages change: fills row (r,), column (r, 4), change (r, 4); returns r, -1 for too many."""
    r = 0
    for b in out:
        if y.f[b] < 0 or y.t[b] < 0:
            continue
        for side in range(2):
            here, there = (y.f[b], y.t[b]) if side == 0 else (y.t[b], y.f[b])
            own, mutual = (y.branch[b, 0], y.branch[b, 1]) if side == 0 else (y.branch[b, 3], y.branch[b, 2])
            if dead[here]:
                continue
            sent_own = v[here] * (own * v[here]).conjugate()
            sent_mutual = v[here] * (mutual * v[there]).conjugate()
            by_size = (2.0 * sent_own + sent_mutual) / abs(v[here])
            by = (1j * sent_mutual, by_size, -1j * sent_mutual, sent_mutual / abs(v[there]))
            at = (factor.col_angle[here], factor.col_size[here], factor.col_angle[there], factor.col_size[there])
            for reactive in range(2):
                equation = factor.row_q[here] if reactive else factor.row_p[here]
                if equation < 0:
                    continue
                if r == RANK_LIMIT:
                    return -1
                row[r] = equation
                for c in range(4):
                    column[r, c] = at[c]
                    change[r, c] = -(by[c].imag if reactive else by[c].real)
                r += 1
    return r


@njit(cache=True, nogil=True, error_model="numpy")
def _times(column: IntArray, change: FloatArray, r: int, x: FloatArray) -> float:
    """Row r of the change times x."""
    out = 0.0
    for c in range(4):
        if column[r, c] >= 0:
            out += change[r, c] * x[column[r, c]]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _move(factor: Factor, x: FloatArray, dead: BoolArray, size: FloatArray, v: ComplexArray) -> None:
    """Turn and scale the living's voltages by a solution; (1 + ih) / (1 - ih) turns by 2 atan h and keeps the size."""
    for k in range(v.size):
        if factor.col_angle[k] >= 0 and not dead[k]:
            h, scale = 0.5 * x[factor.col_angle[k]], 1.0
            if factor.col_size[k] >= 0:
                before = size[k]
                size[k] += x[factor.col_size[k]]
                scale = size[k] / before
            w = scale / (1.0 + h * h)
            v[k] *= complex(w * (1.0 - h * h), w * 2.0 * h)


@njit(cache=True, nogil=True, error_model="numpy")
def _invert(a: FloatArray, out: FloatArray, n: int) -> bool:
    """Invert the leading (n, n) of ``a``, which is used up; False where it is singular (Gauss and Jordan, rows pivoted)."""
    for i in range(n):
        for j in range(n):
            out[i, j] = 1.0 if i == j else 0.0
    for j in range(n):
        best = j
        for i in range(j + 1, n):
            if abs(a[i, j]) > abs(a[best, j]):
                best = i
        if not abs(a[best, j]) > 1e-9:
            return False
        for c in range(n):
            a[j, c], a[best, c] = a[best, c], a[j, c]
            out[j, c], out[best, c] = out[best, c], out[j, c]
        scale = 1.0 / a[j, j]
        for c in range(n):
            a[j, c] *= scale
            out[j, c] *= scale
        for i in range(n):
            if i != j and a[i, j] != 0.0:
                by = a[i, j]
                for c in range(n):
                    a[i, c] -= by * a[j, c]
                    out[i, c] -= by * out[j, c]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def solve_cases(
    y: Admittances, factor: Factor, cases: Cases, s_pu: ComplexArray, v_base: ComplexArray, tol_pu: float, max_iter: int,
    v_out: ComplexArray, iterations: IntArray,
) -> None:  # fmt: skip
    """Solve every case from the whole network's voltages; lost nodes come out as NaN.

    Args:
        y: the network.
        factor: its Jacobian at ``v_base``.
        cases: what is out and lost.
        s_pu: (n,) injections.
        v_base: (n,) voltages without any outage.
        tol_pu: largest mismatch at the solution.
        max_iter: iterations at most.
        v_out: (cases, n) out; of no meaning where iterations are negative.
        iterations: (cases,) out, negative where the chord does not lead to a solution.
    """
    n, m = v_base.size, factor.u_inverse.size
    dead, rest, x = np.zeros(n, np.bool_), np.empty(n, np.complex128), np.empty(m)
    row, column, change = np.empty(RANK_LIMIT, np.int64), np.empty((RANK_LIMIT, 4), np.int64), np.empty((RANK_LIMIT, 4))
    answer, inner, inverse = np.empty((RANK_LIMIT, m)), np.empty((RANK_LIMIT, RANK_LIMIT)), np.empty((RANK_LIMIT, RANK_LIMIT))
    size, size_base = np.empty(n), np.abs(v_base)
    for case in range(cases.start.size - 1):
        out = cases.branch[cases.start[case] : cases.start[case + 1]]
        lost = cases.lost[cases.lost_start[case] : cases.lost_start[case + 1]]
        dead[lost] = True
        v = v_out[case]
        v[:], size[:] = v_base, size_base
        iterations[case] = -1
        r = _changed_rows(y, factor, out, v_base, dead, row, column, change)
        for k in range(r):
            answer[k] = 0.0
            answer[k, row[k]] = 1.0
            _substitute(factor, answer[k])
        for a in range(r):
            for b in range(r):
                inner[a, b] = _times(column, change, a, answer[b]) + (a == b)
        usable = r >= 0 and _invert(inner, inverse, r)
        worst = np.inf
        for iteration in range(1, max_iter + 1 if usable else 0):
            before, worst = worst, _mismatch(y, factor, out, s_pu, v, dead, rest, x)
            if worst <= tol_pu:
                iterations[case] = iteration
                break
            if not worst < 1e3 or (iteration > 3 and worst > 0.8 * before):
                break
            _substitute(factor, x)
            for a in range(r):
                inner[0, a] = _times(column, change, a, x)
            for a in range(r):
                share = 0.0
                for b in range(r):
                    share += inverse[a, b] * inner[0, b]
                for k in range(m):
                    x[k] -= share * answer[a, k]
            _move(factor, x, dead, size, v)
        v[lost] = complex(np.nan, np.nan)
        dead[lost] = False
