"""What a loss minimisation may move, what it has to keep to, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp.grid.network import Network
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array


@dataclass(frozen=True, slots=True)
class Devices:
    """What may be moved: the reactive power of inverters, and the network's own taps and switched shunts.

    Attributes:
        bus: (m,) positions of the inverters' buses.
        q_min_mvar, q_max_mvar: (m,) band of each, injection.
        q_mvar: (m,) where each is to begin with; not part of the injections given beside.
        taps: (n_tap,) which tap changers may move; None: all.
        shunts: (n_shunt,) which shunts may switch; None: all.
    """

    bus: Int32Array
    q_min_mvar: FloatArray
    q_max_mvar: FloatArray
    q_mvar: FloatArray
    taps: BoolArray | None = None
    shunts: BoolArray | None = None

    @classmethod
    def inverters(
        cls, bus: Int32Array, p_mw: FloatArray, s_mva: FloatArray, q_share: float = 1.0, *, steps: bool = True,
        network: Network | None = None,
    ) -> Devices:  # fmt: skip
        """Inverters that hold P and may use the rest of their apparent power, at most a share of the rating, for Q.

        Args:
            bus: (m,) positions of the buses.
            p_mw: (m,) active power, injection.
            s_mva: (m,) rating.
            q_share: largest |Q| as a share of the rating (0.44: IEEE 1547-2018, 5.2, category B).
            steps: whether taps and shunts may move as well; where not, ``network`` says how many there are.
            network: the network.
        """
        most = np.minimum(np.sqrt(np.maximum(s_mva**2 - p_mw**2, 0.0)), q_share * s_mva)
        none = (None, None)
        if not steps and network is not None:
            none = (np.zeros(len(network.taps), bool), np.zeros(len(network.shunts), bool))  # type: ignore[assignment]
        return cls(np.asarray(bus, np.int32), -most, most, np.zeros(len(most)), *none)

    @classmethod
    def of(cls, network: Network) -> Devices:
        """The network's own static generators, as their source states them, with all its taps and shunts."""
        s = network.sgens
        on = (network.node_of_bus[s.bus] >= 0) & (s.s_mva > 0)
        most = np.sqrt(np.maximum(s.s_mva**2 - s.p_mw**2, s.q_mvar**2))[on]
        return cls(s.bus[on], -most, most, s.q_mvar[on].copy())


@dataclass(frozen=True, slots=True)
class Limits:
    """What has to be kept, at a price, so that there is always an answer.

    Attributes:
        vm_min_pu, vm_max_pu: (n_node,) band of the voltages; -inf and inf: none.
        loading: highest current, in rated currents, of every rated branch; inf: none.
        price: of 1 pu of voltage outside, or 100 % of rated current above, at one place, in units of the losses at the
            start: so high that losses never buy a breach.
    """

    vm_min_pu: FloatArray
    vm_max_pu: FloatArray
    loading: float = 1.0
    price: float = 1000.0

    @classmethod
    def of(cls, network: Network) -> Limits:
        """The bands that the network states for its buses; nodes without a bus have none."""
        low, high = np.full(network.n_node, -np.inf), np.full(network.n_node, np.inf)
        on = np.flatnonzero(network.node_of_bus >= 0)
        np.maximum.at(low, network.node_of_bus[on], network.vm_min_pu[on])
        np.minimum.at(high, network.node_of_bus[on], network.vm_max_pu[on])
        low[network.slack_node], high[network.slack_node] = -np.inf, np.inf  # nobody here moves them
        return cls(low, high)


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that is not kept.

    Attributes:
        quantity: "vm_low", "vm_high" or "loading".
        element: position of the bus or branch.
        value, limit: what it is and what it may be, pu or 1.
    """

    quantity: str
    element: int
    value: float
    limit: float


@dataclass(frozen=True, slots=True)
class VoltVar:
    """What came of a Volt/VAR optimisation.

    Attributes:
        network: the network with its taps and shunts where they are best.
        q_mvar: (m,) reactive power of each inverter, injection.
        v: (n_node,) voltages, pu.
        loss_mw: the branches' losses there; ``before_mw`` at the start; ``relaxed_mw`` with the discrete devices between
            their steps, which is what rounding cost.
        breaches: limits that are not kept there; ``breaches_before`` at the start.
        rounds: how often the network was linearised.
        settled: whether the last round foresaw no further gain; otherwise this is the best that was found.
    """

    network: Network
    q_mvar: FloatArray
    v: ComplexArray
    loss_mw: float
    before_mw: float
    relaxed_mw: float
    breaches: tuple[Breach, ...]
    breaches_before: tuple[Breach, ...]
    rounds: int
    settled: bool


def breaches(network: Network, v: ComplexArray, limits: Limits, tolerance: float = 1e-6) -> tuple[Breach, ...]:
    """Every limit that voltages ``v`` (n_node,) do not keep, buses first."""
    out: list[Breach] = []
    vm = np.abs(v)
    for name, beyond, limit in (
        ("vm_low", limits.vm_min_pu - vm > tolerance, limits.vm_min_pu),
        ("vm_high", vm - limits.vm_max_pu > tolerance, limits.vm_max_pu),
    ):
        nodes = np.flatnonzero(beyond & (network.node_bus >= 0)).tolist()
        out += [Breach(name, int(network.node_bus[n]), float(vm[n]), float(limit[n])) for n in nodes]
    loading = network.branch_flows(v).loading
    over = np.flatnonzero(loading - limits.loading > tolerance).tolist()
    return (*out, *(Breach("loading", b, float(loading[b]), limits.loading) for b in over))
