"""Numba kernels of the tree sweep: one step at a time, and blocks of steps side by side.

The iteration is the classical fixed point v <- v0 + Z conj(s / v), with Z applied by two passes through the tree
(see :mod:`vpp.grid.powerflow.tree_arrays`). All arrays are in tree order, per unit, injection positive.

Three things make the loops fast: indices are unsigned (a signed index costs a test for wrapping each time),
division does not raise (``error_model="numpy"``), and a block keeps all of a node's values side by side, so that
the compiler sees that they do not overlap and uses vector instructions over the lanes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vpp.grid.powerflow.tree_arrays import TreeArrays
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array

FAST = {"contract", "reassoc", "nsz"}  # never nnan/ninf: NaN has to come through
LANES = 32  # time steps side by side
BLOCK = 6 * LANES  # of one node: p, q, v_re, v_im, i_re, i_im
P, Q, V_RE, V_IM, I_RE, I_IM = (k * LANES for k in range(6))
LANE_LIMIT = 1500  # nodes; above, a block leaves the cache and single steps are faster
U = np.uintp


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def tree_linear_solve(arrays: TreeArrays, i_re: FloatArray, i_im: FloatArray, v_re: FloatArray, v_im: FloatArray) -> float:
    """Node injection currents -> voltages, sources included; (n,) pu in tree order, ``v`` in place.

    ``i`` is used up: it comes back as the current that flows from each node towards its parent. Returns the
    largest squared change of a voltage, NaN where one is NaN.
    """
    n, first, parent = arrays.parent.shape[0], arrays.n_slack, arrays.parent
    down_re, down_im, z_re, z_im = arrays.down_re, arrays.down_im, arrays.z_re, arrays.z_im
    up_re, up_im = arrays.up_re, arrays.up_im
    for back in range(n - first):
        k = U(n - 1 - back)
        p = U(parent[k])
        a, b, c, d = i_re[k], i_im[k], down_re[k], down_im[k]
        i_re[p] += c * a - d * b
        i_im[p] += c * b + d * a
    for s in range(first):
        v_re[s], v_im[s] = arrays.v0_re[s], arrays.v0_im[s]
    worst, total = 0.0, 0.0
    for ahead in range(first, n):
        k = U(ahead)
        p = U(parent[k])
        a, b, e, f = i_re[k], i_im[k], v_re[p], v_im[p]
        re = z_re[k] * a - z_im[k] * b + (up_re[k] * e - up_im[k] * f)
        im = z_re[k] * b + z_im[k] * a + (up_re[k] * f + up_im[k] * e)
        x, y = re - v_re[k], im - v_im[k]
        change = x * x + y * y
        worst = max(worst, change)
        total += change  # the sum keeps a NaN, the maximum may lose it
        v_re[k], v_im[k] = re, im
    return worst if total == total else total


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def tree_currents(
    p_pu: FloatArray, q_pu: FloatArray, v_re: FloatArray, v_im: FloatArray, i_re: FloatArray, i_im: FloatArray
) -> None:
    """Injection currents conj(s / v) of constant powers: all (n,) pu, any order."""
    for k in range(p_pu.shape[0]):
        a, b = v_re[k], v_im[k]
        w = 1.0 / (a * a + b * b)
        i_re[k] = (p_pu[k] * a + q_pu[k] * b) * w
        i_im[k] = (p_pu[k] * b - q_pu[k] * a) * w


@njit(cache=True, nogil=True, error_model="numpy")
def tree_solve_work(
    arrays: TreeArrays,
    p_pu: FloatArray,
    q_pu: FloatArray,
    v_re: FloatArray,
    v_im: FloatArray,
    i_re: FloatArray,
    i_im: FloatArray,
    tol: float,
    max_iter: int,
) -> int:
    """:func:`tree_solve` with the caller's work arrays ``i_re, i_im`` (n,): allocates nothing."""
    n = v_re.shape[0]
    usable = True
    for k in range(n):
        m = v_re[k] * v_re[k] + v_im[k] * v_im[k]
        usable &= (m > 1e-6) & (m < 1e6)
    if not usable:
        for k in range(n):
            v_re[k], v_im[k] = arrays.v0_re[k], arrays.v0_im[k]
    limit = tol * tol
    for iteration in range(1, max_iter + 1):
        tree_currents(p_pu, q_pu, v_re, v_im, i_re, i_im)
        change = tree_linear_solve(arrays, i_re, i_im, v_re, v_im)
        if change <= limit:
            return iteration
        if not (change < 1e12):
            break
    for k in range(n):
        v_re[k], v_im[k] = np.nan, np.nan
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def tree_solve(
    arrays: TreeArrays,
    p_pu: FloatArray,
    q_pu: FloatArray,
    v_re: FloatArray,
    v_im: FloatArray,
    tol: float,
    max_iter: int,
) -> int:
    """Solve one step in place, warm from ``v`` (from no load where any of v is NaN or 0): (n,) pu in tree order.

    ``p_pu, q_pu`` are total injections / sn_mva; those at slack nodes have no effect on voltages but must be
    finite. Returns the iterations until the largest |dv| <= tol; -1 if not converged, and then v is NaN
    throughout.
    """
    i_re, i_im = np.empty_like(v_re), np.empty_like(v_im)
    return tree_solve_work(arrays, p_pu, q_pu, v_re, v_im, i_re, i_im, tol, max_iter)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _sweep_down(w: FloatArray, node: np.uintp, parent: np.uintp, d_re: float, d_im: float) -> None:
    """One node of the pass from the leaves, all lanes: add its current to its children's, hand it on."""
    for lane in range(LANES):
        j = node + U(lane)
        a, b, p, q = w[j + U(V_RE)], w[j + U(V_IM)], w[j], w[j + U(Q)]
        r = 1.0 / (a * a + b * b)
        w[j + U(I_RE)] = w[j + U(I_RE)] + (p * a + q * b) * r
        w[j + U(I_IM)] = w[j + U(I_IM)] + (p * b - q * a) * r
    for lane in range(LANES):
        j, m = node + U(lane), parent + U(lane)
        a, b = w[j + U(I_RE)], w[j + U(I_IM)]
        w[m + U(I_RE)] += d_re * a - d_im * b
        w[m + U(I_IM)] += d_re * b + d_im * a


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _sweep_up(
    w: FloatArray,
    node: np.uintp,
    parent: np.uintp,
    worst: FloatArray,
    z_re: float,
    z_im: float,
    u_re: float,
    u_im: float,
) -> None:
    """One node of the pass from the roots, all lanes; clears the currents for the next iteration."""
    for lane in range(LANES):
        j, m = node + U(lane), parent + U(lane)
        a, b, e, f = w[j + U(I_RE)], w[j + U(I_IM)], w[m + U(V_RE)], w[m + U(V_IM)]
        re = z_re * a - z_im * b + (u_re * e - u_im * f)
        im = z_re * b + z_im * a + (u_re * f + u_im * e)
        x, y = re - w[j + U(V_RE)], im - w[j + U(V_IM)]
        worst[lane] = max(worst[lane], x * x + y * y)
        w[j + U(V_RE)] = re
        w[j + U(V_IM)] = im
        w[j + U(I_RE)] = 0.0
        w[j + U(I_IM)] = 0.0


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _iterate(arrays: TreeArrays, w: FloatArray, tol: float, max_iter: int, took: Int32Array) -> None:
    """Iterate one block until every lane is settled; ``took`` (LANES,) gets the iterations, 0 where never."""
    n, first = arrays.parent.shape[0], arrays.n_slack
    worst = np.empty(LANES)
    took[:] = 0
    for iteration in range(1, max_iter + 1):
        worst[:] = 0.0
        for back in range(n - first):
            k = U(n - 1 - back)
            _sweep_down(w, k * U(BLOCK), U(arrays.parent[k]) * U(BLOCK), arrays.down_re[k], arrays.down_im[k])
        for ahead in range(first, n):
            k = U(ahead)
            z_re, z_im, u_re, u_im = arrays.z_re[k], arrays.z_im[k], arrays.up_re[k], arrays.up_im[k]
            _sweep_up(w, k * U(BLOCK), U(arrays.parent[k]) * U(BLOCK), worst, z_re, z_im, u_re, u_im)
        left = 0
        for lane in range(LANES):
            if worst[lane] > tol * tol:  # a lane full of NaN does not hold up the others; it is found out later
                left += 1
                took[lane] = 0
            elif took[lane] == 0:
                took[lane] = iteration
        if left == 0:
            break


@njit(cache=True, nogil=True, error_model="numpy")
def tree_batch(
    arrays: TreeArrays,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    fixed_p: FloatArray,
    fixed_q: FloatArray,
    per_sn: float,
    tol: float,
    max_iter: int,
    v: ComplexArray,
    converged: BoolArray,
    iterations: Int32Array,
) -> None:
    """Solve T steps in blocks: injections (T, n_node) and results (T, n_node), (T,) in *network* node order."""
    n, steps = arrays.parent.shape[0], p_mw.shape[0]
    w, took = np.empty(n * BLOCK), np.empty(LANES, dtype=np.int32)
    for t0 in range(0, steps, LANES):
        for k in range(n):
            m, b = arrays.node[k], k * BLOCK
            for lane in range(LANES):
                t = min(t0 + lane, steps - 1)  # the last block is filled up with its last step
                w[b + lane] = (p_mw[t, m] + fixed_p[m]) * per_sn
                w[b + Q + lane] = (q_mvar[t, m] + fixed_q[m]) * per_sn
                w[b + V_RE + lane] = arrays.v0_re[k]
                w[b + V_IM + lane] = arrays.v0_im[k]
                w[b + I_RE + lane] = 0.0
                w[b + I_IM + lane] = 0.0
        _iterate(arrays, w, tol, max_iter, took)
        for lane in range(min(LANES, steps - t0)):
            t, total = t0 + lane, 0.0
            for k in range(n):
                total += w[k * BLOCK + V_RE + lane] + w[k * BLOCK + V_IM + lane]
            good = took[lane] > 0 and np.isfinite(total)
            converged[t] = good
            iterations[t] = took[lane] if good else max_iter
            for k in range(n):
                b = k * BLOCK + lane
                v[t, arrays.node[k]] = complex(w[b + V_RE], w[b + V_IM]) if good else complex(np.nan, np.nan)


@njit(cache=True, nogil=True, error_model="numpy")
def tree_series(
    arrays: TreeArrays,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    fixed_p: FloatArray,
    fixed_q: FloatArray,
    per_sn: float,
    tol: float,
    max_iter: int,
    v: ComplexArray,
    converged: BoolArray,
    iterations: Int32Array,
) -> None:
    """:func:`tree_batch` for large networks: one step after the other, each from no load."""
    n = arrays.parent.shape[0]
    p, q, v_re, v_im = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    i_re, i_im = np.empty(n), np.empty(n)
    for t in range(p_mw.shape[0]):
        for k in range(n):
            m = arrays.node[k]
            p[k] = (p_mw[t, m] + fixed_p[m]) * per_sn
            q[k] = (q_mvar[t, m] + fixed_q[m]) * per_sn
            v_re[k], v_im[k] = arrays.v0_re[k], arrays.v0_im[k]
        took = tree_solve_work(arrays, p, q, v_re, v_im, i_re, i_im, tol, max_iter)
        converged[t] = took > 0
        iterations[t] = took if took > 0 else max_iter
        for k in range(n):
            v[t, arrays.node[k]] = complex(v_re[k], v_im[k])
