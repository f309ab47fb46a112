"""From a scenario's fleet plan to what the controllers know of it and what the twin simulates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scenarios.expand import FleetPlan
from scenarios.schema.series import read_series, series_at
from twin.devices.model import Ahead
from twin.fleet import FleetModel
from twin.series import ProfileTable, Surroundings, tabulate
from twin.spec import FleetSpec
from vpp.grid.network import Network
from vpp.kernel.fleet import CONTROL_NONE, Capability, Fleet, Terminals
from vpp.kernel.flex import Flex
from vpp.kernel.groups import Groups
from vpp.kernel.schedule import Forecast
from vpp.kernel.seen import Seen
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray, IntArray

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario

# Reactive capability of IEEE 1547-2018, 5.2, category B: 44 % of nameplate; a PV inverter gives none below 5 % of
# its rated power and less below 20 %, a storage inverter all of it at any power. |P| is of nameplate here. A row for
# each of `twin.devices.entry`'s tables.
_P_PU = np.array([[0.0, 0.04999, 0.05, 0.2, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0]])
_Q_PU = np.array([[0.0, 0.0, 0.11, 0.44, 0.44], [0.44, 0.44, 0.44, 0.44, 0.44]])


def without_functions(spec: FleetSpec, resources: Sequence[str]) -> FleetSpec:
    """The fleet in which some resources have no inverter of ours: the devices outside have their own.

    What they measure enters the network as it is, beyond a nameplate, too.
    """
    if not resources:
        return spec
    at = [spec.fleet.id.index(name) for name in resources]
    settings, s_rated_mva = Settings(spec.settings.block.copy()), spec.s_rated_mva.copy()
    settings.block[:, at], s_rated_mva[at] = 0.0, 0.0
    return replace(spec, settings=settings, s_rated_mva=s_rated_mva)


def fleet_spec(plan: FleetPlan, network: Network, around: Surroundings) -> FleetSpec:
    """Build the fleet: capability, terminals, what it follows over time; ``around`` covers the run and its horizon."""
    profiles = tabulate(plan.sources, around)
    low, high = _peaks(profiles, plan.profile_p)
    # What only follows its profile has the band that the profile has: a load may inject for a while.
    free = (plan.control == CONTROL_NONE) & (plan.sign < 0)
    p_max = np.where(free, np.maximum(-plan.p_mw * low, 0.0), plan.p_max_mw)
    p_min = np.where(free, np.minimum(-plan.p_mw * high, 0.0), plan.p_min_mw)
    n = plan.n
    capability = Capability(
        plan.s_mva,
        np.full(n, np.inf),
        plan.capability.astype(np.int32),
        _P_PU,
        -_Q_PU,
        _Q_PU,
        plan.settings.np_prio_active == 0.0,
    )
    fleet = Fleet(
        id=plan.id,
        kind=plan.kind,
        control=plan.control.astype(np.int64),
        terminal=terminals(plan, network),
        p_min_mw=p_min,
        p_max_mw=p_max,
        p_safe_mw=np.clip(plan.p_safe_mw, p_min, p_max),
        ramp_mw_per_s=plan.ramp_mw_per_s,
        p_step_mw=plan.p_step_mw,
        p_gap_mw=plan.p_gap_mw,
        e_mwh=plan.e_mwh,
        soc_min=plan.soc_min,
        soc_max=plan.soc_max,
        eff_charge=plan.eff_charge,
        eff_discharge=plan.eff_discharge,
        capability=capability,
        groups=Groups(plan.group_names, plan.group_parent.astype(np.int32), plan.group_of.astype(np.int32)),
        by_itself=plan.by_itself,
        step_min=_steps(plan, "step_min"),
        step_max=_steps(plan, "step_max"),
    )
    return FleetSpec(
        fleet, plan.p_mw, plan.q_mvar, plan.s_mva, plan.soc, plan.profile_p.astype(np.int32), plan.profile_q.astype(np.int32),
        plan.settings, profiles, plan.sign, plan.own, inverter=plan.inverter,
    )  # fmt: skip


def _steps(plan: FleetPlan, end: str) -> FloatArray:
    """(n,) an end of the steps of what switches, 0 for everything else."""
    out, kinds = np.zeros(plan.n), np.array(plan.kind)
    for kind, own in plan.own.items():
        if "step_device" in own:
            out[kinds == kind] = own[end]
    return out


def terminals(plan: FleetPlan, network: Network) -> Terminals:
    """Where the resources stand. A balanced network has one node a bus: a single-phase resource is there with all its power.

    ``plan.phase`` says on which phase it is, for a network whose buses have a node a phase.
    """
    return Terminals.single(network.node_of_bus[plan.bus])


def shared_inverters(plan: FleetPlan) -> tuple[IntArray, FloatArray]:
    """The groups that stand for a shared inverter each, and those inverters' nameplates [MVA]."""
    hosts = np.unique(plan.inverter[plan.inverter >= 0])
    return plan.group_of[hosts], plan.s_mva[hosts]


def _peaks(profiles: ProfileTable, column: IntArray) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest factor that each resource's profile takes over the run (1 where it has none)."""
    used = [profiles.factor[np.unique(profiles.row)], *([] if profiles.fine is None else [profiles.fine])]
    low = np.concatenate([*(part.min(axis=0) for part in used), [1.0]])
    high = np.concatenate([*(part.max(axis=0) for part in used), [1.0]])
    return np.asarray(low[column], np.float64), np.asarray(high[column], np.float64)


def forecaster(scenario: Scenario, spec: FleetSpec, steps: int, step_ns: int) -> Callable[[int, Seen], Forecast]:
    """A forecast of the uncontrolled power and of prices: the profiles themselves (perfect foresight).

    What no resource stands for, losses above all, is expected to stay as the PCC's meter showed it.
    """
    market, zone = scenario.market, scenario.time.zone
    # A file of prices is read once, not once a plan.
    buys, sells = (_prices(x) for x in ((market.import_eur_per_mwh, market.export_eur_per_mwh) if market else (0.0, 0.0)))
    devices = FleetModel(spec)

    def forecast(start_ns: int, seen: Seen) -> Forecast:
        time_ns = start_ns + step_ns * np.arange(steps)
        p_mw = devices.expect(spec.profiles.window(start_ns, step_ns, steps))
        buy, sell = series_at(buys, time_ns, zone), series_at(sells, time_ns, zone)
        return Forecast(start_ns, step_ns, p_mw, buy, sell, np.full(steps, _residual(seen)))

    return forecast


def flexibility(spec: FleetSpec, start_ns: int) -> Callable[[Forecast, Seen], Flex]:
    """What the devices say they could do over a forecast's horizon; ``start_ns`` is the start of the run."""
    devices = FleetModel(spec)

    def flex(forecast: Forecast, seen: Seen) -> Flex:
        profile = spec.profiles.window(forecast.start_ns, forecast.step_ns, forecast.steps)
        ahead = Ahead((forecast.start_ns - start_ns) / 1e9, forecast.step_ns / 1e9, profile, seen.telemetry.soc)
        return devices.flex(ahead, forecast.p_mw, forecast.start_ns)

    return flex


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
