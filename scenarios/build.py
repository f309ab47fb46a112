"""From a scenario to a running system: the only place that knows every room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from controllers.dispatch import PLANNERS
from scenarios.about import about, axes
from scenarios.chain import chain_of
from scenarios.decisions import DecisionLog, keep_all
from scenarios.desk import Desk, Planning
from scenarios.disturb import disturbances, noticed, sensors_of, tell
from scenarios.expand import FleetPlan, expand
from scenarios.fleet import fleet_spec, flexibility, forecaster, shared_inverters, without_functions
from scenarios.frequency import led, released, swing_of
from scenarios.journal import SeenJournal
from scenarios.limits import limits_told
from scenarios.metering import estimating, grid_meters, judge_of
from scenarios.schema.control import PccGuard
from scenarios.schema.series import series_at
from scenarios.schema.time import clock_times_ns
from scenarios.site import site_of
from scenarios.weather import weather_of
from twin.coupling import Coupling
from twin.fleet import FleetModel
from twin.frequency import FrequencyProfile
from twin.plant import GridModel, TwinPlant
from twin.recorder import SYSTEM, Limits, Recorder, broken, series_of
from twin.series import Surroundings
from vpp.grid import Profiles
from vpp.grid.contingency.analysis import bus_title
from vpp.grid.contingency.outages import branch_title
from vpp.grid.network import Network
from vpp.grid.powerflow import check_first_solve, choose
from vpp.grid.stepping import SteppedNetwork, step_devices
from vpp.historian.run import RunWriter
from vpp.kernel.errors import RunError, VppError
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.orders import Order
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import Chain, only_watch, tick

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario
    from twin.cosim.world import Shares

Wiring = Literal["mosaik", "direct", "far"]
Progress = Callable[[int, int], None]
PLANNED_INVERTERS = 60
Drive = Callable[["System", Recorder], "Shares"]  # runs all steps of a system


@dataclass(slots=True)
class System:
    """A scenario, built: everything that a run needs, not yet started.

    Attributes:
        scenario: what it was built from.
        network: the compiled network.
        plan: the fleet's columns as the scenario laid them out.
        plant: the twin.
        chain: the controllers.
        desk: orders and plans.
        engine: name of the power-flow engine and why it was chosen.
    """

    scenario: Scenario
    network: Network
    plan: FleetPlan
    plant: TwinPlant
    chain: Chain
    desk: Desk
    engine: tuple[str, str]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left behind.

    Attributes:
        path: the run directory.
        manifest: its manifest.
        decision_hash: SHA-256 over all setpoints.
        diverged_steps: number of steps without a network solution.
    """

    path: Path
    manifest: dict[str, Any]
    decision_hash: str
    diverged_steps: int = field(default=0)

    def open(self) -> Any:
        """Open the record as an ``xarray.DataTree``."""
        from vpp.historian.read import open_run

        return open_run(self.path)


def build(scenario: Scenario, outside: Sequence[str] = ()) -> System:
    """Build a scenario; inverters of resources ``outside``, which are not simulated, get no function of their own.

    Raises:
        ScenarioError: something is wrong with the scenario on this network.
        NetworkError: the network cannot be had.
        Diverged: the network has no solution at the first step.
    """
    site = site_of(scenario)
    network, year = site.network, site.profiles
    time_ns, dt_s = scenario.time.step_times_ns, scenario.time.step_s
    plan = released(scenario, expand(scenario, network, None if year is None else year.names))
    spec = led(scenario, plan, fleet_spec(plan, network, surroundings(scenario, year, network)))
    spec = replace(without_functions(spec, outside), disturbed=disturbances(scenario, plan, spec.fleet))
    engine, reason = choose(network, scenario.engine)
    coupling = Coupling(network, engine, spec, scenario.seed)
    points = PointLayout(("pcc_p_mw", "pcc_q_mvar"), ("p_mw", "q_mvar"), ("pcc", "pcc"))
    rating = np.maximum(spec.p_rated_mw, spec.s_rated_mva)
    sensors = sensors_of(scenario, plan, spec.fleet, rating, points, spec.disturbed)
    t_s = (time_ns - time_ns[0]) / 1e9
    frequency = FrequencyProfile(t_s, scenario.frequency.at(t_s))
    meters = grid_meters(scenario, network, spec.fleet, rating)
    held = step_devices(plan.own, plan.kind)
    stepping = SteppedNetwork(network, held) if len(held) else None
    grid = GridModel(coupling, sensors, frequency, swing_of(scenario, plan, network, spec), meters, steps=stepping)
    grid.feeds_back = scenario.limits.reverse_mw is not None or "reverse" in scenario.record
    plant = TwinPlant(FleetModel(spec), grid, time_ns, dt_s)
    dt_ns = scenario.time.step_ns
    chain = chain_of(scenario, plan, spec.fleet, network, held)
    first = FleetModel(replace(spec, disturbed=None)).step(0, dt_s, None, None)
    bus = plan.bus.astype(np.int32)
    check_first_solve(engine, network, *(network.scatter(bus, np.nan_to_num(x)) for x in (first.p_mw, first.q_mvar)))
    desk = _desk(scenario, plan, plant, dt_ns)
    desk.estimating = estimating(scenario, network, spec.fleet, grid.points, year, held)
    return System(scenario, network, plan, plant, chain, desk, (engine.name, reason))


def surroundings(scenario: Scenario, profiles: Profiles | None, network: Network) -> Surroundings:
    """What the fleet follows over time: the run's steps, and as many behind them as a plan can look ahead."""
    t, p = scenario.time, scenario.planner
    ahead_ns = 0 if p is None else round((p.horizon_h * 3600 + p.budget_s) * 1e9) + t.step_ns
    steps = t.n_steps + -(-ahead_ns // t.step_ns)
    time_ns = t.start_ns + t.step_ns * np.arange(steps, dtype=np.int64)
    weather = weather_of(scenario, network, time_ns, t.step_s)
    return Surroundings(time_ns, t.step_s, profiles, weather, scenario.profile_steps == "smooth")


def _desk(scenario: Scenario, plan: FleetPlan, plant: TwinPlant, dt_ns: int) -> Desk:
    """Scripted orders and the planner."""
    orders = []
    entries = [entry.id for entry in scenario.fleet]
    for number, o in enumerate(scenario.orders, start=1):
        resource = np.flatnonzero(plan.named(o.resources, entries))
        for from_ns, until_ns in o.windows(scenario.time):
            orders.append(Order(f"order-{number}", o.author, resource, from_ns, until_ns, o.p_mw, o.limit_mw, o.q_mvar, o.step))
    planning = None
    if scenario.planner is not None and scenario.market is not None:
        t, p = scenario.time, scenario.planner
        at = clock_times_ns(p.at, t.start_ns, t.end_ns, t.zone)
        guards = [g for g in scenario.control.guards if isinstance(g, PccGuard)]
        group, s_mva = shared_inverters(plan)
        # An inverter each of a great fleet would be a node each of the plan: there the guard alone keeps them.
        inverters = {plan.group_names[g]: s for g, s in zip(group, s_mva.tolist())} if len(group) <= PLANNED_INVERTERS else {}
        planning = Planning(
            PLANNERS[p.use](**p.model_dump(include={"wear_eur_per_mwh", "energy_value_eur_per_mwh", "builder"})),
            forecaster(scenario, plant.devices.spec, round(p.horizon_h * 3600 / p.step_s), round(p.step_s * 1e9)),
            np.unique(np.concatenate([[t.start_ns], at])),
            round(p.budget_s * 1e9),
            {**inverters, **{g.group: g.import_mw for g in guards if g.import_mw is not None}},
            {**inverters, **{g.group: g.export_mw for g in guards if g.export_mw is not None}},
            flexibility(plant.devices.spec, scenario.time.start_ns),
        )
    return Desk(plant.fleet, orders, planning, dt_ns)


def run(
    scenario: Scenario,
    *,
    out: Path = Path("runs"),
    wiring: Wiring = "mosaik",
    progress: Progress | None = None,
    replace: bool = True,
    drive: tuple[str, Drive] | None = None,
    outside: Sequence[str] = (),
) -> RunResult:
    """Build and run a scenario into a run directory ``<out>/<name>-<hash>``.

    Args:
        scenario: what to run.
        out: where run directories live.
        wiring: "mosaik" (the co-simulation), "direct" (one loop in this process) or "far" (mosaik with the fleet
            in another process). The decisions are the same, byte for byte.
        progress: called now and then with (steps done, steps in all).
        replace: remove a former run of the same scenario.
        drive: a wiring from outside: its name, which ends the run directory's, and who runs the steps; keeps a decision log.
        outside: resources that are not simulated; see `build`.

    Raises:
        NetworkError, Diverged: see `build`.
        RunError: the run directory cannot be written; what was recorded can still be read.
    """
    system = build(scenario, outside)
    name, end = (wiring, "") if drive is None else (drive[0], f"-{drive[0]}")
    path = Path(out) / f"{scenario.name}-{scenario.hash[:10]}{end}"
    recorder = new_recorder(system)
    steps = len(system.plant.time_ns)
    if progress is not None:
        recorder.progress = lambda done: progress(done, steps)
    writer = recorder.writer = open_writer(system, recorder, path, replace=replace, wiring="" if drive is None else name)
    keepers: list[SeenJournal | DecisionLog] = []
    try:
        if "seen" in scenario.record:
            keepers.append(_journal(system, path, steps))
        if drive is not None:
            keepers.append(DecisionLog(path, system.plant.fleet.n, steps))
        recorder.also = keep_all(keepers)
        shares = simulate(system, recorder, wiring) if drive is None else drive[1](system, recorder)
    except KeyboardInterrupt:
        writer.close("interrupted", **_results(system, recorder, None))
        raise
    except BaseException as error:
        try:
            writer.close("failed", reason=str(error), **_results(system, recorder, None))
        except RunError:
            if not isinstance(error, RunError):
                raise
        raise
    finally:
        system.desk.close()
        for keeper in keepers:
            keeper.close()
    disturbed = system.plant.devices.spec.disturbed
    results = {**_results(system, recorder, shares), **noticed(disturbed, system.plan.id, recorder.heard)}
    if scenario.contingencies is not None:
        results["contingencies"] = _outages(path)
    writer.close("complete", **results)
    from vpp.historian.read import read_manifest

    return RunResult(path, read_manifest(path), recorder.hash.hexdigest(), len(recorder.diverged))


def _outages(path: Path) -> dict[str, Any]:
    """What the outages would do; what stops the analysis is told, and the run is complete all the same."""
    from scenarios.outages import outages_of_run

    try:
        return outages_of_run(path)
    except VppError as error:
        return {"trouble": str(error)}


def _journal(system: System, path: Path, steps: int) -> SeenJournal:
    """A journal in the run directory, as large as what is seen."""
    net, points = system.network, len(system.plant.grid.points.id)
    size = (net.n_bus, net.n_branch) if system.desk.estimating is not None else (0, 0)
    return SeenJournal(path, system.plant.fleet.n, points, steps, *size)


def new_recorder(system: System) -> Recorder:
    """A recorder for a system, without a run directory yet."""
    scenario, time_ns = system.scenario, system.plant.time_ns
    nothing = np.full(len(time_ns), np.nan)
    market, zone = scenario.market, scenario.time.zone
    buy, sell = nothing, nothing
    if market is not None:
        buy = series_at(market.import_eur_per_mwh, time_ns, zone)
        sell = series_at(market.export_eur_per_mwh, time_ns, zone)
    x = scenario.limits
    limits = Limits(x.vm_low_pu, x.vm_high_pu, x.loading, x.reverse_mw)
    watch = limits.watch(system.network)
    series = series_of(scenario.record, system.chain.owners)
    series += broken(watch)
    judge = judge_of(system)
    if judge is not None and "estimate" in scenario.record:
        series += judge.series()
    fleet = system.plant.fleet
    recorder = Recorder(None, series, fleet.id, fleet.control, limits, system.plant.dt_s, buy, sell)
    recorder.watch, recorder.judge = watch, judge
    tell(system.plant.devices.spec.disturbed, system.plan.id, recorder)
    return recorder


def open_writer(system: System, recorder: Recorder, path: Path, *, replace: bool = False, wiring: str = "") -> RunWriter:
    """Make the run directory of a system."""
    series = [one for one, _ in recorder.series]
    return RunWriter(
        path,
        {**about(system), **({"wiring": wiring} if wiring else {})},
        axes(system),
        [*series, *SYSTEM],
        system.plant.time_ns,
        replace=replace,
    )


def simulate(system: System, recorder: Recorder, wiring: Wiring = "mosaik") -> Shares:
    """Run all steps of a system, in one of the wirings; returns who took how long."""
    from twin.cosim.world import cosimulate

    if wiring == "direct":
        return _loop(system, recorder)
    return cosimulate(system.plant, system.chain, system.desk, recorder, far_fleet=wiring == "far")


def _loop(system: System, recorder: Recorder) -> Shares:
    """The same as the co-simulation, in one plain loop."""
    from time import perf_counter

    from twin.cosim.world import Shares

    plant, chain, last = system.plant, system.chain, Asked.nothing(system.plant.fleet.n)
    grid_s = control_s = record_s = 0.0
    begin = perf_counter()
    for k in range(len(plant.time_ns)):
        t0 = perf_counter()
        truth, offer = plant.advance()
        t1 = perf_counter()
        now_ns = int(plant.time_ns[k])
        if chain.controllers:
            record = tick(now_ns, plant, system.desk, chain, last)
            last = record.decision.asked
        else:
            record = only_watch(now_ns, plant.read(now_ns), last)
        t2 = perf_counter()
        recorder(k, record, truth, offer)
        grid_s += t1 - t0
        control_s += t2 - t1
        record_s += perf_counter() - t2
    return Shares(0.0, grid_s, control_s, record_s, perf_counter() - begin)


def _results(system: System, recorder: Recorder, shares: Shares | None) -> dict[str, Any]:
    """What the manifest says at the end."""
    results: dict[str, Any] = {
        "decision_hash": recorder.hash.hexdigest(),
        "counts": {
            "steps": recorder.steps,
            "diverged_steps": len(recorder.diverged),
            "first_diverged": recorder.diverged[:10],
            "messages_not_good": recorder.not_good,
            "iterations": recorder.iterations,
        },
        "events_by_kind": dict(sorted(recorder.events.items())),
        "summary": recorder.summary(),
        **({} if recorder.judge is None else {"estimate": recorder.judge.told()}),
    }
    if recorder.watch is not None:
        net, time_ns = system.network, system.plant.time_ns
        titles = partial(bus_title, net), partial(branch_title, net)
        results["limits"] = limits_told(recorder.watch, *titles, time_ns, system.plant.dt_s)
    if shares is not None:
        parts = {"fleet": shares.fleet_s, "grid": shares.grid_s, "control": shares.control_s, "record": shares.record_s}
        total = max(shares.total_s, 1e-12)
        results["shares"] = {
            **{name: value / total for name, value in parts.items()},
            "mosaik": shares.mosaik_s / total,
            "total_s": shares.total_s,
        }
    return results
