"""A balanced network on three phases: every branch once a phase, without coupling between them.

Positive sequence is exact, phase shifts included. The zero sequence is taken as the positive one, for a balanced
source states nothing else; whoever adds unbalanced injections should know that.
"""

from __future__ import annotations

import numpy as np

from vpp.grid.network import BRANCH_KINDS as BALANCED_KINDS
from vpp.grid.network import Network
from vpp.grid.powerflow.port import Unsuitable
from vpp.grid.tables import ComplexArray, FloatArray, Int32Array
from vpp.grid.threephase.network import BRANCH_KINDS, Legs, ThreePhaseNetwork

_KIND = {"line": "line", "trafo": "transformer", "trafo3w": "transformer", "switch": "switch"}
_TURN = np.exp(-2j * np.pi / 3.0 * np.arange(3))


def lift(network: Network) -> ThreePhaseNetwork:
    """Put a balanced network on three phases; Unsuitable where it has voltage-controlled nodes.

    Node ``k`` becomes the nodes ``3 k + phase - 1``; the legs are three a load, static generator, storage and node
    with fixed injection, in this order. Loads are constant power.
    """
    if len(network.pv_node):
        raise Unsuitable(f"{network.name} has voltage-controlled nodes")
    n, base = network.n_node, _base_volts(network)
    scale = network.sn_mva * 1e6 / 3.0
    rows = np.repeat(np.arange(n, dtype=np.int32), np.diff(network.y_indptr))
    siemens = network.y_data * scale / (base[rows] * base[network.y_indices])
    indptr, indices, data = _on_phases(rows, network.y_indices, siemens, n)
    on = np.flatnonzero(network.branch_on)
    f, t = network.branch_from_node[on], network.branch_to_node[on]
    blocks = np.array([[network.yff[on], network.yft[on]], [network.ytf[on], network.ytt[on]]])  # (2, 2, n)
    volts = np.array([base[f], base[t]])
    blocks = blocks * scale / (volts[:, None] * volts[None, :])
    primitive = np.zeros((len(on), 2, 3, 2, 3), dtype=np.complex128)
    for phase in range(3):
        primitive[:, :, phase, :, phase] = np.moveaxis(blocks, 2, 0)
    kinds = [BRANCH_KINDS.index(_KIND.get(BALANCED_KINDS[k], "line")) for k in network.branch_kind[on]]
    ends = np.stack([f, t], axis=1)[:, :, None] * 3 + np.arange(3)
    rating = np.stack([network.branch_i_max_from_ka[on], network.branch_i_max_to_ka[on]], axis=1) * 1e3
    starts = np.arange(len(on) + 1, dtype=np.int32)
    return ThreePhaseNetwork(
        name=network.name,
        source=network.source,
        notes=(*network.notes, "balanced source: zero sequence taken as positive sequence"),
        f_hz=network.f_hz,
        feeder=None,
        bus_name=tuple(str(k) for k in network.bus_id),
        bus_xy=network.bus_xy,
        node_bus=np.repeat(network.node_bus, 3),
        node_phase=np.tile(np.array([1, 2, 3], dtype=np.uint8), n),
        node_v_base=np.repeat(base, 3),
        node_on=np.ones(3 * n, dtype=np.bool_),
        fixed_node=(network.slack_node[:, None] * 3 + np.arange(3)).ravel().astype(np.int32),
        fixed_v=(network.slack_v[:, None] * base[network.slack_node][:, None] * _TURN).ravel(),
        y_indptr=indptr,
        y_indices=indices,
        y_data=data,
        branch_kind=np.array(kinds, dtype=np.uint8),
        branch_name=tuple(network.branch_name[k] for k in on),
        branch_start=starts * 6,
        branch_split=starts[:-1] * 6 + 3,
        conductor_node=ends.ravel().astype(np.int32),
        conductor_i_max_a=np.repeat(rating.ravel(), 3),
        primitive_start=starts * 36,
        primitive_y=primitive.ravel(),
        legs=_legs(network, base),
        load_name=network.loads.name,
        load_shape=network.loads.profile,
    )


def _base_volts(network: Network) -> FloatArray:
    """Line-to-neutral base (n_node,) in V; inner nodes get theirs from a branch that ends there."""
    out = np.full(network.n_node, np.nan)
    for node, i_ka in (
        (network.branch_from_node, network.branch_i_base_from_ka),
        (network.branch_to_node, network.branch_i_base_to_ka),
    ):
        live = (node >= 0) & (i_ka > 0.0)
        out[node[live]] = network.sn_mva / (3.0 * i_ka[live]) * 1e3
    known = network.node_bus >= 0
    out[known] = network.bus_vn_kv[network.node_bus[known]] * 1e3 / np.sqrt(3.0)
    return out


def _on_phases(
    rows: Int32Array, columns: Int32Array, values: ComplexArray, n: int
) -> tuple[Int32Array, Int32Array, ComplexArray]:
    """Repeat a matrix (n, n) for each phase, without coupling: CSR (3 n, 3 n)."""
    from scipy.sparse import coo_array

    r, c = (np.concatenate([3 * x + phase for phase in range(3)]) for x in (rows, columns))
    y = coo_array((np.tile(values, 3), (r, c)), shape=(3 * n, 3 * n)).tocsr()
    y.sort_indices()
    return y.indptr.astype(np.int32), y.indices.astype(np.int32), y.data


def _legs(network: Network, base: FloatArray) -> Legs:
    """Three constant-power legs for everything that injects."""
    fixed = np.flatnonzero((network.fixed_p_mw != 0.0) | (network.fixed_q_mvar != 0.0)).astype(np.int32)
    groups = [
        (network.node_of_bus[network.loads.bus], network.loads.p_mw, network.loads.q_mvar),
        (network.node_of_bus[network.sgens.bus], network.sgens.p_mw, network.sgens.q_mvar),
        (network.node_of_bus[network.storages.bus], network.storages.p_set_mw, network.storages.q_set_mvar),
        (fixed, network.fixed_p_mw[fixed], network.fixed_q_mvar[fixed]),
    ]
    node, p, q = (np.concatenate([g[k] for g in groups]) for k in range(3))
    load = np.where(np.arange(len(node)) < len(network.loads), np.arange(len(node)), -1)
    live = node >= 0
    node, p, q, load = node[live], p[live], q[live], load[live]
    count = 3 * len(node)
    return Legs(
        a=(node[:, None] * 3 + np.arange(3)).ravel().astype(np.int32),
        b=np.full(count, -1, dtype=np.int32),
        load=np.repeat(load, 3).astype(np.int32),
        v_base=np.repeat(base[node], 3),
        p_mw=np.repeat(p / 3.0, 3),
        q_mvar=np.repeat(q / 3.0, 3),
        parts=np.tile([0.0, 0.0, 1.0, 0.0, 0.0, 1.0], (count, 1)),
        v_band=np.tile([0.0, 0.0, np.inf], (count, 1)),
    )
