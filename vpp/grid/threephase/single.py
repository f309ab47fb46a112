"""Numba kernels of the three-phase solver for one step at a time: the iteration of :mod:`.kernels` without lanes."""

from __future__ import annotations

import numpy as np
from numba import njit

from vpp.grid.tables import ComplexArray, FloatArray, Int32Array
from vpp.grid.threephase.factor import Factor
from vpp.grid.threephase.kernels import FAST, Dense, LegArrays, U, admittance


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def lu_solve_one(f: Factor, x: ComplexArray) -> None:
    """Solve in place: x (n,), the right-hand side by rows in, the solution by columns out."""
    for j in range(f.n):
        a = x[U(j)]
        if a != 0.0:
            for k in range(f.l_start[j], f.l_start[j + 1]):
                x[U(f.l_row[k])] -= complex(f.l_re[k], f.l_im[k]) * a
    for back in range(f.n):
        j = f.n - 1 - back
        a = x[U(j)] * complex(f.d_re[j], f.d_im[j])
        x[U(j)] = a
        for k in range(f.u_start[j], f.u_start[j + 1]):
            x[U(f.u_row[k])] -= complex(f.u_re[k], f.u_im[k]) * a


@njit(cache=True, nogil=True, error_model="numpy")
def _nodes(f: Factor, legs: LegArrays, current: ComplexArray, x: ComplexArray) -> None:
    """Node voltages (n,) of the legs' currents (m,), sources included."""
    for k in range(f.n):
        x[k] = complex(f.b_re[k], f.b_im[k])
    for k in range(current.shape[0]):
        if legs.a_row[k] >= 0:
            x[legs.a_row[k]] += current[k]
        if legs.b_row[k] >= 0:
            x[legs.b_row[k]] -= current[k]
    lu_solve_one(f, x)


@njit(cache=True, nogil=True, error_model="numpy")
def _across(a_column: Int32Array, b_column: Int32Array, x: ComplexArray, u: ComplexArray) -> None:
    """Voltages of the legs (m,) from those of the nodes, fixed ends left out."""
    for k in range(u.shape[0]):
        u[k] = 0.0
        if a_column[k] >= 0:
            u[k] += x[a_column[k]]
        if b_column[k] >= 0:
            u[k] -= x[b_column[k]]


@njit(cache=True, nogil=True, error_model="numpy")
def leg_impedances(f: Factor, legs: LegArrays, u0: ComplexArray, z: ComplexArray) -> None:
    """No-load voltages (m,) of the legs, and as many rows of their mutual impedances as ``z`` (k, m) has."""
    m = u0.shape[0]
    x = np.empty(f.n, dtype=np.complex128)
    _nodes(f, legs, np.zeros(m, dtype=np.complex128), x)
    _across(legs.a_column, legs.b_column, x, u0)
    for k in range(m):
        u0[k] += complex(legs.v_fixed_re[k], legs.v_fixed_im[k])
    for j in range(z.shape[0]):
        x[:] = 0.0
        if legs.a_row[j] >= 0:
            x[legs.a_row[j]] += 1.0
        if legs.b_row[j] >= 0:
            x[legs.b_row[j]] -= 1.0
        lu_solve_one(f, x)
        _across(legs.a_column, legs.b_column, x, z[j])


@njit(cache=True, nogil=True, error_model="numpy")
def _currents(legs: LegArrays, p: FloatArray, q: FloatArray, u_re: FloatArray, u_im: FloatArray, current: ComplexArray) -> None:
    """Currents (m,) in A at the legs' voltages; see :func:`.kernels.leg_currents`."""
    for k in range(current.shape[0]):
        per = 1.0 / legs.v_base[k]
        pz, pi, pp, qz, qi, qp = legs.parts[k]
        low, least, most = legs.v_band[k]
        x = np.sqrt(u_re[k] * u_re[k] + u_im[k] * u_im[k]) * per
        g = p[k] * 1e6 * admittance(x, pz, pi, pp, low, least, most) * per * per
        h = q[k] * 1e6 * admittance(x, qz, qi, qp, low, least, most) * per * per
        current[k] = complex(g + legs.y_re[k], legs.y_im[k] - h) * complex(u_re[k], u_im[k])


@njit(cache=True, nogil=True, error_model="numpy")
def _dense_voltages(dense: Dense, current: ComplexArray, u: ComplexArray) -> None:
    """Voltages of the legs (m,) by their mutual impedances."""
    for k in range(u.shape[0]):
        re, im = dense.u0_re[k], dense.u0_im[k]
        for j in range(u.shape[0]):
            c, d = dense.z_re[k, j], dense.z_im[k, j]
            re += c * current[j].real - d * current[j].imag
            im += c * current[j].imag + d * current[j].real
        u[k] = complex(re, im)


@njit(cache=True, nogil=True, error_model="numpy")
def _settle(v_base: FloatArray, u: ComplexArray, u_re: FloatArray, u_im: FloatArray) -> float:
    """Take the next voltages over; returns the largest squared change in pu, NaN where one is NaN."""
    worst, total = 0.0, 0.0
    for k in range(u.shape[0]):
        re, im = (u[k].real - u_re[k]) / v_base[k], (u[k].imag - u_im[k]) / v_base[k]
        change = re * re + im * im
        worst = max(worst, change)
        total += change  # the sum keeps a NaN, the maximum may lose it
        u_re[k], u_im[k] = u[k].real, u[k].imag
    return worst if total == total else total


@njit(cache=True, nogil=True, error_model="numpy")
def solve_one(
    f: Factor,
    legs: LegArrays,
    dense: Dense,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    u_re: FloatArray,
    u_im: FloatArray,
    per_base: FloatArray,
    tol: float,
    max_iter: int,
    v: ComplexArray,
) -> int:
    """Solve one step from the legs' voltages ``u`` (m,) in V, changed in place: injections (m,) -> v (n_node,) in pu.

    Returns the iterations; -1 if not converged, and then v is NaN throughout.
    """
    m = p_mw.shape[0]
    x, current, u = np.empty(f.n, dtype=np.complex128), np.empty(m, dtype=np.complex128), np.empty(m, dtype=np.complex128)
    took = -1
    for iteration in range(1, max_iter + 1):
        _currents(legs, p_mw, q_mvar, u_re, u_im, current)
        if dense.z_re.shape[0] == m:
            _dense_voltages(dense, current, u)
        else:
            _nodes(f, legs, current, x)
            _across(legs.a_column, legs.b_column, x, u)
            for k in range(m):
                u[k] += complex(legs.v_fixed_re[k], legs.v_fixed_im[k])
        change = _settle(legs.v_base, u, u_re, u_im)
        if not (change > tol * tol):
            took = iteration if change == change else -1
            break
    if took > 0:
        _currents(legs, p_mw, q_mvar, u_re, u_im, current)
        _nodes(f, legs, current, x)
    good = took > 0
    for k in range(v.shape[0]):
        c = f.column_of[k]
        value = x[c] if good and c >= 0 else complex(f.fixed_re[k], f.fixed_im[k])
        v[k] = value * per_base[k] if good else complex(np.nan, np.nan)
    return took
