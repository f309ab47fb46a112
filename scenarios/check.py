"""What can be known to be wrong with a scenario before it runs: names, places, profiles, limits that cannot be held.

``load`` has already checked the words; here the scenario meets its network. Errors stop a run, warnings do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from scenarios import frequency
from scenarios.check_disturb import disturbed
from scenarios.check_meters import metered
from scenarios.expand import LV_KV, FleetPlan, assign_groups, bus_positions, expand, known_profiles, members_of
from scenarios.near import did_you_mean
from scenarios.schema.control import OverVoltage, PccGuard
from scenarios.weather import place_problems
from twin.devices import DEVICES
from twin.devices.entry import AtBuses, AtInverter, AtSample, InverterEntry
from twin.series import FileProfile, NetworkProfile, Surroundings
from vpp.fields import Where
from vpp.grid.profiles import profile_index
from vpp.kernel.errors import Finding
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.kernel.time import to_datetime

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from vpp.grid.network import Network

C_RATE = 2.0  # MW per MWh beyond which a battery is probably mistyped
LV_MVA = 0.2  # nameplate beyond which nothing stands at a low-voltage bus
_TOLERANCE_MW = 1e-9
_TOLERANCE = 1e-9


class ProfileSet(Protocol):
    """Factors by profile and quarter-hour of SimBench's year; ``vpp.grid.Profiles`` is one."""

    @property
    def names(self) -> tuple[str, ...]:
        """Columns: "H0-A_pload", "PV3" …."""
        ...

    @property
    def factor(self) -> npt.NDArray[Any]:
        """Factors, (profiles, 35136)."""
        ...


@dataclass(frozen=True, slots=True)
class _Subject:
    """A scenario in its network."""

    scenario: Scenario
    network: Network
    plan: FleetPlan
    known: Sequence[str]
    profiles: ProfileSet | None


def check(scenario: Scenario, network: Network, profiles: ProfileSet | None = None) -> list[Finding]:
    """Find what is wrong with a scenario in its network; ``severity`` tells errors from warnings.

    With ``profiles`` the limits of groups are tried over every step; without, only by ratings.
    """
    known = known_profiles(network) if profiles is None else profiles.names
    subject = _Subject(scenario, network, expand(scenario, network, known), known, profiles)
    found = [*_fleet(subject), *_groups(subject), *_orders(subject), *_thresholds(subject), *_limits(subject)]
    found += [
        *place_problems(scenario, network),
        *disturbed(scenario, subject.plan),
        *metered(scenario, network),
        *_steps(subject),
    ]
    found += frequency.findings(scenario, network, subject.plan)
    return sorted(found, key=lambda f: (f.file, f.line))


def _fleet(s: _Subject) -> Iterator[Finding]:
    """Places, profiles and sizes of the fleet's entries."""
    for i, entry in enumerate(s.scenario.fleet):
        place: Where = ("fleet", i, "at")
        where = entry.at.of if isinstance(entry.at, AtSample) else entry.at
        if isinstance(where, AtBuses | tuple):
            at = (*place, "buses" if isinstance(where, AtBuses) else "of")
            yield from _buses(s, where.buses if isinstance(where, AtBuses) else where, at)
        elif not isinstance(where, AtInverter) and not np.any(s.plan.entry == i):
            yield s.scenario.finding(f"the network has no {where}", *place, value=where)
        yield from _profile(s, i, getattr(entry, "profile", None))
        yield from _sizes(s, i)
        if isinstance(entry, InverterEntry):
            yield from _grid_code(s, i, entry)
        yield from _connection(s, i)
        for where, message in entry.objections(int(np.sum(s.plan.entry == i)), s.scenario.time.step_s, s.known):
            yield s.scenario.finding(message, "fleet", i, *where)
    for table in ("loads", "sgens", "storages"):
        size = len(getattr(s.network, table).bus)
        kinds = [kind for kind, model in DEVICES.items() if model.entry.native == table]
        if size and not any(e.kind in kinds and e.p_mw is None and e.place == table for e in s.scenario.fleet):
            message = f"the network's {size} {table} take no part: no entry of kind {' or '.join(kinds)} is at {table}"
            yield s.scenario.finding(message, "fleet", severity="warning")
    if size := len(s.network.gens.bus):
        message = f"the network's {size} voltage-controlled generators run by themselves: no resources, in no energy sum"
        yield s.scenario.finding(message, "network", severity="warning")


def _buses(s: _Subject, buses: Iterable[int | str], at: Where) -> Iterator[Finding]:
    """Buses that the network does not have, or does not energise."""
    names = [str(name) for name in (*s.network.bus_name, *s.network.bus_id.tolist())]
    for j, bus in enumerate(buses):
        position, unknown = bus_positions(s.network, [bus])
        if unknown:
            yield s.scenario.finding(f"no bus {bus!r}{did_you_mean(str(bus), names)}", *at, j, value=str(bus))
        elif s.network.node_of_bus[position[0]] < 0:
            yield s.scenario.finding(f"bus {bus!r} is not energised", *at, j, value=str(bus), severity="warning")


def _steps(s: _Subject) -> Iterator[Finding]:
    """Devices that two entries hold, and controls that would hunt: a step moves the voltage through the whole band."""
    holder: dict[int, int] = {}
    for kind, own in s.plan.own.items():
        if "step_device" not in own:
            continue
        mine = np.flatnonzero(np.array(s.plan.kind) == kind)
        for k, i in enumerate(mine.tolist()):
            entry, first = int(s.plan.entry[i]), holder.setdefault(int(own["step_device"][k]), i)
            if first != i:
                yield s.scenario.finding(f"{s.plan.id[i]} is the same device as {s.plan.id[first]}", "fleet", entry, "at")
            width, effect = own["high_pu"][k] - own["low_pu"][k], own["effect_pu"][k]
            if own["local"][k] and effect >= width:
                message = f"a step of {s.plan.id[i]} is {effect:.4g} pu, its band only {width:.4g} pu wide: it would hunt"
                yield s.scenario.finding(message, "fleet", entry, "deadband_pu")


def _profile(s: _Subject, i: int, stated: str | None) -> Iterator[Finding]:
    """A profile that is not at hand."""
    used = np.concatenate([s.plan.profile_p[s.plan.entry == i], s.plan.profile_q[s.plan.entry == i]])
    sources = [s.plan.sources[k] for k in np.unique(used[used >= 0])]
    missing = [source.name for source in sources if isinstance(source, NetworkProfile) and source.name not in s.known]
    if not missing:
        return
    load = missing[0].endswith(("_pload", "_qload"))
    bare = sorted({k.removesuffix("_pload") for k in s.known if k.endswith("_pload") == load and not k.endswith("_qload")})
    name = stated or missing[0].removesuffix("_pload").removesuffix("_qload")
    hint = did_you_mean(name, bare) or "; name one, a file:<csv>, or a SimBench network under profiles"
    yield s.scenario.finding(f"no profile {name!r} is at hand{hint}", "fleet", i, "profile", value=name)


def _grid_code(s: _Subject, i: int, entry: InverterEntry) -> Iterator[Finding]:
    """Values of a grid code that nobody has checked against the standard."""
    code = entry.code()
    if code is not None and code.unverified:
        some = ", ".join(code.unverified[:3])
        message = f"{len(code.unverified)} values of {code.edition} are unverified ({some} …): check them before relying on them"
        yield s.scenario.finding(message, "fleet", i, "grid_code", value=code.name, severity="warning")


def _sizes(s: _Subject, i: int) -> Iterator[Finding]:
    """Ratings that are probably mistyped."""
    mine = np.flatnonzero(s.plan.entry == i)
    energy = s.plan.e_mwh[mine]
    both_ways = (s.plan.p_min_mw[mine] < 0) & (s.plan.p_max_mw[mine] > 0)
    fast = mine[both_ways & (energy > 0) & (s.plan.p_mw[mine] > C_RATE * energy)]
    if len(fast):
        rate = s.plan.p_mw[fast[0]] / s.plan.e_mwh[fast[0]]
        message = f"{s.plan.id[fast[0]]} would be empty in {60 / rate:.0f} minutes ({rate:.3g} C): are p_mw and e_mwh meant so?"
        yield s.scenario.finding(message, "fleet", i, "p_mw", severity="warning")
    lv = s.network.bus_vn_kv[s.plan.bus[mine]] <= LV_KV
    stated = s.scenario.fleet[i].p_mw is not None
    large = mine[lv & (s.plan.s_mva[mine] >= LV_MVA)]
    if len(large) and stated:
        kva = 1000 * s.plan.s_mva[large[0]]
        message = f"{s.plan.id[large[0]]} has {kva:.0f} kVA at a low-voltage bus: is it meant in MW?"
        yield s.scenario.finding(message, "fleet", i, "p_mw", severity="warning")


def _connection(s: _Subject, i: int) -> Iterator[Finding]:
    """Devices that are larger than their connection, or than all that carries current at their bus."""
    entry, mine = s.scenario.fleet[i], np.flatnonzero(s.plan.entry == i)
    size = np.maximum(s.plan.s_mva[mine], np.maximum(s.plan.p_max_mw[mine], -s.plan.p_min_mw[mine]))
    key = next((name for name in ("s_mva", "p_mw") if getattr(entry, name, None) is not None), "id")
    if entry.connection_mva is not None and np.any(over := size > entry.connection_mva * (1 + _TOLERANCE)):
        first = mine[over][0]
        message = f"{s.plan.id[first]} has {_kva(size[over][0])} on a connection of {_kva(entry.connection_mva)}"
        yield s.scenario.finding(message, "fleet", i, key)
    room = _bus_mva(s.network)[s.plan.bus[mine]]
    if key != "id" and np.any(over := size > room * (1 + _TOLERANCE)):
        first = mine[over][0]
        message = (
            f"{s.plan.id[first]} has {_kva(size[over][0])} at a bus whose lines and transformers carry {_kva(room[over][0])}"
        )
        yield s.scenario.finding(message, "fleet", i, key, severity="warning")


def _kva(mva: float) -> str:
    return f"{1000 * mva:.4g} kVA"


def _bus_mva(network: Network) -> FloatArray:
    """(buses,) rated apparent power of all closed branches at each bus; inf where one of them is unrated, or there is none."""
    node, kv = network.node_of_bus, network.bus_vn_kv
    carries = np.zeros(int(node.max(initial=-1)) + 2)  # the last is for buses that are not energised
    from_bus, to_bus = network.branch_from_bus, network.branch_to_bus
    from_ka, to_ka = network.branch_i_max_from_ka, network.branch_i_max_to_ka
    for bus, ka, other, other_ka in ((from_bus, from_ka, to_bus, to_ka), (to_bus, to_ka, from_bus, from_ka)):
        at = np.flatnonzero((bus >= 0) & network.branch_on)
        here, there = ka[at] * kv[bus[at]], np.where(other[at] >= 0, other_ka[at] * kv[other[at]], np.nan)
        rated = math.sqrt(3) * np.where(np.isfinite(here), here, there)
        np.add.at(carries, node[bus[at]], np.where(np.isfinite(rated), rated, np.inf))
    return np.where(carries[node] > 0, carries[node], np.inf)


def _groups(s: _Subject) -> Iterator[Finding]:
    """Members that match nothing, and resources that two groups side by side claim."""
    plan = s.plan
    entry_ids = [e.id for e in s.scenario.fleet]
    index = {group.name: i for i, group in enumerate(s.scenario.groups)}
    for i, group in enumerate(s.scenario.groups):
        yield from _buses(s, group.buses, ("groups", i, "buses"))
        for j, pattern in enumerate(group.members):
            only = group.model_copy(update={"members": (pattern,), "buses": ()})
            if not members_of(only, s.scenario, s.network, plan.id, plan.entry, plan.bus).any():
                hint = did_you_mean(pattern, [*entry_ids, *plan.id[:1000]])
                yield s.scenario.finding(f"{pattern!r} matches no resource{hint}", "groups", i, "members", j)
    for name, other, resource in assign_groups(s.scenario, s.network, plan.id, plan.entry, plan.bus)[1]:
        message = f"{resource} is in {other} already, which does not enclose {name}"
        yield s.scenario.finding(message, "groups", index[name], severity="error")
    group_of, _ = assign_groups(s.scenario, s.network, plan.id, plan.entry, plan.bus)
    apart = np.flatnonzero((plan.inverter >= 0) & (group_of != group_of[plan.inverter]))
    for i in np.unique(plan.entry[apart]).tolist():
        guest = int(apart[plan.entry[apart] == i][0])
        host, names = int(plan.inverter[guest]), plan.group_names
        message = (
            f"{plan.id[guest]} is in group {names[group_of[guest]]}, its inverter {plan.id[host]} in {names[group_of[host]]}"
        )
        yield s.scenario.finding(message, "fleet", i, "at", severity="error")


def _orders(s: _Subject) -> Iterator[Finding]:
    """Orders for nobody, for those who cannot follow, or at no time of the scenario."""
    entry_ids = [e.id for e in s.scenario.fleet]
    for i, order in enumerate(s.scenario.orders):
        mask = s.plan.named(order.resources, entry_ids)
        if not mask.any():
            hint = did_you_mean(order.resources, [*entry_ids, *s.plan.group_names, *s.plan.id[:1000]])
            yield s.scenario.finding(f"{order.resources!r} matches no resource{hint}", "orders", i, "resources")
        elif not s.plan.controllable[mask].any():
            yield s.scenario.finding("none of these resources is controllable", "orders", i, "resources")
        if not order.windows(s.scenario.time):
            yield s.scenario.finding("the order never holds while the scenario runs", "orders", i, "at", severity="warning")


def _thresholds(s: _Subject) -> Iterator[Finding]:
    """Guards that begin only where the limit is already broken."""
    for i, guard in enumerate(s.scenario.control.guards):
        if isinstance(guard, OverVoltage) and guard.vm_high_pu >= s.scenario.limits.vm_high_pu:
            message = f"begins above the limit of {s.scenario.limits.vm_high_pu:g} pu that it should keep"
            yield s.scenario.finding(message, "control", "guards", i, "vm_high_pu", severity="warning")


def _limits(s: _Subject) -> Iterator[Finding]:
    """Limits of groups that cannot be held whatever the controllers do."""
    for i, guard in enumerate(s.scenario.control.guards):
        if not isinstance(guard, PccGuard):
            continue
        inside = s.plan.inside(guard.group)
        if not (inside & s.plan.controllable).any():
            message = f"nothing in {guard.group} is controllable: this limit can never act"
            yield s.scenario.finding(message, "control", "guards", i, "group", severity="warning")
            continue
        low, high = _reach(s, inside)
        for key, limit, floor in (("import_mw", guard.import_mw, -high), ("export_mw", guard.export_mw, low)):
            worst = int(np.argmax(floor))
            if limit is None or floor[worst] <= limit + _TOLERANCE_MW:
                continue
            times = int(np.sum(floor > limit + _TOLERANCE_MW))
            sure = s.profiles is not None
            what = f"in {times} of {len(floor)} steps, first {_moment(s, floor, limit)}" if sure else "by the ratings"
            message = f"infeasible {what}: {key[:6]} of {guard.group} cannot be brought below {floor[worst]:.4g} MW"
            # A limit that is out of reach now and then is reported as a shortfall by the run; one that always is, is a mistake.
            severity = "error" if sure and times == len(floor) else "warning"
            yield s.scenario.finding(message, "control", "guards", i, key, severity=severity)


def _moment(s: _Subject, floor: FloatArray, limit: float) -> str:
    """When a limit is first out of reach, local time."""
    step = int(np.argmax(floor > limit + _TOLERANCE_MW))
    utc = to_datetime(int(s.scenario.time.step_times_ns[step]))
    return f"{utc.astimezone(ZoneInfo(s.scenario.time.zone)):%Y-%m-%d %H:%M}"


def _reach(s: _Subject, inside: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest injection that a group can be brought to in each step, (T,); by ratings the worst, (1,)."""
    plan = s.plan
    inside = inside & np.array([DEVICES[kind].entry.foreseen for kind in plan.kind])
    led = inside & (plan.control == CONTROL_FOLLOW)
    low, high = float(plan.p_min_mw[led].sum()), float(plan.p_max_mw[led].sum())
    # What runs by its own control may take or give nothing at any time.
    fixed, free = (
        inside & (plan.control == CONTROL_NONE) & ~(plan.by_itself & (plan.profile_p < 0)),
        inside & (plan.control == CONTROL_LIMIT),
    )
    if s.profiles is None:
        gives, takes = fixed & (plan.sign > 0), fixed & (plan.sign < 0)
        return np.array([low + np.sum(plan.p_mw[gives])]), np.array([high - np.sum(plan.p_mw[takes])])
    times = s.scenario.time.step_times_ns
    must, may = _sum(s, fixed, times), _sum(s, free, times)
    return must + low + np.minimum(may, 0.0), must + high + np.maximum(may, 0.0)


def _sum(s: _Subject, mask: BoolArray, times_ns: IntArray) -> FloatArray:
    """Injection of some resources by their profiles, (T,); what follows the weather counts as nothing."""
    assert s.profiles is not None
    plan = s.plan
    rating = plan.sign[mask] * plan.p_mw[mask]
    weight = np.bincount(plan.profile_p[mask] + 1, weights=rating, minlength=len(plan.sources) + 1)
    total = np.full(len(times_ns), weight[0])
    column = profile_index(times_ns)
    row = {name: k for k, name in enumerate(s.profiles.names)}
    for k in np.flatnonzero(weight[1:]):
        source = plan.sources[k]
        if isinstance(source, FileProfile):
            total += weight[k + 1] * source.values(Surroundings(times_ns, s.scenario.time.step_s))[column]
        elif source.name in row:
            total += weight[k + 1] * s.profiles.factor[row[source.name]][column]
    return total
