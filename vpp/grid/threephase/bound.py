"""A network bound for solving: its factors and its legs as the kernels want them.

The legs' currents are what the network does not know; an admittance of each leg may be taken into the matrix, which
then is subtracted from its current, so that the solution is the same and the iteration another one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpp.grid.tables import ComplexArray, FloatArray, Int32Array
from vpp.grid.threephase.factor import Factor, factorise, parts
from vpp.grid.threephase.kernels import Dense, LegArrays
from vpp.grid.threephase.network import Legs, ThreePhaseNetwork
from vpp.grid.threephase.single import leg_impedances
from vpp.kernel.errors import NetworkError

DENSE_LIMIT = 400  # legs; above, the iteration goes over the factors whatever they cost


class Bound(NamedTuple):
    """What the kernels need of a network."""

    factor: Factor
    legs: LegArrays
    dense: Dense


def rated_admittances(legs: Legs) -> ComplexArray:
    """Admittances (n_leg,) in S that draw what the legs are rated to consume; 0 for what generates."""
    consumes = legs.p_mw < 0.0
    power = np.where(consumes, -legs.p_mw + 1j * legs.q_mvar, 0.0) * 1e6
    out: ComplexArray = (power / legs.v_base**2).astype(np.complex128)
    return out


def bind(net: ThreePhaseNetwork, y_leg: ComplexArray) -> Bound:
    """Factorise a network with admittances (n_leg,) in S of its legs in the matrix; NetworkError where it is singular."""
    matrix = (net.y_indptr, net.y_indices, net.y_data)
    if y_leg.any():
        matrix = _with_legs(net, y_leg)
    factor = factorise(*matrix, net.fixed_node, net.fixed_v, net.node_on)
    if factor is None:
        raise NetworkError(net.source or net.name, "the admittance matrix is singular")
    legs = _leg_arrays(net, factor, y_leg)
    return Bound(factor, legs, _dense(factor, legs))


def _with_legs(net: ThreePhaseNetwork, y_leg: ComplexArray) -> tuple[Int32Array, Int32Array, ComplexArray]:
    """Add the legs' admittances to the nodal matrix: CSR."""
    from scipy.sparse import coo_array, csr_array

    shape = (net.n_node, net.n_node)
    a, b = net.legs.a, net.legs.b
    both = b >= 0
    rows = np.concatenate([a, b[both], a[both], b[both]])
    columns = np.concatenate([a, b[both], b[both], a[both]])
    values = np.concatenate([y_leg, y_leg[both], -y_leg[both], -y_leg[both]])
    plain = csr_array((net.y_data, net.y_indices, net.y_indptr), shape=shape)
    y = (plain + coo_array((values, (rows, columns)), shape=shape).tocsr()).tocsr()
    y.sort_indices()
    return y.indptr.astype(np.int32), y.indices.astype(np.int32), y.data.astype(np.complex128)


def _dense(factor: Factor, legs: LegArrays) -> Dense:
    """Impedances between the legs where that is cheaper than the factors, and their no-load voltages."""
    m = len(legs.v_base)
    cheap = m <= DENSE_LIMIT and m * m <= len(factor.l_row) + len(factor.u_row) + factor.n
    z = np.zeros((m, m) if cheap else (0, m), dtype=np.complex128)
    u0 = np.zeros(m, dtype=np.complex128)
    leg_impedances(factor, legs, u0, z)
    return Dense(*parts(z.T if cheap else z[:, :0]), *parts(u0))


def _leg_arrays(net: ThreePhaseNetwork, factor: Factor, y_leg: ComplexArray) -> LegArrays:
    """Translate the legs' nodes to rows and columns of the factors."""
    legs = net.legs
    fixed = np.append(factor.fixed_re + 1j * factor.fixed_im, 0.0)  # the last one is ground
    dead = ~net.node_on[legs.a]
    laws, band = legs.parts.copy(), legs.v_band.copy()
    laws[dead], band[dead] = 0.0, (0.5, 0.95, 1.05)  # draws nothing at 0 V, where constant power would divide by it
    ends = (_at(p, node) for p in (factor.row_of, factor.column_of) for node in (legs.a, legs.b))
    a_row, b_row, a_column, b_column = ends
    v_fixed = parts(fixed[legs.a] - fixed[legs.b])
    return LegArrays(a_row, b_row, a_column, b_column, *v_fixed, legs.v_base, laws, band, *parts(np.where(dead, 0.0, y_leg)))


def _at(position: Int32Array, node: Int32Array) -> Int32Array:
    """Look nodes up, ground staying -1."""
    out: Int32Array = np.where(node >= 0, position[node], -1).astype(np.int32)
    return out


def leg_voltages(net: ThreePhaseNetwork, v: ComplexArray) -> tuple[FloatArray, FloatArray]:
    """Voltages (n_leg,) in V across the legs from those (n_node,) in pu of the nodes, real and imaginary."""
    volts = np.append(v * net.node_v_base, 0.0)  # the last one is ground
    return parts(volts[net.legs.a] - volts[net.legs.b])
