"""From fleet entries to resources: every entry laid out over a network, as plain columns.

Deterministic: what is drawn depends on the scenario's seed and the entry's id, never on the other entries.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING

import numpy as np

from scenarios.schema.curves import VOLT_VAR, VOLT_WATT, VoltVar, VoltWatt
from scenarios.schema.fleet import AtBuses, AtSample, BatteryEntry, Group, Inverter, LoadEntry, PvEntry
from vpp.kernel.settings import Settings
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from vpp.grid.network import Network

LV_KV, MV_KV = 1.0, 60.0
_PV_PROFILES = tuple(f"PV{i}" for i in range(1, 9))
AnyEntry = LoadEntry | PvEntry | BatteryEntry


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The resources of a scenario as columns of length n. Ratings are magnitudes, reactive power is injection.

    Attributes:
        id, kind: names, and "load", "pv" or "battery".
        entry: index of the fleet entry each comes from.
        bus: position of its bus in the network.
        p_mw: rated active power, a magnitude.
        q_mvar: reactive power at rating, injection positive; of loads only.
        s_mva: nameplate apparent power.
        e_mwh, soc, soc_min, soc_max, eff_charge, eff_discharge: storage; 0, 0, 0, 1, 1, 1 where there is none.
        ramp_mw_per_s: fastest change that may be asked for, inf where none is stated.
        controllable: whether controllers may act on it.
        profile_p, profile_q: index into ``profile_names`` of the factor of p_mw and q_mvar, -1: constant.
        profile_names: columns of a network's profiles ("H0-A_pload", "PV3"), or "file:<csv>".
        settings: curves of the inverters.
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
    e_mwh: FloatArray
    soc: FloatArray
    soc_min: FloatArray
    soc_max: FloatArray
    eff_charge: FloatArray
    eff_discharge: FloatArray
    ramp_mw_per_s: FloatArray
    controllable: BoolArray
    profile_p: IntArray
    profile_q: IntArray
    profile_names: tuple[str, ...]
    settings: Settings
    group_of: IntArray
    group_names: tuple[str, ...]
    group_parent: IntArray

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


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of one entry, each of length m; profile names are still texts."""

    bus: IntArray
    number: dict[str, FloatArray]
    profile_p: list[str]
    profile_q: list[str]
    settings: FloatArray


def expand(scenario: Scenario, network: Network, profile_names: Sequence[str] | None = None) -> FleetPlan:
    """Lay the fleet of a scenario out over a network.

    Buses, profiles and members that do not exist are left out here; ``scenarios.check.check`` names them.
    ``profile_names`` are the profiles at hand; by default those that the network's own elements use.
    """
    known = known_profiles(network) if profile_names is None else profile_names
    sources = tuple(sorted(p for p in known if p in _PV_PROFILES)) or _PV_PROFILES
    parts = [_columns(entry, network, _generator(scenario.seed, entry.id), sources) for entry in scenario.fleet]
    ids: list[str] = []
    for entry, part in zip(scenario.fleet, parts):
        width = len(str(len(part.bus)))
        ids += [f"{entry.id}-{k:0{width}d}" for k in range(1, len(part.bus) + 1)]
    count = [len(part.bus) for part in parts]
    names = [name for part in parts for name in (*part.profile_p, *part.profile_q) if name]
    profiles = tuple(sorted(set(names)))
    row = {"": -1, **{name: i for i, name in enumerate(profiles)}}
    bus = np.concatenate([part.bus for part in parts])
    entry_of = np.repeat(np.arange(len(parts)), count)
    group_names, group_parent = _forest(scenario.groups)
    group_of, _ = assign_groups(scenario, network, tuple(ids), entry_of, bus)
    number = {key: np.concatenate([part.number[key] for part in parts]) for key in parts[0].number}
    return FleetPlan(
        id=tuple(ids),
        kind=tuple(entry.kind for entry, n in zip(scenario.fleet, count) for _ in range(n)),
        entry=entry_of,
        bus=bus,
        controllable=np.repeat([entry.controllable for entry in scenario.fleet], count),
        profile_p=np.array([row[name] for part in parts for name in part.profile_p], np.int64),
        profile_q=np.array([row[name] for part in parts for name in part.profile_q], np.int64),
        profile_names=profiles,
        settings=Settings(np.concatenate([part.settings for part in parts], axis=1)),
        group_of=group_of,
        group_names=group_names,
        group_parent=group_parent,
        **number,
    )


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


def _places(entry: AnyEntry, network: Network, random: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Bus position of each resource, and its row in the network's table of that place (-1 for a mere bus)."""
    where = entry.at.of if isinstance(entry.at, AtSample) else entry.at
    if isinstance(where, AtBuses | tuple):
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


def _columns(entry: AnyEntry, network: Network, random: np.random.Generator, sources: tuple[str, ...]) -> _Columns:
    """Lay out one entry: where, then how large, then which profile."""
    bus, row = _places(entry, network, random)
    n = len(bus)
    native = entry.place == entry.native
    factor = entry.scale * random.uniform(1.0 - entry.spread, 1.0 + entry.spread, n)
    zero, one = np.zeros(n), np.ones(n)
    number = {
        "q_mvar": zero, "e_mwh": zero, "soc": zero, "soc_min": zero, "soc_max": one,
        "eff_charge": one, "eff_discharge": one, "ramp_mw_per_s": np.full(n, np.inf),
    }  # fmt: skip
    own = np.abs(getattr(network, entry.native).p_mw[row]) if native else zero
    number["p_mw"] = factor * (own if entry.p_mw is None else entry.p_mw)
    profile_p, profile_q = [""] * n, [""] * n
    settings = Settings.full(n, 0.0)
    if isinstance(entry, LoadEntry):
        number["q_mvar"] = _load_q(entry, network, row, factor, number["p_mw"])
        names = [network.loads.profile[i] for i in row] if native and entry.profile is None else [entry.profile or ""] * n
        profile_p, profile_q = ([_load_profile(name, pq) for name in names] for pq in "pq")
        number["s_mva"] = np.hypot(number["p_mw"], number["q_mvar"])
    else:
        number["s_mva"] = _nameplate(entry, network, row if native else None, factor, number["p_mw"])
        _curves(entry, settings)
        if entry.ramp_mw_per_s is not None:
            number["ramp_mw_per_s"] = np.full(n, entry.ramp_mw_per_s)
    if isinstance(entry, BatteryEntry):
        number.update(_storage(entry, network, row if native else None, factor))
    if isinstance(entry, PvEntry):
        drawn = [sources[i] for i in random.integers(len(sources), size=n)]
        names = [network.sgens.profile[i] for i in row] if entry.place == "sgens" else drawn
        profile_p = names if entry.profile is None else [entry.profile] * n
    return _Columns(bus, number, profile_p, profile_q, settings.block)


def _load_q(entry: LoadEntry, network: Network, row: IntArray, factor: FloatArray, p_mw: FloatArray) -> FloatArray:
    """Reactive power of loads at rating, injection: the network's own, or by power factor."""
    if entry.p_mw is None:
        return np.asarray(factor * network.loads.q_mvar[row])
    return np.asarray(0.0 - p_mw * math.tan(math.acos(entry.power_factor)))


def _load_profile(name: str, pq: str) -> str:
    """Column of a load profile: SimBench keeps active and reactive power apart, a file serves both."""
    return name if not name or name.startswith("file:") else f"{name}_{pq}load"


def _nameplate(entry: Inverter, network: Network, row: IntArray | None, factor: FloatArray, p_mw: FloatArray) -> FloatArray:
    """Apparent power: as stated, else the sgen's own, else a tenth above active power."""
    if entry.s_mva is not None:
        return factor * entry.s_mva
    if row is not None and entry.p_mw is None and entry.native == "sgens":
        return np.maximum(factor * network.sgens.s_mva[row], p_mw)
    return 1.1 * p_mw


def _storage(entry: BatteryEntry, network: Network, row: IntArray | None, factor: FloatArray) -> dict[str, FloatArray]:
    """Energy columns of batteries."""
    n = len(factor)
    soc = np.full(n, 0.5) if row is None else np.asarray(network.storages.soc[row], np.float64)
    soc = np.where(np.isfinite(soc), soc, 0.5) if entry.soc is None else np.full(n, entry.soc)
    energy = np.full(n, entry.e_mwh) if entry.e_mwh is not None or row is None else network.storages.e_mwh[row]
    return {
        "e_mwh": factor * energy.astype(np.float64),
        "soc": np.clip(soc, entry.soc_min, entry.soc_max),
        "soc_min": np.full(n, entry.soc_min),
        "soc_max": np.full(n, entry.soc_max),
        "eff_charge": np.full(n, entry.efficiency),
        "eff_discharge": np.full(n, entry.efficiency),
    }


def _curves(entry: Inverter, settings: Settings) -> None:
    """Fill in the inverter's curves; one that is off keeps the standard's default points."""
    var = entry.volt_var if isinstance(entry.volt_var, VoltVar) else VOLT_VAR["A" if entry.volt_var == "A" else "B"]
    watt = entry.volt_watt if isinstance(entry.volt_watt, VoltWatt) else VOLT_WATT
    settings.qv_enable, settings.pv_enable = float(entry.volt_var != "off"), float(entry.volt_watt != "off")
    settings.qv_v1_pu, settings.qv_v2_pu, settings.qv_v3_pu, settings.qv_v4_pu = var.v_pu
    settings.qv_q1_pu, settings.qv_q2_pu, settings.qv_q3_pu, settings.qv_q4_pu = var.q_pu
    settings.pv_v1_pu, settings.pv_v2_pu = watt.v_pu
    settings.pv_p1_pu, settings.pv_p2_pu = watt.p_pu
    settings.qv_olrt_s, settings.pv_olrt_s = var.response_s, watt.response_s


def _forest(groups: Sequence[Group]) -> tuple[tuple[str, ...], IntArray]:
    """Names and parents, outer groups first, the root "pcc" at 0."""
    names, parent, waiting = ["pcc"], [-1], list(groups)
    while waiting:
        for group in [g for g in waiting if g.parent in names]:
            names.append(group.name)
            parent.append(names.index(group.parent))
            waiting.remove(group)
    return tuple(names), np.array(parent, np.int64)


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
