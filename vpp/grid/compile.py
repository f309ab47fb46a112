"""pandapower network -> :class:`vpp.grid.network.Network`, once per network.

pandapower's own conversion does the electrical part (``_pd2ppc``, then the branch admittances), so that every
element it knows is represented. Loads, static generators and storages are switched off first: they are
injections, not network. The sign of loads and storages is turned here and nowhere else.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vpp.grid import layout
from vpp.grid.metered import metered_table
from vpp.grid.network import BRANCH_KINDS, Network
from vpp.grid.source import quiet
from vpp.grid.step_tables import shunt_table, tap_table
from vpp.grid.tables import (
    BoolArray,
    FloatArray,
    Gens,
    Int32Array,
    IntArray,
    Loads,
    Sgens,
    Storages,
    Switches,
)
from vpp.kernel.errors import NetworkError

INJECTIONS = ("load", "sgen", "storage")
_UNSUPPORTED = ("svc", "tcsc", "ssc", "vsc", "vsc_stacked", "vsc_bipolar", "line_dc")


def compile_network(net: Any, source: str, digest: str, notes: tuple[str, ...] = ()) -> Network:
    """Compile a pandapower network whose taps are resolved; NetworkError where it cannot be represented."""
    for element in _UNSUPPORTED:
        if element in net and len(net[element]) and net[element].in_service.any():
            raise NetworkError(source, f"{element} elements are not supported")
    tables = _Tables(net)
    bare = bare_copy(net)
    with quiet():
        try:
            ppci = _to_ppci(bare)
        except Exception as error:
            raise NetworkError(source, f"pandapower cannot compile it: {error}") from error
    lookup = np.asarray(bare._pd2ppc_lookups["bus"])
    n_node = len(ppci["bus"])
    node = lookup[net.bus.index.to_numpy()]
    node_of_bus = np.where((node >= 0) & (node < n_node), node, -1).astype(np.int32)
    branches = _branches(bare, ppci, tables)
    switches = tables.switches(branches)
    edges = np.column_stack([branches["branch_from_bus"], branches["branch_to_bus"]])
    return Network(
        name=str(net.get("name") or source.rpartition("/")[2].partition(":")[2] or source.rpartition("/")[2]),
        source=source,
        digest=digest,
        notes=(*notes, *_notes(net)),
        sn_mva=float(ppci["baseMVA"]),
        f_hz=float(net.f_hz),
        **tables.buses(edges, switches, node_of_bus, ppci),
        node_of_bus=node_of_bus,
        **_nodes(ppci, node_of_bus),
        **branches,
        loads=tables.loads(),
        sgens=tables.sgens(),
        storages=tables.storages(),
        gens=tables.gens(),
        switches=switches,
        taps=tap_table(net, branches["branch_kind"], branches["branch_id"]),
        shunts=shunt_table(net, tables.position, float(ppci["baseMVA"])),
        metered=metered_table(net, tables.position, branches["branch_kind"], branches["branch_id"]),
    )


def bare_copy(net: Any) -> Any:
    """Copy a pandapower network with every load, static generator and storage switched off."""
    import copy

    bare = copy.copy(net)  # a shallow copy: only the tables changed here are copied themselves
    for element in INJECTIONS:
        bare[element] = net[element].copy()
        bare[element]["in_service"] = False
    bare["gen"] = net["gen"].copy()  # a dcline adds generators while it is converted
    bare["user_pf_options"] = {}
    return bare


def _to_ppci(net: Any) -> dict[str, Any]:
    """Run pandapower's conversion with the options of a plain ``runpp``."""
    from pandapower.auxiliary import _add_auxiliary_elements, _init_runpp_options
    from pandapower.pd2ppc import _pd2ppc

    _init_runpp_options(
        net,
        algorithm="nr",
        calculate_voltage_angles=True,
        init="flat",
        max_iteration="auto",
        tolerance_mva=1e-8,
        trafo_model="t",
        trafo_loading="current",
        enforce_p_lims=False,
        enforce_q_lims=False,
        check_connectivity=True,
        voltage_depend_loads=False,
        lightsim2grid=False,
        numba=True,
    )
    _add_auxiliary_elements(net)
    empty = np.array([], dtype=np.int64)
    net._pd2ppc_lookups = dict.fromkeys(("bus", "bus_dc", "ext_grid", "gen", "branch", "branch_dc"), empty)
    ppci: dict[str, Any] = _pd2ppc(net)[1]
    return ppci


def _nodes(ppci: dict[str, Any], node_of_bus: Int32Array) -> dict[str, Any]:
    """Everything by node: sources, PV generators, fixed injections, Ybus."""
    from pandapower.pypower.idx_bus import BUS_TYPE, PD, PV, QD, REF, VA
    from pandapower.pypower.idx_gen import GEN_BUS, PG, VG
    from pandapower.pypower.makeYbus import makeYbus

    bus, gen = ppci["bus"], ppci["gen"]
    n = len(bus)
    at = gen[:, GEN_BUS].real.astype(np.int64)
    vm = np.ones(n)
    vm[at] = gen[:, VG].real
    p_gen = np.bincount(at, weights=gen[:, PG].real, minlength=n)
    slack = np.flatnonzero(bus[:, BUS_TYPE] == REF).astype(np.int32)
    pv = np.flatnonzero(bus[:, BUS_TYPE] == PV).astype(np.int32)
    node_bus = np.full(n, -1, dtype=np.int32)
    on = np.flatnonzero(node_of_bus >= 0)[::-1]
    node_bus[node_of_bus[on]] = on  # the first bus of each node stays
    ybus = makeYbus(ppci["baseMVA"], bus, ppci["branch"])[0].tocsr()
    ybus.sort_indices()
    return {
        "node_bus": node_bus,
        "slack_node": slack,
        "slack_v": vm[slack] * np.exp(1j * np.deg2rad(bus[slack, VA])),
        "pv_node": pv,
        "pv_vm_pu": vm[pv],
        "pv_p_mw": p_gen[pv],
        "fixed_p_mw": -bus[:, PD].astype(float),
        "fixed_q_mvar": -bus[:, QD].astype(float),
        "y_indptr": ybus.indptr.astype(np.int32),
        "y_indices": ybus.indices.astype(np.int32),
        "y_data": ybus.data.astype(np.complex128),
    }


def _branches(net: Any, ppci: dict[str, Any], tables: _Tables) -> dict[str, Any]:
    """Every branch of the source, in pandapower's order of rows, with its admittances where it is on."""
    from pandapower.pypower.idx_brch import F_BUS, T_BUS
    from pandapower.pypower.idx_bus import BASE_KV
    from pandapower.pypower.makeYbus import branch_vectors

    rows = tables.branches(net)
    n = len(rows["branch_kind"])
    on = np.asarray(ppci["internal"]["branch_is"], dtype=bool)
    if len(on) != n:
        raise NetworkError(str(net.name), f"{len(on)} branches compiled where {n} were expected")
    branch = ppci["branch"]
    f, t = np.full(n, -1, dtype=np.int32), np.full(n, -1, dtype=np.int32)
    f[on], t[on] = branch[:, F_BUS].real.astype(np.int32), branch[:, T_BUS].real.astype(np.int32)
    out: dict[str, Any] = {**rows, "branch_from_node": f, "branch_to_node": t}
    names = ("ytt", "yff", "yft", "ytf")
    for name, values in zip(names, branch_vectors(branch, len(branch)), strict=True):
        out[name] = np.zeros(n, dtype=np.complex128)
        out[name][on] = values
    kv = ppci["bus"][:, BASE_KV].astype(float)
    for side, node in (("from", f), ("to", t)):
        base = np.zeros(n)
        base[on] = ppci["baseMVA"] / (np.sqrt(3.0) * kv[node[on]])
        out[f"branch_i_base_{side}_ka"] = base
    return out


def _notes(net: Any) -> list[str]:
    """Say what is simplified."""
    notes = []
    load = net.load[net.load.in_service.astype(bool)]
    columns = [c for c in load if str(c).startswith(("const_z", "const_i"))]
    dependent = int((load[columns].fillna(0) != 0).any(axis=1).sum()) if columns else 0
    if dependent:
        notes.append(f"{dependent} voltage-dependent loads taken as constant power")
    return notes


def _numbers(table: Any, column: str, default: float = np.nan) -> FloatArray:
    """Read a column as float64, the default where the column or a value is missing."""
    import pandas as pd

    if column not in table:
        return np.full(len(table), default)
    values: FloatArray = np.array(pd.to_numeric(table[column], errors="coerce"), dtype=np.float64)
    values[np.isnan(values)] = default
    return values


def _texts(table: Any, column: str) -> tuple[str, ...]:
    """Read a column as texts, "" where missing."""
    if column not in table:
        return ("",) * len(table)
    return tuple("" if v is None or v != v or str(v) in ("None", "<NA>") else str(v) for v in table[column].tolist())


class _Tables:
    """The element tables of one pandapower network, translated to bus positions and injections."""

    def __init__(self, net: Any) -> None:
        """Index the buses."""
        self.net = net
        ids = net.bus.index.to_numpy().astype(np.int64)
        self.position = np.full(int(ids.max()) + 2 if len(ids) else 1, -1, dtype=np.int32)
        self.position[ids] = np.arange(len(ids), dtype=np.int32)
        self.ids = ids

    def _at(self, buses: Any) -> Int32Array:
        """Translate bus ids to positions."""
        out: Int32Array = self.position[np.asarray(buses, dtype=np.int64)]
        return out

    def _active(self, element: str) -> tuple[Any, IntArray, FloatArray]:
        """Pick the elements in service: their rows, ids and scaling."""
        table = self.net[element]
        table = table[table.in_service.astype(bool)]
        return table, table.index.to_numpy().astype(np.int64), _numbers(table, "scaling", 1.0)

    def loads(self) -> Loads:
        """Turn pandapower's load sign into injections."""
        t, ids, scale = self._active("load")
        p, q = -_numbers(t, "p_mw", 0.0) * scale, -_numbers(t, "q_mvar", 0.0) * scale
        return Loads(ids, self._at(t.bus), p, q, _texts(t, "profile"), _texts(t, "name"))

    def sgens(self) -> Sgens:
        """Static generators already count injection positive."""
        t, ids, scale = self._active("sgen")
        p, q = _numbers(t, "p_mw", 0.0) * scale, _numbers(t, "q_mvar", 0.0) * scale
        rating = _numbers(t, "sn_mva")
        rating = np.where(rating > 0, rating, np.hypot(p, q))
        return Sgens(ids, self._at(t.bus), p, q, rating, _texts(t, "type"), _texts(t, "profile"), _texts(t, "name"))

    def storages(self) -> Storages:
        """Turn pandapower's storage sign (charging positive) into injections; percent into 0..1."""
        t, ids, scale = self._active("storage")
        p, q = -_numbers(t, "p_mw", 0.0) * scale, -_numbers(t, "q_mvar", 0.0) * scale
        limits = [np.abs(_numbers(t, c, 0.0)) for c in ("max_p_mw", "min_p_mw")]
        rating = np.maximum.reduce([np.abs(p), *limits])
        rating = np.where(rating > 0, rating, np.nan_to_num(_numbers(t, "sn_mva", 0.0)))
        energy = _numbers(t, "max_e_mwh", 0.0) - _numbers(t, "min_e_mwh", 0.0)
        eta = _numbers(t, "efficiency_percent")
        eta = np.where(eta > 1.0, eta / 100.0, eta)  # SimBench writes 0.95 under this name
        soc = _numbers(t, "soc_percent") / 100.0
        texts = (_texts(t, "profile"), _texts(t, "name"))
        return Storages(ids, self._at(t.bus), rating, p, q, energy, soc, eta, *texts)

    def gens(self) -> Gens:
        """Voltage-controlled generators."""
        t, ids, scale = self._active("gen")
        p = _numbers(t, "p_mw", 0.0) * scale
        vm, rating = _numbers(t, "vm_pu", 1.0), _numbers(t, "sn_mva")
        return Gens(ids, self._at(t.bus), p, vm, rating, _texts(t, "profile"), _texts(t, "name"))

    def branches(self, net: Any) -> dict[str, Any]:
        """List the branches in the order of pandapower's branch rows, with their rated currents (kA)."""
        parts = []
        for kind in BRANCH_KINDS:
            if kind not in net._pd2ppc_lookups["branch"]:
                continue
            table = net[kind]
            if kind == "switch":
                table = table[np.asarray(net._impedance_bb_switches, dtype=bool)]
            parts += self._rows(kind, table)
        columns = ("kind", "id", "name", "from_bus", "to_bus", "i_max_from_ka", "i_max_to_ka")
        out: dict[str, Any] = {}
        for k, (column, dtype) in enumerate(zip(columns, ("u1", "i8", "", "i4", "i4", "f8", "f8"), strict=True)):
            values = [part[k] for part in parts]
            if not dtype:
                out[f"branch_{column}"] = tuple(text for part in values for text in part)
            else:
                out[f"branch_{column}"] = np.concatenate([*values, np.zeros(0)]).astype(dtype)
        return out

    def _rows(self, kind: str, table: Any) -> list[tuple[Any, ...]]:
        """Rows of one kind: (kind, id, name, from bus, to bus, rated current from, to)."""
        n = len(table)
        code, ids, name = np.full(n, BRANCH_KINDS.index(kind)), table.index.to_numpy(), _texts(table, "name")
        none, inner = np.full(n, np.nan), np.full(n, -1, dtype=np.int32)
        if kind == "line":
            rate = _numbers(table, "max_i_ka") * _numbers(table, "df", 1.0) * _numbers(table, "parallel", 1.0)
            rate = np.where((rate > 0) & (rate < 1e4), rate, np.nan)  # 99999 is pandapower's "no limit"
            return [(code, ids, name, self._at(table.from_bus), self._at(table.to_bus), rate, rate)]
        if kind == "trafo":
            s = _numbers(table, "sn_mva") * _numbers(table, "parallel", 1.0) * _numbers(table, "df", 1.0)
            rates = [_rated(s, _numbers(table, f"vn_{side}_kv")) for side in ("hv", "lv")]
            return [(code, ids, name, self._at(table.hv_bus), self._at(table.lv_bus), *rates)]
        if kind == "trafo3w":
            legs = []
            for side in ("hv", "mv", "lv"):
                rate = _rated(_numbers(table, f"sn_{side}_mva"), _numbers(table, f"vn_{side}_kv"))
                bus = self._at(table[f"{side}_bus"])
                ends = (bus, inner, rate, none) if side == "hv" else (inner, bus, none, rate)
                legs.append((code, ids, tuple(f"{text} ({side})" for text in name), *ends))
            return legs
        if kind == "xward":
            return [(code, ids, name, self._at(table.bus), inner, none, none)]
        first, second = ("bus", "element") if kind == "switch" else ("from_bus", "to_bus")
        return [(code, ids, name, self._at(table[first]), self._at(table[second]), none, none)]

    def switches(self, branches: dict[str, Any]) -> Switches:
        """Every switch, open or closed."""
        t = self.net.switch
        et, element = np.array(_texts(t, "et")), _numbers(t, "element", -1.0).astype(np.int64)
        other, branch = np.full(len(t), -1, dtype=np.int32), np.full(len(t), -1, dtype=np.int32)
        other[et == "b"] = self._at(element[et == "b"])
        for code, kind in (("l", "line"), ("t", "trafo"), ("t3", "trafo3w")):
            rows = np.flatnonzero(branches["branch_kind"] == BRANCH_KINDS.index(kind))[::-1]
            ids = branches["branch_id"][rows]
            where = np.full(int(max(ids.max(initial=0), element.max(initial=0))) + 1, -1, dtype=np.int32)
            where[ids] = rows
            branch[et == code] = where[element[et == code]]
        closed: BoolArray = t.closed.to_numpy().astype(bool)
        ids = t.index.to_numpy().astype(np.int64)
        return Switches(ids, self._at(t.bus), other, branch, closed, _texts(t, "name"))

    def buses(self, edges: Int32Array, switches: Switches, node_of_bus: Int32Array, ppci: Any) -> dict[str, Any]:
        """Everything by bus, with a drawing."""
        t = self.net.bus
        ties = np.column_stack([switches.bus, switches.other_bus])[switches.closed & (switches.other_bus >= 0)]
        inner = [np.zeros((0, 2), dtype=np.int32)]
        legs = edges[(edges < 0).any(axis=1)].max(axis=1, initial=-1) if len(edges) else np.zeros(0, dtype=np.int32)
        third = len(self.net.trafo3w)
        if third and len(legs) >= 3 * third:  # the legs of a three-winding transformer meet in its hv bus
            hv = legs[:third]
            inner += [np.column_stack([hv, legs[k * third : (k + 1) * third]]) for k in (1, 2)]
        plain = edges[(edges >= 0).all(axis=1)] if len(edges) else np.zeros((0, 2), dtype=np.int32)
        links = np.concatenate([plain, ties, *inner]).astype(np.int32)
        low, high = _numbers(t, "min_vm_pu", 0.0), _numbers(t, "max_vm_pu", 2.0)
        roots = self._at(self.net.ext_grid.bus[self.net.ext_grid.in_service.astype(bool)])
        return {
            "bus_id": self.ids,
            "bus_name": _texts(t, "name"),
            "bus_vn_kv": _numbers(t, "vn_kv"),
            "bus_xy": layout.complete(_coordinates(self.net), links, roots),
            "vm_min_pu": np.where(low > 0.0, low, 0.9),  # 0 and 2 are pandapower's "no limit"
            "vm_max_pu": np.where(high < 2.0, high, 1.1),
        }


def _rated(s_mva: FloatArray, vn_kv: FloatArray) -> FloatArray:
    """Rated current in kA, NaN where nothing is stated."""
    current = s_mva / (np.sqrt(3.0) * vn_kv)
    return np.where(current > 0, current, np.nan)


def _coordinates(net: Any) -> FloatArray:
    """Coordinates (n_bus, 2) from the GeoJSON points of the source, NaN where unknown."""
    xy = np.full((len(net.bus), 2), np.nan)
    if "geo" in net.bus:
        for k, text in enumerate(net.bus.geo.tolist()):
            if isinstance(text, str) and text:
                xy[k] = json.loads(text)["coordinates"][:2]
    return xy
