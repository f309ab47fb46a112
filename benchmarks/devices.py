"""Figure (i): what a step of the device kernels costs, against OpenDER and against a streaming pass over the same state.

The smart inverter: sets of settings with every function on (volt-watt, droop, limit, trips, ride-through, enter service,
response times) and reactive power led by volt-var with a following reference, a constant, a power factor and watt-var,
a quarter each. One thread; a step is status, response and lags of every device at voltages and frequencies that change
from step to step (their writing is not included). Peers: OpenDER 2.2.0, the same functions on; a numba copy of the same
arrays (state, inputs, power). All are measured in turns, so that they meet the same machine; medians.

    python benchmarks/devices.py [--sizes 1000 100000 1000000] [--json]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from _common import show  # sets the number of threads before numpy comes in
from numba import njit

from twin.devices.inverter import Inverters
from twin.devices.inverter.advance import alone
from twin.devices.inverter.grid_code import load_code
from vpp.kernel.fleet import Capability, simple_fleet
from vpp.kernel.settings import Settings

GOAL_OPENDER, GOAL_COPY, DT_S = 3000.0, 6.0, 0.1


@njit(cache=True, nogil=True)
def _copy(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    for i in range(source.size):
        target[i] = source[i]


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


class Ours:
    """``n`` inverters, and how long their steps take."""

    def __init__(self, n: int) -> None:
        """Put them up and let them run in."""
        self.n, self.inverters, rng = n, inverters_of(n), np.random.Generator(np.random.PCG64(1))
        self.inverters.step(DT_S, 1.0, 60.0, 0.008, p_max_mw=0.009)
        self.volts, self.hertz = rng.normal(1.0, 0.05, (4, n)), rng.normal(60.0, 0.05, (4, n))
        self.lag = self.inverters.lag(DT_S)
        self.targets = [np.empty_like(part) for part in self.inverters.parts()]
        self.steps, self.copies = self.measure(4)

    def measure(self, steps: int) -> tuple[list[float], list[float]]:
        """Seconds of so many steps, and of as many streaming passes over the same arrays."""
        inv, stepped, copied = self.inverters, [], []
        for k in range(steps):
            for name, value in (("V", self.volts[k % 4]), ("F", self.hertz[k % 4]), ("P_WANT", 0.008)):
                inv.set(name, value)
            begin = time.perf_counter()
            alone(inv.start, inv.table, self.lag, inv.lanes, DT_S)
            stepped.append(time.perf_counter() - begin)
        for _ in range(steps):
            begin = time.perf_counter()
            for source, target in zip(inv.parts(), self.targets, strict=True):
                _copy(source, target)
            copied.append(time.perf_counter() - begin)
        return stepped, copied


class Theirs:
    """OpenDER with the same functions on, one device for each that may lead reactive power."""

    def __init__(self) -> None:
        """Put them up."""
        logging.disable(logging.CRITICAL)
        import opender

        opender.DER.t_s = DT_S
        self.rng = np.random.Generator(np.random.PCG64(2))
        self.devices = [
            opender.DER_PV(
                NP_P_MAX=1e4, NP_VA_MAX=1.1e4, NP_Q_MAX_INJ=4840, NP_Q_MAX_ABS=4840, NP_P_MAX_CHARGE=1e4,
                NP_APPARENT_POWER_CHARGE_MAX=1.1e4, NP_AC_V_NOM=400, NP_V_DC=800, PV_MODE_ENABLE=True, PF_MODE_ENABLE=True,
                AP_LIMIT_ENABLE=True, AP_LIMIT=0.9, QV_VREF_AUTO_MODE=True, **{f"{mode}_MODE_ENABLE": True},
            )
            for mode in ("QV", "CONST_Q", "CONST_PF", "QP")
        ]  # fmt: skip

    def measure(self, steps: int) -> list[float]:
        """Seconds of a step of a device, the mean over the devices, so many times."""
        spent = []
        for v, f in zip(self.rng.normal(1.0, 0.05, steps), self.rng.normal(60.0, 0.05, steps)):
            begin = time.perf_counter()
            for der in self.devices:
                der.update_der_input(p_dc_w=9e3, v_pu=v, f=f)
                der.run()
            spent.append((time.perf_counter() - begin) / len(self.devices))
        return spent


def compare(n: int, rounds: int = 20) -> dict[str, float]:
    """Nanoseconds of a device-step, ours and OpenDER's, and of the streaming pass; medians, measured in turns."""
    ours, theirs = Ours(n), Theirs()
    spent: tuple[list[float], list[float], list[float]] = ([], [], [])
    theirs.measure(20)
    for _ in range(rounds):
        step, copied = ours.measure(4 if n > 10_000 else 40)
        for total, part in zip(spent, (step, copied, theirs.measure(20))):
            total.extend(part)
    ns, copy_ns, peer_ns = (statistics.median(part) * 1e9 for part in spent)
    size = sum(part.nbytes for part in ours.inverters.parts()) / n
    ns, copy_ns = ns / n, copy_ns / n
    return {
        "ns": ns,
        "copy_ns": copy_ns,
        "opender_ns": peer_ns,
        "ratio_copy": ns / copy_ns,
        "ratio_opender": peer_ns / ns,
        "bytes": size,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--json", action="store_true")
    sizes = parser.parse_args().sizes
    results = {n: compare(n) for n in sizes}
    rows = []
    for n, r in results.items():
        text = (
            f"{r['ns']:.1f} ns a device-step, {r['ratio_opender']:.0f} x OpenDER's {r['opender_ns'] / 1e3:.0f} us (goal at 1e5: "
        )
        text += (
            f"{GOAL_OPENDER:g}); streaming pass over {r['bytes']:.0f} bytes {r['copy_ns']:.1f} ns, ratio {r['ratio_copy']:.2f}"
        )
        rows.append((f"inverter, {n} devices", text + f" (goal at 1e6: at most {GOAL_COPY:g})"))
    show(
        "(i) a step of the device kernels, all functions active, one thread",
        rows,
        {"inverter": {str(n): r for n, r in results.items()}},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
