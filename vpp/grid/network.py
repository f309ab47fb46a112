"""A compiled network: numpy arrays only, with every element of the source already in the admittances.

Words: a *bus* is a busbar of the source; a *node* is what is left after closed bus-bus switches are fused, with
the inner nodes of three-winding transformers and open line ends added. ``node_of_bus`` is -1 for a bus that is
out of service or not connected to a source. Injections are positive for generation everywhere.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vpp.grid.flows import FlowArrays, branch_flows_into
from vpp.grid.tables import (
    ByteArray,
    ComplexArray,
    FloatArray,
    Gens,
    Int32Array,
    IntArray,
    Loads,
    Metered,
    Sgens,
    Shunts,
    Storages,
    Switches,
    Taps,
)

BRANCH_KINDS: tuple[str, ...] = ("line", "trafo", "trafo3w", "impedance", "xward", "switch")
_TABLES: dict[str, Any] = {
    "loads": Loads,
    "sgens": Sgens,
    "storages": Storages,
    "gens": Gens,
    "switches": Switches,
    "taps": Taps,
    "shunts": Shunts,
    "metered": Metered,
}


class BranchFlows(NamedTuple):
    """Results of one solve, arrays of shape (n_branch,)."""

    i_from_ka: FloatArray
    i_to_ka: FloatArray
    loading: FloatArray  # 1.0 = rated current; NaN where unrated
    p_loss_mw: FloatArray
    p_loss_total_mw: float


@dataclass(frozen=True, slots=True)
class Network:
    """A network compiled to admittances and index arrays; make one with :func:`vpp.grid.load_network`."""

    name: str
    source: str  # the specification it came from, file paths made absolute
    digest: str  # of source, its content, compiler and loader versions; the name of its cache file
    notes: tuple[str, ...]  # what the import decided (taps resolved, elements simplified)
    sn_mva: float
    f_hz: float

    bus_id: IntArray
    bus_name: tuple[str, ...]
    bus_vn_kv: FloatArray
    bus_xy: FloatArray  # (n_bus, 2), source coordinates, or our own drawing where the source has none
    vm_min_pu: FloatArray
    vm_max_pu: FloatArray
    node_of_bus: Int32Array  # (n_bus,)

    node_bus: Int32Array  # (n_node,) a bus of each node, -1 for inner nodes
    slack_node: Int32Array
    slack_v: ComplexArray  # pu
    pv_node: Int32Array
    pv_vm_pu: FloatArray
    pv_p_mw: FloatArray  # injection
    fixed_p_mw: FloatArray  # (n_node,) injection of constant-power elements without a table (wards, motors ...)
    fixed_q_mvar: FloatArray
    y_indptr: Int32Array  # Ybus, CSR, pu on sn_mva, shunts included
    y_indices: Int32Array
    y_data: ComplexArray

    branch_kind: ByteArray  # index into BRANCH_KINDS
    branch_id: IntArray
    branch_name: tuple[str, ...]
    branch_from_bus: Int32Array  # -1: an inner node
    branch_to_bus: Int32Array
    branch_from_node: Int32Array  # -1: the branch is off
    branch_to_node: Int32Array
    yff: ComplexArray
    yft: ComplexArray
    ytf: ComplexArray
    ytt: ComplexArray
    branch_i_base_from_ka: FloatArray
    branch_i_base_to_ka: FloatArray
    branch_i_max_from_ka: FloatArray  # NaN = unrated
    branch_i_max_to_ka: FloatArray

    loads: Loads
    sgens: Sgens
    storages: Storages
    gens: Gens
    switches: Switches
    taps: Taps
    shunts: Shunts
    metered: Metered

    @property
    def n_bus(self) -> int:
        """Number of buses of the source, energised or not."""
        return len(self.bus_id)

    @property
    def n_node(self) -> int:
        """Number of energised electrical nodes, the length of every vector of a power flow."""
        return len(self.node_bus)

    @property
    def n_branch(self) -> int:
        """Number of branches; a three-winding transformer counts as three."""
        return len(self.branch_kind)

    @property
    def branch_on(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Mask (n_branch,) of the branches that are energised."""
        return (self.branch_from_node >= 0) & (self.branch_to_node >= 0)

    @property
    def branch_closed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Mask (n_branch,) of the branches that connect their two buses: energised, and open at neither end."""
        closed = self.branch_on.copy()
        for bus, node in ((self.branch_from_bus, self.branch_from_node), (self.branch_to_bus, self.branch_to_node)):
            closed &= (bus < 0) | (self.node_of_bus[bus] == node)  # an open end has an inner node of its own
        return closed

    def bus_position(self, bus_id: int) -> int:
        """Find the position of a bus by the id it has in its source; KeyError where there is none."""
        found = np.flatnonzero(self.bus_id == bus_id)
        if len(found) == 0:
            raise KeyError(bus_id)
        return int(found[0])

    def scatter(self, bus: Int32Array, values: FloatArray) -> FloatArray:
        """Sum injections given by bus position into nodes: (n,) -> (n_node,). De-energised ones are dropped."""
        node = self.node_of_bus[bus]
        on = node >= 0
        out: FloatArray = np.bincount(node[on], weights=values[on], minlength=self.n_node).astype(np.float64, copy=False)
        return out

    def rated_injections(self) -> tuple[FloatArray, FloatArray]:
        """Injections (n_node,) in MW and Mvar with every load, sgen and storage as its source states it."""
        p, q = np.zeros(self.n_node), np.zeros(self.n_node)
        for bus, p_mw, q_mvar in (
            (self.loads.bus, self.loads.p_mw, self.loads.q_mvar),
            (self.sgens.bus, self.sgens.p_mw, self.sgens.q_mvar),
            (self.storages.bus, self.storages.p_set_mw, self.storages.q_set_mvar),
        ):
            p += self.scatter(bus, p_mw)
            q += self.scatter(bus, q_mvar)
        return p, q

    def bus_values(self, node_values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Spread values over nodes (..., n_node) to buses (..., n_bus), NaN where a bus is not energised."""
        out = node_values[..., np.maximum(self.node_of_bus, 0)]
        out[..., self.node_of_bus < 0] = np.nan
        return out

    def flow_arrays(self, position: Int32Array | None = None) -> FlowArrays:
        """Gather what :func:`vpp.grid.flows.branch_flows_into` needs.

        ``position`` (n_node,) renumbers the nodes, e.g. ``TreeArrays.position`` for voltages in tree order.
        """
        f, t = self.branch_from_node, self.branch_to_node
        if position is not None:
            f = np.where(f >= 0, position[f], -1).astype(np.int32)
            t = np.where(t >= 0, position[t], -1).astype(np.int32)
        return FlowArrays(
            f,
            t,
            self.yff,
            self.yft,
            self.ytf,
            self.ytt,
            self.branch_i_base_from_ka,
            self.branch_i_base_to_ka,
            1.0 / self.branch_i_max_from_ka,
            1.0 / self.branch_i_max_to_ka,
            self.sn_mva,
        )

    def branch_flows(self, v_node: ComplexArray) -> BranchFlows:
        """Compute currents (kA), loading (1.0 = rated) and losses (MW) of every branch from voltages in pu."""
        out = np.empty((4, self.n_branch))
        v_re, v_im = np.ascontiguousarray(v_node.real), np.ascontiguousarray(v_node.imag)
        total = branch_flows_into(self.flow_arrays(), v_re, v_im, out[0], out[1], out[2], out[3])
        return BranchFlows(out[0], out[1], out[2], out[3], float(total))

    def to_bytes(self) -> bytes:
        """Serialise to one ``.npz`` (arrays uncompressed, texts as JSON inside), without pickle."""
        meta: dict[str, Any] = {}
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        for key, value in _flatten(self):
            if isinstance(value, np.ndarray):
                arrays[key] = value
            else:
                meta[key] = value
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_file(cls, path: Path) -> Network:
        """Read what :meth:`to_bytes` wrote; ValueError, KeyError, OSError or BadZipFile if it is damaged."""
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            values: dict[str, Any] = {key: data[key] for key in data.files}
        meta = json.loads(values.pop("meta").tobytes())
        values.update({k: tuple(v) if isinstance(v, list) else v for k, v in meta.items()})
        for table, kind in _TABLES.items():
            values[table] = kind(**{f.name: values.pop(f"{table}.{f.name}") for f in dataclasses.fields(kind)})
        return cls(**values)


def _flatten(network: Network) -> list[tuple[str, Any]]:
    """List every leaf of the network as (dotted name, value)."""
    out: list[tuple[str, Any]] = []
    for field in dataclasses.fields(network):
        value = getattr(network, field.name)
        if field.name in _TABLES:
            out += [(f"{field.name}.{f.name}", getattr(value, f.name)) for f in dataclasses.fields(value)]
        else:
            out.append((field.name, value))
    return out
