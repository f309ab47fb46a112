"""From fleet entries to resources: every entry laid out over a network, as plain columns.

Deterministic: what is drawn depends on the scenario's seed and the entry's id, never on the other entries.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scenarios.schema.fleet import Group
from scenarios.weather import cell_of_bus
from twin.devices.entry import AtBuses, AtInverter, AtSample, Columns, Entry, Places
from twin.series import Source, ordered
from vpp.grid.stepping import StepTable
from vpp.kernel.fleet import CONTROL_NONE
from vpp.kernel.settings import Settings
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from vpp.grid.network import Network

LV_KV, MV_KV = 1.0, 60.0
STEPS = ("taps", "shunts")
_PV_PROFILES = tuple(f"PV{i}" for i in range(1, 9))
# Columns of every resource that are plain numbers, one array each.
_NUMBERS = (
    "p_mw", "q_mvar", "s_mva", "sign", "control", "p_min_mw", "p_max_mw", "p_safe_mw", "ramp_mw_per_s", "p_step_mw", "p_gap_mw",
    "e_mwh", "soc", "soc_min", "soc_max", "eff_charge", "eff_discharge", "capability",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The resources of a scenario as columns of length n.

    Attributes:
        id, kind: names, and the kind of device.
        entry: index of the fleet entry each comes from.
        bus: position of its bus in the network.
        p_mw … capability: as in `Columns`.
        profile_p, profile_q: index into ``sources`` of the factor of p_mw and q_mvar, -1: constant.
        sources: what the resources follow over time.
        settings: curves of the inverters.
        own: by kind, the parameters and events that only its model knows.
        by_itself: True where the device has a control of its own.
        phase: 0 for all three phases, 1…3 for one of them.
        inverter: the resource whose inverter each one shares, -1 where it has its own or none.
        group_of: innermost group of each.
        group_names, group_parent: the forest, outer groups first; index 0 is "pcc" with parent -1.
    """

    id: tuple[str, ...]
    kind: tuple[str, ...]
    entry: IntArray
    bus: IntArray
    p_mw: FloatArray
    q_mvar: FloatArray
    s_mva: FloatArray
    sign: FloatArray
    control: IntArray
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    p_safe_mw: FloatArray
    ramp_mw_per_s: FloatArray
    p_step_mw: FloatArray
    p_gap_mw: FloatArray
    e_mwh: FloatArray
    soc: FloatArray
    soc_min: FloatArray
    soc_max: FloatArray
    eff_charge: FloatArray
    eff_discharge: FloatArray
    capability: IntArray
    profile_p: IntArray
    profile_q: IntArray
    sources: tuple[Source, ...]
    settings: Settings
    own: Mapping[str, Mapping[str, npt.NDArray[Any]]]
    by_itself: BoolArray
    phase: IntArray
    inverter: IntArray
    group_of: IntArray
    group_names: tuple[str, ...]
    group_parent: IntArray

    @property
    def controllable(self) -> BoolArray:
        """Mask of the resources that controllers may act on."""
        return np.asarray(self.control != CONTROL_NONE)

    @property
    def profile_names(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(source.name for source in self.sources)

    @property
    def n(self) -> int:
        """Number of resources."""
        return len(self.id)

    def inside(self, group: str) -> BoolArray:
        """Mask of the resources in a group, nested ones included."""
        inner = np.zeros(len(self.group_names), np.bool_)
        start = self.group_names.index(group)
        inner[start] = True
        for g in range(start + 1, len(inner)):
            inner[g] |= bool(inner[self.group_parent[g]])
        return np.asarray(inner[self.group_of])

    def named(self, pattern: str, entry_ids: Sequence[str]) -> BoolArray:
        """Mask of the resources meant by a fleet entry id, a group's name, or resource names with * and ?."""
        if pattern in entry_ids:
            return np.asarray(self.entry == list(entry_ids).index(pattern))
        return self.inside(pattern) if pattern in self.group_names else matching(self.id, pattern)


def expand(scenario: Scenario, network: Network, profile_names: Sequence[str] | None = None) -> FleetPlan:
    """Lay the fleet of a scenario out over a network.

    Buses, profiles and members that do not exist are left out here; ``scenarios.check.check`` names them.
    ``profile_names`` are the profiles at hand; by default those that the network's own elements use.
    """
    known = known_profiles(network) if profile_names is None else profile_names
    pv_profiles = tuple(sorted(p for p in known if p in _PV_PROFILES)) or _PV_PROFILES
    places = _all_places(scenario, network, pv_profiles)
    parts = [entry.lay_out(at) for entry, at in zip(scenario.fleet, places)]
    ids: list[str] = []
    for entry, at in zip(scenario.fleet, places):
        width = len(str(at.m))
        ids += [f"{entry.id}-{k:0{width}d}" for k in range(1, at.m + 1)]
    count = [at.m for at in places]
    kinds = [entry.kind for entry in scenario.fleet]
    sources = ordered({source for part in parts for series in part.series.values() for source in series if source is not None})
    column: dict[Source | None, int] = {None: -1, **{source: i for i, source in enumerate(sources)}}
    bus = np.concatenate([at.bus for at in places])
    entry_of = np.repeat(np.arange(len(parts)), count)
    group_of, _ = assign_groups(scenario, network, tuple(ids), entry_of, bus)
    inverter = _inverters(scenario, entry_of)
    group_names, group_parent, group_of = _with_inverters(*_forest(scenario.groups), group_of, inverter, ids)
    return FleetPlan(
        id=tuple(ids),
        kind=tuple(np.repeat(kinds, count).tolist()),
        entry=entry_of,
        bus=bus,
        profile_p=np.concatenate([_series(part, "p", column) for part in parts]),
        profile_q=np.concatenate([_series(part, "q", column) for part in parts]),
        sources=sources,
        settings=Settings(np.concatenate([part.settings.block for part in parts], axis=1)),
        own={kind: _own([p for p, k in zip(parts, kinds) if k == kind], column) for kind in dict.fromkeys(kinds)},
        by_itself=np.repeat([entry.by_itself for entry in scenario.fleet], count),
        phase=np.concatenate([entry.phases(m) for entry, m in zip(scenario.fleet, count)]),
        inverter=inverter,
        group_of=group_of,
        group_names=group_names,
        group_parent=group_parent,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _NUMBERS},
    )


def _series(part: Columns, role: str, column: Mapping[Source | None, int]) -> IntArray:
    """Column of each resource's source in a role, -1 where it has none."""
    return np.array([column[source] for source in part.series.get(role, [None] * len(part.p_mw))], np.int64)


def _own(parts: Sequence[Columns], column: Mapping[Source | None, int]) -> dict[str, npt.NDArray[Any]]:
    """What only one kind's model knows, of all its entries: parameters, columns of its sources, events."""
    names = dict.fromkeys(name for part in parts for name in part.own)
    roles = dict.fromkeys(role for part in parts for role in part.series if role not in ("p", "q"))
    tables = dict.fromkeys(name for part in parts for name in part.events)
    first = np.cumsum([0, *(len(part.p_mw) for part in parts)])
    own = {name: np.concatenate([part.own[name] for part in parts]) for name in names}
    own |= {role: np.concatenate([_series(part, role, column) for part in parts]) for role in roles}
    for name in tables:
        shift = first if name == "device" else np.zeros_like(first)
        own[name] = np.concatenate([part.events[name] + by for part, by in zip(parts, shift.tolist())])
    return own


def known_profiles(network: Network) -> tuple[str, ...]:
    """Profile columns that the network's own elements use."""
    loads = {f"{name}_{pq}load" for name in set(network.loads.profile) if name for pq in "pq"}
    others = {name for table in (network.sgens, network.storages) for name in table.profile if name}
    return tuple(sorted(loads | others))


def matching(names: Iterable[str], pattern: str) -> BoolArray:
    """Mask of the names that a pattern with * and ? matches."""
    match = re.compile(translate(pattern)).match
    return np.array([match(name) is not None for name in names], np.bool_)


def bus_positions(network: Network, buses: Iterable[int | str]) -> tuple[IntArray, list[int | str]]:
    """Positions of buses given by name or source id, and those that are unknown."""
    wanted = list(buses)
    by_name = {name: i for i, name in reversed(list(enumerate(network.bus_name)))}
    by_id = {int(number): i for i, number in enumerate(network.bus_id)}
    found = [by_id.get(b, -1) if isinstance(b, int) else by_name.get(b, -1) for b in wanted]
    unknown = [b for b, i in zip(wanted, found) if i < 0]
    return np.array([i for i in found if i >= 0], np.int64), unknown


def _generator(seed: int, entry_id: str) -> np.random.Generator:
    """Randomness of one entry."""
    digest = hashlib.sha256(f"{seed}:{entry_id}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def _all_places(scenario: Scenario, network: Network, pv_profiles: tuple[str, ...]) -> list[Places]:
    """Where the resources of every entry stand; whoever shares inverters stands where those are."""
    cell = cell_of_bus(scenario, network)
    hosts = {e.id: _places(e, network, scenario, pv_profiles, cell) for e in scenario.fleet if not isinstance(e.at, AtInverter)}
    return [
        _places(e, network, scenario, pv_profiles, cell, hosts.get(e.at.inverter_of))
        if isinstance(e.at, AtInverter)
        else hosts[e.id]
        for e in scenario.fleet
    ]


def _places(
    entry: Entry, network: Network, scenario: Scenario, pv_profiles: tuple[str, ...], cell: IntArray, host: Places | None = None
) -> Places:
    """Where an entry's resources stand, in the network and in its tables."""
    random = _generator(scenario.seed, entry.id)
    bus, row = _rows(entry, network, random) if host is None else (host.bus, np.full(host.m, -1))
    native = bool(entry.native) and entry.place == entry.native
    factor = entry.scale * random.uniform(1.0 - entry.spread, 1.0 + entry.spread, len(bus))
    time, table = scenario.time, _table(network, entry.native) if native or entry.native in STEPS else None
    return Places(
        bus, row, table, factor, cell[bus], random, pv_profiles,
        time.step_times_ns, time.step_s, time.zone, scenario.frequency.nominal_hz,
    )  # fmt: skip


def _table(network: Network, native: str) -> Any:
    """The network's own elements that lend a kind their ratings."""
    return StepTable.of(network, native) if native in STEPS else getattr(network, native)


def _rows(entry: Entry, network: Network, random: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Bus position of each resource, and its row in the network's table of that place (-1 for a mere bus)."""
    where = entry.at.of if isinstance(entry.at, AtSample) else entry.at
    if isinstance(where, AtInverter):  # of an entry that is not there; `Scenario` says so
        bus = row = np.zeros(0, np.int64)
    elif entry.native in STEPS:
        table = StepTable.of(network, entry.native)
        row = np.arange(len(table.bus))
        if isinstance(where, AtBuses):
            row = np.flatnonzero(np.isin(table.bus, bus_positions(network, where.buses)[0]))
        bus = table.bus[row]
    elif isinstance(where, AtBuses | tuple):
        bus, _ = bus_positions(network, where.buses if isinstance(where, AtBuses) else where)
        row = np.full(len(bus), -1)
    elif where in ("loads", "sgens", "storages"):
        bus = np.asarray(getattr(network, where).bus, np.int64)
        row = np.arange(len(bus))
    else:
        low, high = {"buses": (0.0, np.inf), "lv_buses": (0.0, LV_KV), "mv_buses": (LV_KV, MV_KV)}[where]
        fits = (network.node_of_bus >= 0) & (network.bus_vn_kv > low) & (network.bus_vn_kv <= high)
        bus = np.flatnonzero(fits)
        row = np.full(len(bus), -1)
    if isinstance(entry.at, AtSample) and len(bus):
        rounds = -(-entry.at.sample // len(bus))
        drawn = np.concatenate([random.permutation(len(bus)) for _ in range(rounds)])[: entry.at.sample]
        drawn.sort()
        bus, row = bus[drawn], row[drawn]
    return bus, row


def _forest(groups: Sequence[Group]) -> tuple[tuple[str, ...], IntArray]:
    """Names and parents, outer groups first, the root "pcc" at 0."""
    names, parent, waiting = ["pcc"], [-1], list(groups)
    while waiting:
        for group in [g for g in waiting if g.parent in names]:
            names.append(group.name)
            parent.append(names.index(group.parent))
            waiting.remove(group)
    return tuple(names), np.array(parent, np.int64)


def _inverters(scenario: Scenario, entry_of: IntArray) -> IntArray:
    """(n,) resource whose inverter each one shares, -1 for none."""
    inverter = np.full(len(entry_of), -1)
    number = {entry.id: k for k, entry in enumerate(scenario.fleet)}
    for k, entry in enumerate(scenario.fleet):
        if isinstance(entry.at, AtInverter) and entry.at.inverter_of in number:
            inverter[entry_of == k] = np.flatnonzero(entry_of == number[entry.at.inverter_of])
    return inverter


def _with_inverters(
    names: tuple[str, ...], parent: IntArray, group_of: IntArray, inverter: IntArray, ids: Sequence[str]
) -> tuple[tuple[str, ...], IntArray, IntArray]:
    """The forest with an innermost group for every shared inverter, named after the resource that has it."""
    hosts = np.unique(inverter[inverter >= 0])
    group_of = group_of.copy()
    more = [f"{ids[h]}-inverter" for h in hosts]
    for k, host in enumerate(hosts.tolist()):
        parent = np.append(parent, group_of[host])
        group_of[(inverter == host) | (np.arange(len(inverter)) == host)] = len(names) + k
    return (*names, *more), parent, group_of


def assign_groups(
    scenario: Scenario, network: Network, ids: Sequence[str], entry_of: IntArray, bus: IntArray
) -> tuple[IntArray, list[tuple[str, str, str]]]:
    """Innermost group of each resource, and whom two groups side by side both claim: (group, other, resource)."""
    names, parent = _forest(scenario.groups)
    by_name = {group.name: group for group in scenario.groups}
    group_of = np.zeros(len(ids), np.int64)
    clashes = []
    for g, name in enumerate(names[1:], start=1):
        around = {g}
        while (up := int(parent[min(around)])) >= 0:
            around.add(up)
        mask = members_of(by_name[name], scenario, network, ids, entry_of, bus)
        claimed = mask & ~np.isin(group_of, list(around))
        for other in np.unique(group_of[claimed]):
            first = int(np.flatnonzero(claimed & (group_of == other))[0])
            clashes.append((name, names[other], ids[first]))
        group_of[mask & ~claimed] = g
    return group_of, clashes


def members_of(
    group: Group, scenario: Scenario, network: Network, ids: Sequence[str], entry_of: IntArray, bus: IntArray
) -> BoolArray:
    """Mask of the resources that a group claims by entry, name or bus."""
    entry_ids = [entry.id for entry in scenario.fleet]
    mask = np.isin(bus, bus_positions(network, group.buses)[0])
    for pattern in group.members:
        mask |= entry_of == entry_ids.index(pattern) if pattern in entry_ids else matching(ids, pattern)
    return np.asarray(mask)
