"""What is expected of the equipment: laws as curves, their answer in time, and the bands that uncertainty leaves.

Everything is a pure function. A law is a piecewise-linear `Curve`, so the band over an interval of its argument is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hil.bench.ports import Nameplate

Band = tuple[float, float]
FAR = 1e6


@dataclass(frozen=True, slots=True)
class Curve:
    """A piecewise-linear law, constant outside its points; two points at one place are a step.

    Attributes:
        x: places, ascending.
        y: values there.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that the points ascend."""
        if len(self.x) != len(self.y) or not self.x or any(b < a for a, b in zip(self.x, self.x[1:])):
            raise ValueError(f"a curve needs ascending points, got {self.x} and {self.y}")

    def __call__(self, x: float) -> float:
        """The value at a place; at a step the one behind it."""
        k = int(np.searchsorted(self.x, x, side="right"))
        if k == 0:
            return self.y[0]
        if k == len(self.x):
            return self.y[-1]
        part = (x - self.x[k - 1]) / (self.x[k] - self.x[k - 1])
        return self.y[k - 1] + part * (self.y[k] - self.y[k - 1])

    def over(self, x: float, dx: float) -> Band:
        """Lowest and highest value from x − dx to x + dx."""
        inside = [y for place, y in zip(self.x, self.y) if x - dx <= place <= x + dx]
        values = [self(x - dx), self(x), self(x + dx), *inside]
        return min(values), max(values)

    def clipped(self, low: float, high: float) -> Curve:
        """The same between two bounds, with points where it meets them."""
        x, y = [self.x[0]], [self.y[0]]
        for x1, y1 in zip(self.x[1:], self.y[1:]):
            x0, y0 = x[-1], y[-1]
            parts = sorted((b - y0) / (y1 - y0) for b in (low, high) if y1 != y0 and 0.0 < (b - y0) / (y1 - y0) < 1.0)
            for part in parts:
                x.append(x0 + part * (x1 - x0))
                y.append(y0 + part * (y1 - y0))
            x.append(x1)
            y.append(y1)
        return Curve(tuple(x), tuple(min(max(v, low), high) for v in y))


def constant(value: float) -> Curve:
    """The same value everywhere."""
    return Curve((0.0,), (value,))


def volt_var(s: Mapping[str, float], n: Nameplate) -> Curve:
    """Reactive power [of nameplate VA] by voltage [pu]; IEEE 1547-2018, 5.3.3."""
    shift = (s.get("qv_vref_pu") or 1.0) - 1.0
    x = tuple(s[f"qv_v{k}_pu"] + shift for k in range(1, 5))
    return Curve(x, tuple(s[f"qv_q{k}_pu"] for k in range(1, 5))).clipped(-n.q_abs_pu, n.q_inj_pu)


def volt_watt(s: Mapping[str, float], available_pu: float = 1.0) -> Curve:
    """Active power [of rated] by voltage [pu], no more than there is; IEEE 1547-2018, 5.4.2."""
    curve = Curve((s["pv_v1_pu"], s["pv_v2_pu"]), (s["pv_p1_pu"], s["pv_p2_pu"]))
    return curve.clipped(-FAR, available_pu)


def watt_var(s: Mapping[str, float], n: Nameplate) -> Curve:
    """Reactive power [of nameplate VA] by active power [of rated]; IEEE 1547-2018, 5.3.4."""
    x = tuple(s[f"qp_p{k}_gen_pu"] for k in (1, 2, 3))
    return Curve(x, tuple(s[f"qp_q{k}_gen_pu"] for k in (1, 2, 3))).clipped(-n.q_abs_pu, n.q_inj_pu)


def power_factor(s: Mapping[str, float], n: Nameplate) -> Curve:
    """Reactive power [of nameplate VA] by active power [of rated] at a constant power factor; IEEE 1547-2018, 5.3.2."""
    tangent = math.sqrt(max(1.0 / s["const_pf"] ** 2 - 1.0, 0.0)) * math.copysign(1.0, s["const_pf_excitation"])
    return Curve((-2.0, 2.0), (-2.0 * tangent / n.s_of_p, 2.0 * tangent / n.s_of_p)).clipped(-n.q_abs_pu, n.q_inj_pu)


def reactive_power(s: Mapping[str, float], n: Nameplate) -> Curve:
    """Constant reactive power [of nameplate VA]; IEEE 1547-2018, 5.3.5."""
    return constant(min(max(s["const_q_pu"], -n.q_abs_pu), n.q_inj_pu))


def droop(s: Mapping[str, float], n: Nameplate, before_pu: float, available_pu: float = 1.0) -> Curve:
    """Active power [of rated] by frequency [Hz]; IEEE 1547-2018, Table 23.

    p = p_before − (f − f_n − db_of) / (f_n k_of) above and p = p_before + (f_n − db_uf − f) / (f_n k_uf) below, of rated
    power: what was delivered before enters once, as the place where the line begins.
    """
    f_n, least = n.f_nom_hz, -n.p_charge_mw / n.p_max_mw if n.p_charge_mw else n.p_min_mw / n.p_max_mw
    above, below = f_n + s["pf_dbof_hz"], f_n - s["pf_dbuf_hz"]
    far_of, far_uf = 3.0 * f_n * s["pf_kof"], 3.0 * f_n * s["pf_kuf"]
    x = (below - far_uf, below, above, above + far_of)
    return Curve(x, (before_pu + 3.0, before_pu, before_pu, before_pu - 3.0)).clipped(
        min(least, before_pu), max(available_pu, before_pu)
    )


def response(before: float, after: float, t_s: float, tr_s: float) -> float:
    """First-order open-loop response that has covered 90 % of the change at ``tr_s``."""
    if tr_s <= 0.0:
        return after
    return before + (after - before) * -math.expm1(-max(t_s, 0.0) * math.log(10.0) / tr_s)


def steady_band(law: Curve, x: float, u_x: float, u_y: float) -> Band:
    """What a settled value may be where the argument is measured as x: f(x ± u_x) ± u_y."""
    low, high = law.over(x, u_x)
    return low - u_y, high + u_y


def transient_band(before: float, after: float, t_s: float, tr_s: float, u_t: float, u_y: float) -> Band:
    """What a value may be ``t_s`` after a step: Y(t ± u_t·t) ± u_y."""
    ends = response(before, after, t_s * (1.0 - u_t), tr_s), response(before, after, t_s * (1.0 + u_t), tr_s)
    return min(ends) - u_y, max(ends) + u_y


def one_sided_band(before: float, after: float, share: float, u_y: float) -> Band:
    """What a value may be when a share of its change is due and more is allowed (constant reactive power)."""
    due = before + share * (after - before)
    return min(due, after) - u_y, max(due, after) + u_y
