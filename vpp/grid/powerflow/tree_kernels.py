"""Numba kernels of the tree sweep: one step at a time, and blocks of steps side by side.

The iteration is the classical fixed point v <- v0 + Z conj(s / v), with Z applied by two passes through the tree
(see :mod:`vpp.grid.powerflow.tree_arrays`). All arrays are in tree order, per unit, injection positive.
"""

from __future__ import annotations

from numba import njit

import numpy as np

from vpp.grid.powerflow.tree_arrays import TreeArrays
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array

FAST = {"contract", "reassoc", "nsz"}  # never nnan/ninf: NaN has to come through


@njit(cache=True, nogil=True, fastmath=FAST)
def tree_linear_solve(arrays, i_re, i_im, v_re, v_im):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Node injection currents -> voltages, sources included; (n,) pu in tree order, v in place.

    ``i`` is used up: it comes back as the current that flows from each node towards its parent (at a slack
    node: what its children sent). Returns the largest squared change of a voltage, NaN where one is NaN.
    """
    n, first = arrays.parent.shape[0], arrays.n_slack
    parent = arrays.parent
    for k in range(n - 1, first - 1, -1):
        p = parent[k]
        i_re[p] += arrays.down_re[k] * i_re[k] - arrays.down_im[k] * i_im[k]
        i_im[p] += arrays.down_re[k] * i_im[k] + arrays.down_im[k] * i_re[k]
    for k in range(first):
        v_re[k], v_im[k] = arrays.v0_re[k], arrays.v0_im[k]
    worst, total = 0.0, 0.0
    for k in range(first, n):
        p = parent[k]
        z_re, z_im, u_re, u_im = arrays.z_re[k], arrays.z_im[k], arrays.up_re[k], arrays.up_im[k]
        re = z_re * i_re[k] - z_im * i_im[k] + (u_re * v_re[p] - u_im * v_im[p])
        im = z_re * i_im[k] + z_im * i_re[k] + (u_re * v_im[p] + u_im * v_re[p])
        d_re, d_im = re - v_re[k], im - v_im[k]
        change = d_re * d_re + d_im * d_im
        worst = max(worst, change)
        total += change
        v_re[k], v_im[k] = re, im
    return worst if total == total else total


@njit(cache=True, nogil=True, fastmath=FAST)
def _currents(p_pu, q_pu, v_re, v_im, i_re, i_im):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Injection currents conj(s / v) of constant powers."""
    for k in range(p_pu.shape[0]):
        a, b = v_re[k], v_im[k]
        w = 1.0 / (a * a + b * b)
        i_re[k] = (p_pu[k] * a + q_pu[k] * b) * w
        i_im[k] = (p_pu[k] * b - q_pu[k] * a) * w


@njit(cache=True, nogil=True)
def tree_solve_work(  # type: ignore[no-untyped-def]  # noqa: ANN201, PLR0913
    arrays, p_pu, q_pu, v_re, v_im, i_re, i_im, tol, max_iter  # noqa: ANN001
):
    """:func:`tree_solve` with the caller's work arrays ``i_re, i_im`` (n,): allocates nothing."""
    n = v_re.shape[0]
    start = 0.0
    for k in range(n):
        start += v_re[k] * v_re[k] + v_im[k] * v_im[k]
    if not (start > 0.0 and start < np.inf):
        for k in range(n):
            v_re[k], v_im[k] = arrays.v0_re[k], arrays.v0_im[k]
    limit = tol * tol
    for iteration in range(1, max_iter + 1):
        _currents(p_pu, q_pu, v_re, v_im, i_re, i_im)
        change = tree_linear_solve(arrays, i_re, i_im, v_re, v_im)
        if change <= limit:
            return iteration
        if not change < 1e12:
            break
    for k in range(n):
        v_re[k], v_im[k] = np.nan, np.nan
    return -1


@njit(cache=True, nogil=True)
def tree_solve(arrays, p_pu, q_pu, v_re, v_im, tol, max_iter):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Solve one step in place, warm from ``v`` (from no load where v is NaN or 0): all (n,) pu in tree order.

    ``p_pu, q_pu`` are total injections / sn_mva; those at slack nodes have no effect. Returns the iterations
    until the largest |dv| <= tol; -1 if not converged, and then v is NaN throughout.
    """
    i_re, i_im = np.empty_like(v_re), np.empty_like(v_im)
    return tree_solve_work(arrays, p_pu, q_pu, v_re, v_im, i_re, i_im, tol, max_iter)


@njit(cache=True, nogil=True, fastmath=FAST)
def _sweep_down(row, top_re, top_im, p, q, v_re, v_im, i_re, i_im):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913
    """One node of the pass from the leaves, all lanes: add its current to what its children sent, hand it on."""
    d_re, d_im = row
    for j in range(p.shape[0]):
        a, b = v_re[j], v_im[j]
        w = 1.0 / (a * a + b * b)
        c_re = i_re[j] + (p[j] * a + q[j] * b) * w
        c_im = i_im[j] + (p[j] * b - q[j] * a) * w
        i_re[j] = c_re
        i_im[j] = c_im
        top_re[j] += d_re * c_re - d_im * c_im
        top_im[j] += d_re * c_im + d_im * c_re


@njit(cache=True, nogil=True, fastmath=FAST)
def _sweep_up(row, t_re, t_im, v_re, v_im, i_re, i_im, worst):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913
    """One node of the pass from the roots, all lanes; clears the currents for the next iteration."""
    z_re, z_im, u_re, u_im = row
    for j in range(v_re.shape[0]):
        c_re, c_im = i_re[j], i_im[j]
        re = z_re * c_re - z_im * c_im + (u_re * t_re[j] - u_im * t_im[j])
        im = z_re * c_im + z_im * c_re + (u_re * t_im[j] + u_im * t_re[j])
        d_re, d_im = re - v_re[j], im - v_im[j]
        change = d_re * d_re + d_im * d_im
        worst[j] = max(worst[j], change)
        v_re[j] = re
        v_im[j] = im
        i_re[j] = 0.0
        i_im[j] = 0.0


@njit(cache=True, nogil=True)
def tree_batch(  # type: ignore[no-untyped-def]  # noqa: ANN201, PLR0913
    arrays: TreeArrays,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    fixed_p_mw: FloatArray,
    fixed_q_mvar: FloatArray,
    per_sn: float,
    tol: float,
    max_iter: int,
    lanes: int,
    v: ComplexArray,
    converged: BoolArray,
    iterations: Int32Array,
):
    """Solve T steps, ``lanes`` at a time: injections (T, n_node) and results in *network* node order."""
    n, first = arrays.parent.shape[0], arrays.n_slack
    work = np.empty((6, n, lanes))
    p, q, v_re, v_im, i_re, i_im = work[0], work[1], work[2], work[3], work[4], work[5]
    worst = np.empty(lanes)
    took = np.empty(lanes, dtype=np.int32)
    limit = tol * tol
    steps = p_mw.shape[0]
    for t0 in range(0, steps, lanes):
        used = min(lanes, steps - t0)
        for k in range(n):
            m = arrays.node[k]
            for j in range(used):
                p[k, j] = (p_mw[t0 + j, m] + fixed_p_mw[m]) * per_sn
                q[k, j] = (q_mvar[t0 + j, m] + fixed_q_mvar[m]) * per_sn
            for j in range(used, lanes):
                p[k, j] = 0.0
                q[k, j] = 0.0
            v_re[k, :] = arrays.v0_re[k]
            v_im[k, :] = arrays.v0_im[k]
        i_re[:] = 0.0
        i_im[:] = 0.0
        took[:] = 0
        for iteration in range(1, max_iter + 1):
            worst[:] = 0.0
            for k in range(n - 1, first - 1, -1):
                up = arrays.parent[k]
                row = (arrays.down_re[k], arrays.down_im[k])
                _sweep_down(row, i_re[up], i_im[up], p[k], q[k], v_re[k], v_im[k], i_re[k], i_im[k])
            for k in range(first, n):
                up = arrays.parent[k]
                coefficients = (arrays.z_re[k], arrays.z_im[k], arrays.up_re[k], arrays.up_im[k])
                _sweep_up(coefficients, v_re[up], v_im[up], v_re[k], v_im[k], i_re[k], i_im[k], worst)
            open_lanes = 0
            for j in range(lanes):
                if worst[j] > limit:
                    open_lanes += 1
                elif took[j] == 0:
                    took[j] = iteration
            if open_lanes == 0:
                break
        for j in range(used):
            t = t0 + j
            total = 0.0
            for k in range(n):
                total += v_re[k, j] + v_im[k, j]
            good = took[j] > 0 and worst[j] <= limit and np.isfinite(total)
            converged[t] = good
            iterations[t] = took[j] if good else max_iter
            for k in range(n):
                v[t, arrays.node[k]] = complex(v_re[k, j], v_im[k, j]) if good else complex(np.nan, np.nan)
