"""Figure (i): what a step of the device kernels costs, against OpenDER and against a streaming pass over the same state.

The smart inverter: sets of settings with every function on (volt-watt, droop, limit, trips, ride-through, enter service,
response times) and reactive power led by volt-var with a following reference, a constant, a power factor and watt-var,
a quarter each. One thread; a step is status, response and lags of every device at voltages and frequencies that change
from step to step (their writing is not included). Peers: OpenDER 2.2.0, the same functions on, in the same run; a numba
copy of the same arrays (state, inputs, power).

    python benchmarks/devices.py [--sizes 1000 100000 1000000] [--json]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import show  # sets the number of threads before numpy comes in
from numba import njit

from twin.devices.inverter import Inverters
from twin.devices.inverter import columns as c
from twin.devices.inverter.advance import alone
from twin.devices.inverter.grid_code import load_code
from vpp.kernel.fleet import Capability, simple_fleet
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray

GOAL_OPENDER, GOAL_COPY, DT_S = 3000.0, 6.0, 0.1


@njit(cache=True, nogil=True)
def _copy(source: FloatArray, target: FloatArray) -> None:
    for i in range(source.size):
        target[i] = source[i]


def per_device_ns(call: Callable[[], Any], n: int, seconds: float = 1.0) -> float:
    """Median nanoseconds of a call for each of ``n`` devices, after one that warms up."""
    call()
    spent, until = [], time.perf_counter() + seconds
    while len(spent) < 7 or time.perf_counter() < until:
        begin = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent) / n * 1e9


def copy_ns(arrays: list[FloatArray], n: int) -> float:
    """The streaming pass: a numba copy of these arrays."""
    targets = [np.empty_like(a) for a in arrays]

    def run() -> None:
        for source, target in zip(arrays, targets):
            _copy(source, target)

    return per_device_ns(run, n)


def inverter_settings(n: int) -> Settings:
    """Everything on; who leads reactive power differs by quarters of the fleet."""
    sheet = Settings.full(n, 0.0)
    for name, value in load_code("ieee1547-2018", "B", "III").values.items():
        getattr(sheet, name)[:] = value
    for name in ("pv_enable", "pf_enable", "ap_limit_enable", "qv_vref_auto"):
        getattr(sheet, name)[:] = 1.0
    sheet.ap_limit_pu, sheet.rt_ramp_s, sheet.np_current_pu = 0.9, 0.4, 1.2
    for k, name in enumerate(("qv_enable", "const_q_enable", "const_pf_enable", "qp_enable")):
        getattr(sheet, name)[k * n // 4 : (k + 1) * n // 4] = 1.0
    return sheet


def inverters_of(n: int) -> Inverters:
    """``n`` PV inverters with all of it."""
    p_pu, q_pu = np.array([[0.0, 0.04999, 0.05, 0.2, 1.0]]), np.array([[0.0, 0.0, 0.11, 0.44, 0.44]])
    s = np.full(n, 0.011)
    capability = Capability(s, np.full(n, np.inf), np.zeros(n, np.int32), p_pu, -q_pu, q_pu, np.ones(n, np.bool_))
    return Inverters.of(simple_fleet(np.zeros(n), np.full(n, 0.01), capability=capability), s, inverter_settings(n))


def inverter(n: int) -> dict[str, float]:
    """Nanoseconds per device-step of the inverter, of its streaming pass, and their ratio."""
    inv, rng = inverters_of(n), np.random.Generator(np.random.PCG64(1))
    inv.step(DT_S, 1.0, 60.0, 0.008, p_max_mw=0.009)
    volts, hertz = rng.normal(1.0, 0.05, (4, n)), rng.normal(60.0, 0.05, (4, n))
    power, lag = np.zeros(int(inv.start[-1]) * int(c.POWER_SIZE)), inv.lag(DT_S)
    spent: list[float] = []
    for k in range(40):
        inv.set(c.V, volts[k % 4])
        inv.set(c.F, hertz[k % 4])
        begin = time.perf_counter()
        alone(inv.start, inv.table, lag, inv.lanes, power, DT_S)
        spent.append(time.perf_counter() - begin)
    ours = statistics.median(spent[3:]) / n * 1e9
    copied = copy_ns([inv.lanes, power], n)
    return {"ns": ours, "copy_ns": copied, "ratio_copy": ours / copied, "bytes": (inv.lanes.nbytes + power.nbytes) / n}


def opender_ns(steps: int = 400) -> float:
    """Nanoseconds of a step of OpenDER with the same functions on, the mean over who leads reactive power."""
    logging.disable(logging.CRITICAL)
    import opender

    opender.DER.t_s = DT_S
    rng, found = np.random.Generator(np.random.PCG64(2)), []
    for mode in ("QV", "CONST_Q", "CONST_PF", "QP"):
        der = opender.DER_PV(
            NP_P_MAX=1e4, NP_VA_MAX=1.1e4, NP_Q_MAX_INJ=4840, NP_Q_MAX_ABS=4840, NP_P_MAX_CHARGE=1e4,
            NP_APPARENT_POWER_CHARGE_MAX=1.1e4, NP_AC_V_NOM=400, NP_V_DC=800, PV_MODE_ENABLE=True, PF_MODE_ENABLE=True,
            AP_LIMIT_ENABLE=True, AP_LIMIT=0.9, QV_VREF_AUTO_MODE=True, **{f"{mode}_MODE_ENABLE": True},
        )  # fmt: skip
        volts, hertz = rng.normal(1.0, 0.05, steps), rng.normal(60.0, 0.05, steps)
        begin = time.perf_counter()
        for v, f in zip(volts, hertz):
            der.update_der_input(p_dc_w=9e3, v_pu=v, f=f)
            der.run()
        found.append((time.perf_counter() - begin) / steps)
    return statistics.mean(found) * 1e9


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--json", action="store_true")
    sizes = parser.parse_args().sizes
    peer = opender_ns()
    results = {n: inverter(n) for n in sizes}
    rows = [("OpenDER, one device", f"{peer / 1e3:.0f} us a step")]
    for n, r in results.items():
        text = f"{r['ns']:.1f} ns a device-step, {peer / r['ns']:.0f} x OpenDER (goal at 1e5: {GOAL_OPENDER:g})"
        text += f"; streaming pass over {r['bytes']:.0f} bytes {r['copy_ns']:.1f} ns, ratio {r['ratio_copy']:.2f}"
        rows.append((f"inverter, {n} devices", text + f" (goal at 1e6: at most {GOAL_COPY:g})"))
    title = "(i) a step of the device kernels, all functions active, one thread"
    show(
        title,
        rows,
        {"opender_ns": peer, "inverter": {str(n): {**r, "ratio_opender": peer / r["ns"]} for n, r in results.items()}},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
