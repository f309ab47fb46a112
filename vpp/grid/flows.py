"""Branch currents, loading and losses from node voltages: one numba pass, no allocation.

The kernel takes real and imaginary voltages apart, as the tree sweep holds them; ``f`` and ``t`` index whatever
order the voltages are in (:meth:`vpp.grid.network.Network.flow_arrays` can renumber them).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import njit

from vpp.grid.tables import ComplexArray, FloatArray, Int32Array


class FlowArrays(NamedTuple):
    """What the kernel needs of each branch, arrays of shape (n_branch,)."""

    f: Int32Array  # position of the from node in the voltage arrays; -1: the branch is off
    t: Int32Array
    yff: ComplexArray  # pu on sn_mva; [i_from; i_to] = [[yff, yft], [ytf, ytt]] [v_from; v_to]
    yft: ComplexArray
    ytf: ComplexArray
    ytt: ComplexArray
    i_base_from_ka: FloatArray
    i_base_to_ka: FloatArray
    per_i_max_from: FloatArray  # 1 / rated current at the from side, 1/kA; NaN = unrated
    per_i_max_to: FloatArray
    sn_mva: float


@njit(cache=True, nogil=True)
def branch_flows_into(
    arrays: FlowArrays,
    v_re: FloatArray,
    v_im: FloatArray,
    i_from_ka: FloatArray,
    i_to_ka: FloatArray,
    loading: FloatArray,
    p_loss_mw: FloatArray,
) -> float:
    """Fill the four output arrays (n_branch,) from the voltages (pu); return the total losses in MW.

    ``loading`` is 1.0 at the rated current, the larger of the rated sides, NaN where no side is rated; a branch
    that is off carries 0. NaN voltages give NaN.
    """
    total = 0.0
    for b in range(arrays.f.shape[0]):
        f, t = arrays.f[b], arrays.t[b]
        rate_f, rate_t = arrays.per_i_max_from[b], arrays.per_i_max_to[b]
        i_f, i_t, loss = 0.0, 0.0, 0.0
        if f >= 0 and t >= 0:
            vf, vt = complex(v_re[f], v_im[f]), complex(v_re[t], v_im[t])
            cf = arrays.yff[b] * vf + arrays.yft[b] * vt
            ct = arrays.ytf[b] * vf + arrays.ytt[b] * vt
            loss = (vf.real * cf.real + vf.imag * cf.imag + vt.real * ct.real + vt.imag * ct.imag) * arrays.sn_mva
            i_f = math.sqrt(cf.real * cf.real + cf.imag * cf.imag) * arrays.i_base_from_ka[b]
            i_t = math.sqrt(ct.real * ct.real + ct.imag * ct.imag) * arrays.i_base_to_ka[b]
        i_from_ka[b], i_to_ka[b], p_loss_mw[b] = i_f, i_t, loss
        load_f, load_t = i_f * rate_f, i_t * rate_t
        loading[b] = load_f if math.isnan(rate_t) or load_f > load_t else load_t
        total += loss
    return total
