"""Numba kernels of the three-phase solver: time steps side by side in lanes.

The iteration is the fixed point of current injections: the legs' currents from their voltages, then the nodes'
voltages from the currents by the factorised admittance matrix. Where a network has few legs, the iteration runs on
the legs alone, with the dense matrix of their mutual impedances, which is the same fixed point; all nodes are solved
once at the end. V, A and VA; injection positive. Lane by lane the arithmetic is the same, so a step's result does
not depend on the others of its batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array
from vpp.grid.threephase.factor import Factor

FAST = {"contract", "reassoc", "nsz"}  # never nnan/ninf: NaN has to come through
LANES = 32  # time steps side by side; fewer are unrolled and then not turned into vector instructions
BLOCK = 2 * LANES  # of one node: real parts, imaginary parts
U = np.uintp


class LegArrays(NamedTuple):
    """The legs as the kernels want them; ``-1`` is ground, a fixed node or a dead one."""

    a_row: Int32Array  # where the current of end a goes into the right-hand side
    b_row: Int32Array
    a_column: Int32Array  # where its voltage stands in the solution
    b_column: Int32Array
    v_fixed_re: FloatArray  # (m,) V, what fixed ends add to the leg's voltage
    v_fixed_im: FloatArray
    v_base: FloatArray
    parts: FloatArray  # (m, 6)
    v_band: FloatArray  # (m, 3)
    y_re: FloatArray  # (m,) S, the legs' admittances that stand in the matrix
    y_im: FloatArray


class Dense(NamedTuple):
    """Mutual impedances of the legs: ``u = u0 + z i``; empty where the factors are used instead."""

    z_re: FloatArray  # (m, m) ohm
    z_im: FloatArray
    u0_re: FloatArray  # (m,) V, no-load voltages of the legs
    u0_im: FloatArray


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _eliminate(w: FloatArray, i: np.uintp, j: np.uintp, c: float, d: float) -> None:
    """Take (c + jd) times the lanes at j from those at i; a node's real parts stand first, then its imaginary ones."""
    for lane in range(LANES):
        a, b = w[j + U(lane)], w[j + U(LANES + lane)]
        w[i + U(lane)] -= c * a - d * b
        w[i + U(LANES + lane)] -= c * b + d * a


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def lu_solve(f: Factor, w: FloatArray) -> None:
    """Solve in place for all lanes: w (n * BLOCK,), right-hand sides by rows in, solutions by columns out."""
    for j in range(f.n):
        for k in range(f.l_start[j], f.l_start[j + 1]):
            kk = U(k)
            _eliminate(w, U(f.l_row[kk]) * U(BLOCK), U(j) * U(BLOCK), f.l_re[kk], f.l_im[kk])
    for back in range(f.n):
        at = U(f.n - 1 - back)
        jj = at * U(BLOCK)
        c, d = f.d_re[at], f.d_im[at]
        for lane in range(LANES):
            re, im = w[jj + U(lane)], w[jj + U(LANES + lane)]
            w[jj + U(lane)] = c * re - d * im
            w[jj + U(LANES + lane)] = c * im + d * re
        for k in range(f.u_start[at], f.u_start[at + U(1)]):
            kk = U(k)
            _eliminate(w, U(f.u_row[kk]) * U(BLOCK), jj, f.u_re[kk], f.u_im[kk])


@njit(cache=True, nogil=True, error_model="numpy")
def admittance(x: float, z: float, i: float, p: float, low: float, least: float, most: float) -> float:
    """Power over rated power at the voltage ``x`` (pu of rated), divided by x squared: an admittance in pu."""
    if x > most:
        return (z * most * most + i * most + p) / (most * most)
    if x >= least:
        return z + (i + p / x) / x
    if x <= low:
        return z + i + p
    edge = (z * least * least + i * least + p) / least  # current at the lower edge of the band
    return ((z + i + p) * low + (edge - (z + i + p) * low) * (x - low) / (least - low)) / x


@njit(cache=True, nogil=True, error_model="numpy")
def leg_currents(
    legs: LegArrays, p: FloatArray, q: FloatArray, u_re: FloatArray, u_im: FloatArray, i_re: FloatArray, i_im: FloatArray
) -> None:
    """Currents (m, LANES) in A that enter the network at end a and leave it at end b.

    They are conj(s(u) / u), less what the legs' admittances in the matrix draw already.
    """
    for k in range(legs.v_base.shape[0]):
        per = 1.0 / legs.v_base[k]
        pz, pi, pp, qz, qi, qp = legs.parts[k]
        low, least, most = legs.v_band[k]
        plain = pz == 0.0 and pi == 0.0 and qz == 0.0 and qi == 0.0
        for lane in range(LANES):
            a, b = u_re[k, lane], u_im[k, lane]
            square = (a * a + b * b) * per * per
            if plain and least * least <= square <= most * most:
                g = p[k, lane] * pp / square
                h = q[k, lane] * qp / square
            else:
                x = np.sqrt(square)
                g = p[k, lane] * admittance(x, pz, pi, pp, low, least, most)
                h = q[k, lane] * admittance(x, qz, qi, qp, low, least, most)
            g, h = g * per * per + legs.y_re[k], h * per * per - legs.y_im[k]
            i_re[k, lane] = g * a + h * b
            i_im[k, lane] = g * b - h * a


@njit(cache=True, nogil=True, error_model="numpy")
def nodes_from_legs(f: Factor, legs: LegArrays, i_re: FloatArray, i_im: FloatArray, w: FloatArray) -> None:
    """Node voltages (n * BLOCK,) of the legs' currents (m, LANES), sources included."""
    for k in range(f.n):
        for lane in range(LANES):
            w[k * BLOCK + lane] = f.b_re[k]
            w[k * BLOCK + LANES + lane] = f.b_im[k]
    for k in range(legs.a_row.shape[0]):
        for row, sign in ((legs.a_row[k], 1.0), (legs.b_row[k], -1.0)):
            if row >= 0:
                for lane in range(LANES):
                    w[row * BLOCK + lane] += sign * i_re[k, lane]
                    w[row * BLOCK + LANES + lane] += sign * i_im[k, lane]
    lu_solve(f, w)


@njit(cache=True, nogil=True, error_model="numpy")
def leg_voltages(legs: LegArrays, w: FloatArray, n_re: FloatArray, n_im: FloatArray) -> None:
    """Voltages of the legs (m, LANES) from those of the nodes."""
    for k in range(legs.a_column.shape[0]):
        for lane in range(LANES):
            n_re[k, lane] = legs.v_fixed_re[k]
            n_im[k, lane] = legs.v_fixed_im[k]
        for column, sign in ((legs.a_column[k], 1.0), (legs.b_column[k], -1.0)):
            if column >= 0:
                for lane in range(LANES):
                    n_re[k, lane] += sign * w[column * BLOCK + lane]
                    n_im[k, lane] += sign * w[column * BLOCK + LANES + lane]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _dense_voltages(dense: Dense, i_re: FloatArray, i_im: FloatArray, n_re: FloatArray, n_im: FloatArray) -> None:
    """Voltages of the legs (m, LANES) by their mutual impedances."""
    m = dense.u0_re.shape[0]
    acc_re, acc_im = np.empty(LANES), np.empty(LANES)
    for k in range(m):
        for lane in range(LANES):
            acc_re[lane] = dense.u0_re[k]
            acc_im[lane] = dense.u0_im[k]
        for j in range(m):
            c, d = dense.z_re[k, j], dense.z_im[k, j]
            for lane in range(LANES):
                acc_re[lane] += c * i_re[j, lane] - d * i_im[j, lane]
                acc_im[lane] += c * i_im[j, lane] + d * i_re[j, lane]
        for lane in range(LANES):
            n_re[k, lane] = acc_re[lane]
            n_im[k, lane] = acc_im[lane]


@njit(cache=True, nogil=True, error_model="numpy")
def _settle(legs: LegArrays, u_re: FloatArray, u_im: FloatArray, n_re: FloatArray, n_im: FloatArray, worst: FloatArray) -> None:
    """Take the next voltages over; ``worst`` (LANES,) gets the largest squared change in pu."""
    worst[:] = 0.0
    for k in range(legs.v_base.shape[0]):
        per = 1.0 / legs.v_base[k]
        for lane in range(LANES):
            re, im = (n_re[k, lane] - u_re[k, lane]) * per, (n_im[k, lane] - u_im[k, lane]) * per
            change = re * re + im * im
            worst[lane] = max(worst[lane], change)
            u_re[k, lane] = n_re[k, lane]
            u_im[k, lane] = n_im[k, lane]


@njit(cache=True, nogil=True, error_model="numpy")
def solve_steps(
    f: Factor,
    legs: LegArrays,
    dense: Dense,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    per_base: FloatArray,
    tol: float,
    max_iter: int,
    v: ComplexArray,
    converged: BoolArray,
    iterations: Int32Array,
) -> None:
    """Solve T steps from no load: injections (T, m) of the legs -> voltages (T, n_node) in pu, flags, iterations.

    A step that does not converge (within ``tol`` pu of a leg's rated voltage) is NaN as a whole.
    """
    steps, m = p_mw.shape
    w = np.empty(f.n * BLOCK)
    p, q = np.empty((m, LANES)), np.empty((m, LANES))
    u_re, u_im, n_re, n_im = np.empty((m, LANES)), np.empty((m, LANES)), np.empty((m, LANES)), np.empty((m, LANES))
    i_re, i_im = np.empty((m, LANES)), np.empty((m, LANES))
    worst, took = np.empty(LANES), np.empty(LANES, dtype=np.int32)
    for t0 in range(0, steps, LANES):
        for k in range(m):
            for lane in range(LANES):
                t = min(t0 + lane, steps - 1)  # the last block is filled up with its last step
                p[k, lane], q[k, lane] = p_mw[t, k] * 1e6, q_mvar[t, k] * 1e6
                u_re[k, lane], u_im[k, lane] = dense.u0_re[k], dense.u0_im[k]
        took[:] = 0
        for iteration in range(1, max_iter + 1):
            leg_currents(legs, p, q, u_re, u_im, i_re, i_im)
            if dense.z_re.shape[0] == m:
                _dense_voltages(dense, i_re, i_im, n_re, n_im)
            else:
                nodes_from_legs(f, legs, i_re, i_im, w)
                leg_voltages(legs, w, n_re, n_im)
            _settle(legs, u_re, u_im, n_re, n_im, worst)
            left = 0
            for lane in range(LANES):
                if worst[lane] > tol * tol:  # a lane full of NaN does not hold up the others; it is found out later
                    left += 1
                    took[lane] = 0
                elif took[lane] == 0:
                    took[lane] = iteration
            if left == 0:
                break
        leg_currents(legs, p, q, u_re, u_im, i_re, i_im)
        nodes_from_legs(f, legs, i_re, i_im, w)
        for lane in range(min(LANES, steps - t0)):
            t = t0 + lane
            total = 0.0
            for k in range(f.n):
                total += w[k * BLOCK + lane] + w[k * BLOCK + LANES + lane]
            converged[t] = took[lane] > 0 and np.isfinite(total)
            iterations[t] = took[lane] if converged[t] else max_iter
            _write(f, w, lane, per_base, converged[t], v[t])


@njit(cache=True, nogil=True, error_model="numpy")
def _write(f: Factor, w: FloatArray, lane: int, per_base: FloatArray, good: bool, v: ComplexArray) -> None:
    """Write one lane's voltages (n_node,) in pu, NaN throughout where the step is not good."""
    for k in range(v.shape[0]):
        c = f.column_of[k]
        re, im = f.fixed_re[k], f.fixed_im[k]
        if c >= 0:
            re, im = w[c * BLOCK + lane], w[c * BLOCK + LANES + lane]
        v[k] = complex(re * per_base[k], im * per_base[k]) if good else complex(np.nan, np.nan)
