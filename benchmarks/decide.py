"""Figure (d): `decide` for 100,000 resources through the whole chain, plus the devices' step, against a memory copy.

100,000 devices (half loads, a quarter PV, a quarter batteries) in a hundred groups under the PCC; every proposer
and guard. One thread. Against a numpy copy of a 5 x 100,000 float64 block in the same run.

    python benchmarks/decide.py [--n 100000] [--json]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from _common import median_us, show

from controllers import GUARDS, PROPOSERS
from twin.devices.inverter import Inverters
from twin.devices.inverter.advance import settle
from twin.devices.inverter.respond import respond
from twin.fleet import FleetModel
from twin.series import ProfileTable
from twin.spec import FleetSpec
from vpp.kernel.envelope import OWNERS, Envelope
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, Capability, Fleet, Terminals
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.groups import Groups
from vpp.kernel.orders import Order
from vpp.kernel.schedule import Schedule
from vpp.kernel.seen import News, Seen
from vpp.kernel.setpoints import Asked
from vpp.kernel.settings import Settings
from vpp.kernel.telemetry import Telemetry
from vpp.kernel.tick import Chain, decide

GOAL, DT_NS, NOW_NS = 40.0, 900 * 10**9, 1_466_500_000 * 10**9


def fleet_of(n: int) -> tuple[Fleet, FleetSpec]:
    """A mixed fleet of ``n`` devices."""
    rng = np.random.Generator(np.random.PCG64(1))
    kind = np.repeat(["load", "pv", "battery"], [n - 2 * (n // 4), n // 4, n // 4])
    load, pv, battery = kind == "load", kind == "pv", kind == "battery"
    p = rng.uniform(0.002, 0.01, n)
    s = np.where(load, 0.0, 1.1 * p)
    q_pu = np.array([[0.0, 0.0, 0.11, 0.44, 0.44], [0.44] * 5])
    p_pu = np.array([[0.0, 0.04999, 0.05, 0.2, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0]])
    capability = Capability(s, np.full(n, np.inf), battery.astype(np.int32), p_pu, -q_pu, q_pu, np.ones(n, np.bool_))
    names = ("pcc", *(f"feeder-{g}" for g in range(100)))
    groups = Groups(names, np.array([-1, *[0] * 100], np.int32), rng.integers(1, 101, n).astype(np.int32))
    zero = np.zeros(n)
    fleet = Fleet(
        id=tuple(f"r{i}" for i in range(n)), kind=tuple(kind),
        control=np.where(battery, CONTROL_FOLLOW, np.where(pv, CONTROL_LIMIT, CONTROL_NONE)),
        terminal=Terminals.single(rng.integers(0, 100, n).astype(np.int32)),
        p_min_mw=np.where(pv, 0.0, -p), p_max_mw=np.where(load, 0.0, p), p_safe_mw=zero, ramp_mw_per_s=p / 60.0,
        p_step_mw=zero, p_gap_mw=zero, e_mwh=np.where(battery, 2 * p, 0.0), soc_min=np.full(n, 0.05), soc_max=np.full(n, 0.95),
        eff_charge=np.full(n, 0.95), eff_discharge=np.full(n, 0.95), capability=capability, groups=groups,
    )  # fmt: skip
    settings = Settings.full(n, 0.0)
    settings.qv_enable = (~load).astype(float)
    settings.qv_v1_pu, settings.qv_v2_pu, settings.qv_v3_pu, settings.qv_v4_pu = 0.92, 0.98, 1.02, 1.08
    settings.qv_q1_pu, settings.qv_q4_pu, settings.qv_olrt_s = 0.44, -0.44, 5.0
    settings.pv_v1_pu, settings.pv_v2_pu, settings.pv_p1_pu, settings.pv_olrt_s = 1.06, 1.1, 1.0, 10.0
    column = np.where(battery, -1, np.where(pv, 1, 0)).astype(np.int32)
    profiles = ProfileTable(rng.uniform(0.2, 0.9, (4, 2)).astype(np.float32), np.arange(4))
    return fleet, FleetSpec(
        fleet, p, np.where(load, -0.2 * p, 0.0), s, np.where(battery, 0.5, np.nan), column, column, settings, profiles
    )


def seen_of(fleet: Fleet, spec: FleetSpec) -> Seen:
    """What the controllers see: a lively moment in which guards and groups bind."""
    n, rng = fleet.n, np.random.Generator(np.random.PCG64(2))
    telemetry = Telemetry.full(n)
    telemetry.time_ns[:] = NOW_NS
    telemetry.p_mw = np.clip(rng.normal(0.0, 0.004, n), fleet.p_min_mw, fleet.p_max_mw)
    telemetry.q_mvar, telemetry.f_hz, telemetry.soc = 0.0, 50.0, spec.soc0
    telemetry.vm_pu = rng.normal(1.02, 0.025, n)
    telemetry.p_avail_min_mw, telemetry.p_avail_max_mw = fleet.p_min_mw, fleet.p_max_mw * rng.uniform(0.3, 1.0, n)
    layout = PointLayout(("pcc_p_mw", "pcc_q_mvar"), ("p_mw", "q_mvar"), ("pcc", "pcc"))
    points = GridPoints.of(layout, np.array([telemetry.p_mw.sum() - 1.0, 0.0]), NOW_NS)
    follow = np.flatnonzero(fleet.control == CONTROL_FOLLOW)
    plan = np.full((96, n), np.nan)
    plan[:, follow] = rng.uniform(-0.005, 0.005, (96, follow.size))
    order = Order("o1", "operator", follow[: follow.size // 4], NOW_NS, NOW_NS + 10 * DT_NS, p_mw=0.001)
    news = News(orders=(order,), schedule=Schedule(NOW_NS, DT_NS, plan))
    last = Asked.nothing(n, NOW_NS - DT_NS)
    return Seen(telemetry, points, last.setpoints.copy(), last, news)


def main() -> int:
    """Measure the whole and its parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    n = parser.parse_args().n
    fleet, spec = fleet_of(n)
    seen = seen_of(fleet, spec)
    limits: dict[str, dict[str, Any]] = {
        "over_voltage": {"vm_high_pu": 1.05},
        "under_voltage": {"vm_low_pu": 0.97},
        "pcc": {"group": "pcc", "import_mw": 60.0, "export_mw": 20.0},
    }
    chain = Chain(
        fleet,
        [make(fleet) for make in PROPOSERS.values()],
        [make(fleet, **limits.get(name, {})) for name, make in GUARDS.items()],
        DT_NS,
    )
    devices, inverters = FleetModel(spec), Inverters.of(fleet, spec.s_rated_mva, spec.settings)
    lag, out, sets = inverters.lag(900.0), inverters.output(), len(inverters.table)
    delivered = np.zeros(n)
    source, target = np.random.Generator(np.random.PCG64(3)).random((5, 100_000)), np.empty((5, 100_000))

    def step_devices() -> None:
        devices.step(1, 900.0, seen.last.setpoints, delivered)
        respond(0, sets, inverters.start, inverters.table, lag, inverters.lanes, out)
        settle(0, sets, inverters.start, inverters.table, inverters.lanes, out)

    before = median_us(lambda: np.copyto(target, source), 201)
    decision = median_us(lambda: decide(NOW_NS, seen, chain))
    stepped = median_us(step_devices)
    copy = (before + median_us(lambda: np.copyto(target, source), 201)) / 2
    whole = decision + stepped
    allowed = Envelope.full(fleet, NOW_NS, DT_NS, seen, chain.hold_ns)
    allowed.speaker = len(OWNERS)
    parts = {c.name: median_us(lambda c=c: c.step(NOW_NS, seen, allowed)) for c in chain.controllers}
    bare = Chain(fleet, [], [], DT_NS)
    parts["open and resolve"] = median_us(lambda: decide(NOW_NS, seen, bare))
    show(
        f"(d) decide for {n} resources, {len(chain.controllers)} controllers, {fleet.groups.n} groups, plus the device step",
        [
            ("copy of 5 x 100,000 float64", f"{copy:.0f} us"),
            ("decide", f"{decision / 1e3:.2f} ms"),
            ("device step, curves included", f"{stepped / 1e3:.2f} ms"),
            ("ratio", f"{whole / copy:.1f} (goal: at most {GOAL:g})"),
            ("parts of decide", ", ".join(f"{name} {value / 1e3:.2f} ms" for name, value in parts.items())),
        ],
        {"n": n, "copy_us": copy, "decide_us": decision, "devices_us": stepped, "ratio": whole / copy, "parts_us": parts},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
