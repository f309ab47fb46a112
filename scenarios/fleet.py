"""From a scenario's fleet plan to what the controllers know of it and what the twin simulates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from scenarios.expand import FleetPlan
from scenarios.schema.series import read_series, series_at
from scenarios.schema.time import profile_index
from twin.devices.pv import available_mw
from twin.spec import FleetSpec, ProfileTable
from vpp.grid import Profiles
from vpp.grid.network import Network
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, Capability, Fleet, Terminals
from vpp.kernel.groups import Groups
from vpp.kernel.schedule import Forecast
from vpp.kernel.seen import Seen
from vpp.kernel.signals import FloatArray, IntArray

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario

# Reactive capability of IEEE 1547-2018, 5.2, category B: 44 % of nameplate; a PV inverter gives none below 5 % of
# its rated power and less below 20 %, a storage inverter all of it at any power. |P| is of nameplate here.
_P_PU = np.array([[0.0, 0.04999, 0.05, 0.2, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0]])
_Q_PU = np.array([[0.0, 0.0, 0.11, 0.44, 0.44], [0.44, 0.44, 0.44, 0.44, 0.44]])
PV_TABLE, STORAGE_TABLE = 0, 1


def fleet_spec(plan: FleetPlan, network: Network, year: Profiles | None, time_ns: IntArray) -> FleetSpec:
    """Build the fleet: ratings with signs, capability, terminals, profiles."""
    kind = np.array(plan.kind)
    load, battery, pv = kind == "load", kind == "battery", kind == "pv"
    control = np.where(plan.controllable & battery, CONTROL_FOLLOW, np.where(plan.controllable & pv, CONTROL_LIMIT, CONTROL_NONE))
    s_mva = np.where(load, 0.0, plan.s_mva)
    p_inverter = np.minimum(plan.p_mw, np.where(load, np.inf, s_mva))
    profiles = profile_table(plan, year, time_ns)
    peak = _peaks(profiles, plan.profile_p)
    # A load's band holds whatever its profile says; a PV's ends at its inverter.
    p_max = np.where(load, np.maximum(-plan.p_mw * peak[0], 0.0), p_inverter)
    p_min = np.where(load, np.minimum(-plan.p_mw * peak[1], 0.0), np.where(battery, -p_inverter, 0.0))
    n = plan.n
    capability = Capability(
        s_mva, np.full(n, np.inf), np.where(battery, STORAGE_TABLE, PV_TABLE).astype(np.int32),
        _P_PU, -_Q_PU, _Q_PU, np.ones(n, np.bool_),
    )  # fmt: skip
    fleet = Fleet(
        id=plan.id,
        kind=plan.kind,
        control=control.astype(np.int64),
        terminal=Terminals.single(network.node_of_bus[plan.bus]),
        p_min_mw=p_min,
        p_max_mw=p_max,
        p_safe_mw=np.where(pv, p_max, np.clip(0.0, p_min, p_max)),
        ramp_mw_per_s=plan.ramp_mw_per_s,
        p_step_mw=np.zeros(n),
        p_gap_mw=np.zeros(n),
        e_mwh=plan.e_mwh,
        soc_min=plan.soc_min,
        soc_max=plan.soc_max,
        eff_charge=plan.eff_charge,
        eff_discharge=plan.eff_discharge,
        capability=capability,
        groups=Groups(plan.group_names, plan.group_parent.astype(np.int32), plan.group_of.astype(np.int32)),
    )
    return FleetSpec(
        fleet, plan.p_mw, plan.q_mvar, s_mva, np.where(battery, plan.soc, np.nan),
        plan.profile_p.astype(np.int32), plan.profile_q.astype(np.int32), plan.settings, profiles,
    )  # fmt: skip


def profile_table(plan: FleetPlan, year: Profiles | None, time_ns: IntArray) -> ProfileTable:
    """The profiles that the fleet uses, one column each, in the order of ``plan.profile_names``.

    A column is a year of quarter-hours; the user's own file of a day or a year is laid out to one.
    """
    names = plan.profile_names
    if not names:
        return ProfileTable(np.ones((1, 1), np.float32), np.zeros(len(time_ns), np.int64))
    columns = []
    for name in names:
        if name.startswith("file:"):
            series = read_series(name)
            repeat = 35136 // len(series) if len(series) > 96 else 96 // max(len(series), 1)
            day = np.repeat(series, repeat)
            columns.append(np.asarray(np.resize(day, 35136), np.float32))
        elif year is not None:
            columns.append(np.asarray(year.factor[year.index(name)]))
    return ProfileTable(np.ascontiguousarray(np.stack(columns, axis=1)), profile_index(time_ns))


def _peaks(profiles: ProfileTable, column: IntArray) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest factor that each resource's profile takes over the run (1 where it has none)."""
    used = profiles.factor[np.unique(profiles.row)]
    low, high = np.append(used.min(axis=0), 1.0), np.append(used.max(axis=0), 1.0)
    return np.asarray(low[column], np.float64), np.asarray(high[column], np.float64)


def forecaster(scenario: Scenario, spec: FleetSpec, steps: int, step_ns: int) -> Callable[[int, Seen], Forecast]:
    """A forecast of the uncontrolled power and of prices: the profiles themselves (perfect foresight).

    What no resource stands for, losses above all, is expected to stay as the PCC's meter showed it.
    """
    market, zone = scenario.market, scenario.time.zone
    # A file of prices is read once, not once a plan.
    buys, sells = (_prices(x) for x in ((market.import_eur_per_mwh, market.export_eur_per_mwh) if market else (0.0, 0.0)))
    kind = np.array(spec.fleet.kind)
    load, pv = kind == "load", kind == "pv"

    def forecast(start_ns: int, seen: Seen) -> Forecast:
        time_ns = start_ns + step_ns * np.arange(steps)
        factor = spec.profiles.factor[profile_index(time_ns)]
        ones = np.ones((steps, 1), np.float32)
        by_resource = np.concatenate([factor, ones], axis=1)[:, spec.profile_p]
        p_mw = np.where(load, -spec.p_rated_mw * by_resource, 0.0)
        p_mw = np.where(pv, available_mw(spec.p_rated_mw, spec.s_rated_mva, by_resource), p_mw)
        buy, sell = series_at(buys, time_ns, zone), series_at(sells, time_ns, zone)
        return Forecast(start_ns, step_ns, p_mw, buy, sell, np.full(steps, _residual(seen)))

    return forecast


def _prices(values: float | tuple[float, ...] | str) -> float | tuple[float, ...] | FloatArray:
    """Prices as a scenario states them, a file's already read."""
    return read_series(values) if isinstance(values, str) else values


def _residual(seen: Seen) -> float:
    """Exchange over the PCC less the sum of all resources, as measured: losses; 0 where it is not known."""
    meter = seen.points.layout.find("p_mw", "pcc")
    if meter < 0 or not np.isfinite(seen.points.value[meter]):
        return 0.0
    total = float(seen.telemetry.p_mw.sum())
    return min(float(seen.points.value[meter]) - total, 0.0) if np.isfinite(total) else 0.0
