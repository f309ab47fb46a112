"""Tap changers and switched shunts on a compiled network: other positions without compiling again.

A tapped winding with the multiplier m of its rated voltage has y_ss ~ 1 / m², y_st and y_ts ~ 1 / m, and the other
side's entry stays (the series impedance is that seen from the untapped winding, as in pandapower).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from vpp.grid.network import Network
from vpp.grid.tables import ComplexArray, FloatArray, Int32Array, IntArray


@dataclass(frozen=True, slots=True)
class StepEntries:
    """Where each device acts in the admittance matrix: four entries for a tap changer, one for a shunt.

    Attributes:
        row, col: (m, 4) nodes; -1 where there is nothing.
        dy: (m, 4) change of the entry for one step up, at the present position (pu on sn_mva).
        d2y: (m, 4) second derivative.
        branch: (m,) branch of a tap changer, -1 for a shunt.
    """

    row: IntArray
    col: IntArray
    dy: ComplexArray
    d2y: ComplexArray
    branch: IntArray


def multiplier(network: Network, pos: FloatArray | Int32Array) -> FloatArray:
    """Multiplier of each tapped winding's rated voltage at a position (n_tap,), which need not be whole."""
    taps = network.taps
    out: FloatArray = 1.0 + (np.asarray(pos, np.float64) - taps.neutral) * taps.step
    return out


def step_entries(network: Network, pos: FloatArray | None = None) -> StepEntries:
    """Derivatives of the admittance matrix by every tap position, then by every shunt's step.

    ``pos`` (n_tap,) is where the taps are in ``network`` if that is between two steps.
    """
    taps, shunts = network.taps, network.shunts
    f, t = (x[taps.branch].astype(np.int64) for x in (network.branch_from_node, network.branch_to_node))
    own = np.where(taps.at_from, network.yff[taps.branch], network.ytt[taps.branch])
    here, there = np.where(taps.at_from, f, t), np.where(taps.at_from, t, f)
    up = np.where(taps.at_from, network.yft[taps.branch], network.ytf[taps.branch])
    down = np.where(taps.at_from, network.ytf[taps.branch], network.yft[taps.branch])
    r = taps.step / multiplier(network, taps.pos if pos is None else pos)
    none = np.zeros_like(own)
    dy = np.stack([-2.0 * r * own, -r * up, -r * down, none], 1)
    d2y = np.stack([6.0 * r * r * own, 2.0 * r * r * up, 2.0 * r * r * down, none], 1)
    row, col = np.stack([here, here, there, there], 1), np.stack([here, there, here, there], 1)
    off = ((row < 0) | (col < 0)).any(axis=1)
    node = network.node_of_bus[shunts.bus].astype(np.int64)
    m = len(shunts)
    s_row, s_dy = np.full((m, 4), -1, np.int64), np.zeros((m, 4), np.complex128)
    s_row[:, 0] = node
    s_dy[:, 0] = np.where(node >= 0, shunts.y_step, 0.0)
    row[off], col[off], dy[off], d2y[off] = -1, -1, 0.0, 0.0
    return StepEntries(
        np.concatenate([row, s_row]),
        np.concatenate([col, s_row]),
        np.concatenate([dy, s_dy]),
        np.concatenate([d2y, np.zeros((m, 4), np.complex128)]),
        np.concatenate([taps.branch.astype(np.int64), np.full(m, -1, np.int64)]),
    )


def stepped(network: Network, pos: FloatArray | Int32Array, step: FloatArray | Int32Array) -> Network:
    """The network with its taps and shunts elsewhere, every engine takes it; the positions may be fractions.

    Args:
        network: the network, at its present positions.
        pos: (n_tap,) positions, inside their ends or not.
        step: (n_shunt,) steps of the shunts that are on.

    Returns:
        A network that shares all else; ``taps.pos`` and ``shunts.step`` are what was asked for, rounded.
    """
    taps, shunts = network.taps, network.shunts
    factor = multiplier(network, taps.pos) / multiplier(network, pos)
    own, cross = np.ones(network.n_branch), np.ones(network.n_branch)
    far = np.ones(network.n_branch)
    np.multiply.at(own, taps.branch[taps.at_from], factor[taps.at_from] ** 2)
    np.multiply.at(far, taps.branch[~taps.at_from], factor[~taps.at_from] ** 2)
    np.multiply.at(cross, taps.branch, factor)
    y = (network.yff * own, network.yft * cross, network.ytf * cross, network.ytt * far)
    data = network.y_data.copy()
    on = network.branch_on & np.isin(np.arange(network.n_branch), taps.branch)
    f, t = network.branch_from_node[on], network.branch_to_node[on]
    before = (network.yff, network.yft, network.ytf, network.ytt)
    for new, old, row, col in zip(y, before, (f, f, t, t), (f, t, f, t)):
        np.add.at(data, entry_of(network, row, col), new[on] - old[on])
    node = network.node_of_bus[shunts.bus]
    live = node >= 0
    change = (np.asarray(step, np.float64) - shunts.step) * shunts.y_step
    np.add.at(data, entry_of(network, node[live], node[live]), change[live])
    return dataclasses.replace(
        network, y_data=data, yff=y[0], yft=y[1], ytf=y[2], ytt=y[3],
        taps=dataclasses.replace(taps, pos=np.rint(pos).astype(np.int32)),
        shunts=dataclasses.replace(shunts, step=np.rint(step).astype(np.int32)),
    )  # fmt: skip


def entry_of(network: Network, row: Int32Array | IntArray, col: Int32Array | IntArray) -> IntArray:
    """Place of matrix entries among the stored ones; KeyError where one is not stored."""
    rows = np.repeat(np.arange(network.n_node, dtype=np.int64), np.diff(network.y_indptr))
    key = rows * network.n_node + network.y_indices  # ascending: rows in order, columns sorted
    wanted = np.asarray(row, np.int64) * network.n_node + col
    at = np.searchsorted(key, wanted)
    if len(at) and (at.max(initial=0) >= len(key) or not np.array_equal(key[at], wanted)):
        raise KeyError("an entry of the admittance matrix that is not stored")
    out: IntArray = at.astype(np.int64)
    return out
