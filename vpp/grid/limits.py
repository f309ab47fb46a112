"""Limits of a network, and what a solved state leaves of them: voltage bands, currents, reverse power.

Unbalance belongs to three-phase results: :func:`vpp.grid.threephase.results.unbalance_limits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vpp.grid.network import BRANCH_KINDS, Network
from vpp.grid.tables import BoolArray, ByteArray, ComplexArray, FloatArray, Int32Array, IntArray

QUANTITIES: tuple[str, ...] = ("loading", "vm_low", "vm_high", "reverse")
ROUNDING = 1e-12  # of a limit
LOADING, VM_LOW, VM_HIGH, REVERSE = range(4)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed. A single number holds everywhere.

    Attributes:
        vm_low_pu, vm_high_pu: (n_bus,) band of the voltages; None: the network's own.
        rating: (n_branch,) factor on the rated current: of the season (0.9 in a hot summer), 1.0 as the source states it.
        emergency: (n_branch,) factor on top of it while something is out (1.2: a short-time rating).
        reverse_mw: (n_branch,) highest power from a transformer's low- to its high-voltage side; None: not limited.
    """

    vm_low_pu: FloatArray | float | None = None
    vm_high_pu: FloatArray | float | None = None
    rating: FloatArray | float = 1.0
    emergency: FloatArray | float = 1.0
    reverse_mw: FloatArray | float | None = None

    def band(self, network: Network) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest voltage (n_bus,) pu; ValueError where they contradict one another."""
        low = _spread("vm_low_pu", network.vm_min_pu if self.vm_low_pu is None else self.vm_low_pu, network.n_bus)
        high = _spread("vm_high_pu", network.vm_max_pu if self.vm_high_pu is None else self.vm_high_pu, network.n_bus)
        if np.any(low <= 0.0) or np.any(low > high):  # equal: the voltage of a source that some cases pin so
            raise ValueError("a voltage band needs 0 < vm_low_pu <= vm_high_pu")
        return low, high

    def loading(self, network: Network, *, outage: bool = False) -> FloatArray:
        """Highest loading (n_branch,), 1.0 = rated current; ``outage`` with the emergency factor."""
        out = _spread("rating", self.rating, network.n_branch)
        if outage:
            out = out * _spread("emergency", self.emergency, network.n_branch)
        if not np.all(out > 0.0):
            raise ValueError("factors on ratings have to be positive")
        return out

    def reverse(self, network: Network) -> FloatArray:
        """Highest reverse power (n_branch,) in MW, NaN where there is no limit or no transformer's high-voltage side."""
        if self.reverse_mw is None:
            return np.full(network.n_branch, np.nan)
        out = _spread("reverse_mw", self.reverse_mw, network.n_branch)
        if np.any(out < 0.0):
            raise ValueError("reverse_mw is a magnitude, it has to be 0 or more")
        return np.where(high_sides(network), out, np.nan)


def _spread(name: str, value: FloatArray | float, size: int) -> FloatArray:
    """One number or an array -> an array (size,); ValueError where the length is another."""
    given = np.asarray(value, np.float64)
    if given.ndim and given.shape != (size,):
        raise ValueError(f"{name} has shape {given.shape}, expected ({size},)")
    return np.broadcast_to(given, size).astype(np.float64)


def high_sides(network: Network) -> BoolArray:
    """Mask (n_branch,) of the branches whose from side is a transformer's high-voltage side."""
    kind = network.branch_kind
    two, three = (kind == BRANCH_KINDS.index(name) for name in ("trafo", "trafo3w"))
    out: BoolArray = two | (three & (network.branch_from_bus >= 0))
    return out


def factors(network: Network, given: Mapping[str, float], default: float = 1.0) -> FloatArray:
    """Factors (n_branch,) by kind ("line", "trafo") or element ("line:12", its id in the source).

    Raises:
        ValueError: for a kind or an element that the network does not have.
    """
    out = np.full(network.n_branch, default)
    for key, factor in sorted(given.items(), key=lambda item: ":" in item[0]):  # elements after their kinds
        out[branches_named(network, key)] = factor
    return out


def branches_named(network: Network, key: str) -> IntArray:
    """Positions of the branches of a kind ("line") or of one element ("line:12"); ValueError where there is none."""
    kind, colon, number = key.partition(":")
    if kind not in BRANCH_KINDS:
        raise ValueError(f"no kind of branch {kind!r}; there are {', '.join(BRANCH_KINDS)}")
    found = network.branch_kind == BRANCH_KINDS.index(kind)
    if colon:
        if not number.lstrip("-").isdigit():
            raise ValueError(f"{key!r}: after the colon comes the element's number")
        found = found & (network.branch_id == int(number))
        if not found.any():
            raise ValueError(f"the network has no {kind} {number}")
    return np.flatnonzero(found)


@dataclass(frozen=True, slots=True)
class Checks:
    """Limits against values, one entry for each limit that applies and can be known; arrays of one length.

    Attributes:
        quantity: position in `QUANTITIES`.
        element: bus of a voltage, branch of a loading or a reverse power.
        value, limit: pu, 1.0 = rated current, MW.
        margin: what is left, in the same unit, 0 where it is nothing but rounding; negative: violated.
        severity: -margin over the limit (over the rated power for reverse power): what violations are compared by.
    """

    quantity: ByteArray
    element: Int32Array
    value: FloatArray
    limit: FloatArray
    margin: FloatArray
    severity: FloatArray

    def __len__(self) -> int:
        """Number of limits."""
        return len(self.quantity)

    @property
    def violated(self) -> BoolArray:
        """Mask of the limits that do not hold."""
        return self.margin < 0.0

    def worst(self) -> IntArray:
        """Positions of the violations, the most severe first."""
        order = np.argsort(-self.severity, kind="stable")
        return order[self.violated[order]].astype(np.int64)


def check(network: Network, v: ComplexArray, limits: Limits, *, outage: bool = False) -> Checks:
    """Compare node voltages (n_node,) pu with the limits; what is dead, unrated or not limited has no entry."""
    low, high = limits.band(network)
    vm = network.bus_values(np.abs(v))
    flows = network.branch_flows(v)
    allowed = limits.loading(network, outage=outage)
    loading = np.where(network.branch_on, flows.loading, np.nan)
    back_limit = limits.reverse(network)
    back, rated = reverse_power(network, v)
    parts: tuple[tuple[FloatArray, ...], ...] = (  # in the order of QUANTITIES: value, limit, margin, scale
        (loading, allowed, allowed - loading, allowed),
        (vm, low, vm - low, low),
        (vm, high, high - vm, high),
        (back, back_limit, back_limit - back, rated),
    )
    known = [np.flatnonzero(np.isfinite(part[2])) for part in parts]
    quantity = np.repeat(np.arange(len(parts), dtype=np.uint8), [len(at) for at in known])
    value, limit, margin, scale = (np.concatenate([part[i][at] for part, at in zip(parts, known)]) for i in range(4))
    margin = np.where(np.abs(margin) < ROUNDING * scale, 0.0, margin)
    return Checks(quantity, np.concatenate(known).astype(np.int32), value, limit, margin, -margin / scale)


@dataclass(frozen=True, slots=True)
class ReversePower:
    """Power from the low to the high side of every transformer, state after state.

    Attributes:
        branch: transformers, three-winding ones by the leg of their high side.
        f, t: their nodes, in the order of the voltages that are given.
        yff, yft: their admittances [pu].
        base_mva: power of 1 pu.
        n_branch: branches of the network.
    """

    branch: IntArray
    f: IntArray
    t: IntArray
    yff: ComplexArray
    yft: ComplexArray
    base_mva: float
    n_branch: int

    @classmethod
    def of(cls, network: Network, position: Int32Array | None = None) -> ReversePower:
        """For voltages in the order ``position`` (n_node,) of the nodes, or in the network's own."""
        branch = np.flatnonzero(high_sides(network) & network.branch_on)
        f, t = network.branch_from_node[branch], network.branch_to_node[branch]
        if position is not None:
            f, t = position[f], position[t]
        ends = f.astype(np.int64), t.astype(np.int64)
        return cls(branch, *ends, network.yff[branch], network.yft[branch], network.sn_mva, network.n_branch)

    def __call__(self, v: ComplexArray) -> FloatArray:
        """(n_branch,) MW; NaN for all other branches."""
        out = np.full(self.n_branch, np.nan)
        a, b = v[self.f], v[self.t]
        out[self.branch] = -np.real(a * np.conj(self.yff * a + self.yft * b)) * self.base_mva
        return out


def reverse_power(network: Network, v: ComplexArray) -> tuple[FloatArray, FloatArray]:
    """Power (..., n_branch) in MW out of every branch's from side, NaN where it is off, and rated power (sn_mva if unrated)."""
    on = network.branch_on
    a, b = v[..., np.where(on, network.branch_from_node, 0)], v[..., np.where(on, network.branch_to_node, 0)]
    into = np.real(a * np.conj(network.yff * a + network.yft * b)) * network.sn_mva
    base_ka = np.where(on, network.branch_i_base_from_ka, np.nan)
    rated = network.branch_i_max_from_ka / base_ka * network.sn_mva
    return np.where(on, -into, np.nan), np.where(np.isfinite(rated), rated, network.sn_mva)
