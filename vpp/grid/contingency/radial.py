"""Outages of a radial network: the tree factorised anew without the branch, in one compiled pass a case.

Same numbers as `vpp.grid.powerflow.tree`, whose factor belongs to the whole network: an outage changes the diagonal of
its ends, hence every pivot on the way to the source.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from vpp.grid.network import Network
from vpp.grid.powerflow.tree_arrays import build_tree
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array, IntArray


class Tree(NamedTuple):
    """A radial network in tree order: slack nodes first, parents before children.

    Attributes:
        n_slack: number of slack nodes.
        parent: (n,) position of the parent.
        y_up, y_down, y_own: (n,) entries Y_kp, Y_pk and Y_kk.
        v_slack: (n_slack,) their voltages.
        position: (n,) node of the network -> position.
    """

    n_slack: int
    parent: Int32Array
    y_up: ComplexArray
    y_down: ComplexArray
    y_own: ComplexArray
    v_slack: ComplexArray
    position: Int32Array


def tree_of(network: Network) -> Tree:
    """Order a radial network; Unsuitable where it is not one."""
    arrays = build_tree(network)
    n, position, up = network.n_node, arrays.position, arrays.parent
    rows = position[np.repeat(np.arange(n), np.diff(network.y_indptr))]
    cols = position[network.y_indices]
    y_up, y_down, own = (np.zeros(n, np.complex128) for _ in range(3))
    diagonal = rows == cols
    own[rows[diagonal]] = network.y_data[diagonal]
    upward = ~diagonal & (cols == up[rows])
    y_up[rows[upward]] = network.y_data[upward]
    downward = ~diagonal & (rows == up[cols])
    y_down[cols[downward]] = network.y_data[downward]
    slack = arrays.v0_re[: arrays.n_slack] + 1j * arrays.v0_im[: arrays.n_slack]
    return Tree(arrays.n_slack, up, y_up, y_down, own, slack, position)


@njit(cache=True, nogil=True)
def solve_outages(
    tree: Tree, s_pu: ComplexArray, v_start: ComplexArray, case_start: IntArray, case_branch: IntArray, f: IntArray, t: IntArray,
    y_branch: ComplexArray, tol_pu: float, max_iter: int, v_out: ComplexArray, iterations: IntArray,
) -> None:  # fmt: skip
    """Solve every case; lost nodes come out as NaN, and so does everything where there is no solution.

    Args:
        tree: the network.
        s_pu: (n,) injections in tree order.
        v_start: (n,) voltages of the whole network, where each case begins.
        case_start: (cases + 1,) first branch of each case in ``case_branch``.
        case_branch: branches that are out.
        f: (branches,) tree position of each branch's from end.
        t: (branches,) tree position of its to end.
        y_branch: (branches, 4) yff, yft, ytf, ytt.
        tol_pu: largest change of a voltage at the solution.
        max_iter: sweeps at most.
        v_out: (cases, n) out, in tree order.
        iterations: (cases,) out, negative without a solution.
    """
    n, first, parent = tree.parent.size, tree.n_slack, tree.parent
    own, up, down = np.empty(n, np.complex128), np.empty(n, np.complex128), np.empty(n, np.complex128)
    dead, current = np.zeros(n, np.bool_), np.empty(n, np.complex128)
    for case in range(case_start.size - 1):
        own[:], up[:], down[:] = tree.y_own, tree.y_up, tree.y_down
        for c in range(case_start[case], case_start[case + 1]):
            _take_out(tree, case_branch[c], f, t, y_branch, own, up, down)
        for k in range(n):
            dead[k] = k >= first and (dead[parent[k]] or abs(up[k]) <= 1e-12 * abs(tree.y_up[k]))
        for k in range(n - 1, first - 1, -1):
            if not dead[k] and parent[k] >= first:
                own[parent[k]] -= down[k] * up[k] / own[k]
        v = v_out[case]
        v[:] = v_start
        v[:first] = tree.v_slack
        iterations[case] = -max_iter
        for iteration in range(max_iter):
            change = _sweep(first, parent, own, up, down, dead, s_pu, v, current)
            if change <= tol_pu * tol_pu:
                iterations[case] = iteration + 1
                break
            if not change < 1e12:
                break
        for k in range(n):
            if dead[k] or iterations[case] < 0:
                v[k] = complex(np.nan, np.nan)


@njit(cache=True, nogil=True, inline="always")
def _take_out(
    tree: Tree, branch: int, f: IntArray, t: IntArray, y: ComplexArray, own: ComplexArray, up: ComplexArray, down: ComplexArray
) -> None:
    """Take one branch's admittances out of the entries."""
    a, b = f[branch], t[branch]
    if a < 0 or b < 0:
        return
    own[a] -= y[branch, 0]
    own[b] -= y[branch, 3]
    if tree.parent[b] == a:
        up[b] -= y[branch, 2]
        down[b] -= y[branch, 1]
    elif tree.parent[a] == b:
        up[a] -= y[branch, 1]
        down[a] -= y[branch, 2]


@njit(cache=True, nogil=True, inline="always")
def _sweep(
    first: int, parent: Int32Array, own: ComplexArray, up: ComplexArray, down: ComplexArray, dead: BoolArray, s: ComplexArray,
    v: ComplexArray, current: ComplexArray,
) -> float:  # fmt: skip
    """One pass to the sources and back; returns the largest squared change."""
    n, worst = parent.size, 0.0
    for k in range(first, n):
        current[k] = 0.0 if dead[k] else (s[k] / v[k]).conjugate()
    for k in range(n - 1, first - 1, -1):
        if not dead[k] and parent[k] >= first:
            current[parent[k]] -= down[k] * current[k] / own[k]
    for k in range(first, n):
        if not dead[k]:
            new = (current[k] - up[k] * v[parent[k]]) / own[k]
            d = new - v[k]
            v[k] = new
            change = d.real * d.real + d.imag * d.imag
            worst = change if change > worst or change != change else worst
    return worst


def in_tree_order(tree: Tree, values: FloatArray | ComplexArray) -> ComplexArray:
    """Values by node -> by tree position."""
    out = np.empty(len(values), np.complex128)
    out[tree.position] = values
    return out
