"""What is likely where nothing is metered: the mean of a load profile at this time of the week, and how far it strays.

A profile's year is folded into weeks of quarter-hours: the mean over the weeks is expected, their standard deviation is
the sigma. Elements at one node that share a profile stray together, those of different profiles independently; what an
element does beside its profile is a part of its rating. Nodes that share a profile are taken as independent, as weighted
least squares has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from controllers.estimation.measured import Grid, Meters, P, Q
from vpp.grid.network import Network
from vpp.grid.profiles import Profiles
from vpp.kernel.signals import FloatArray, IntArray

WEEK: Final = 672  # quarter-hours
OWN_WAY: Final = 0.1  # standard deviation of what an element does beside its profile, of its apparent power
NO_PROFILE: Final = 0.5  # and of one without a profile


@dataclass(frozen=True, slots=True)
class Pseudo:
    """Pseudo-measurements of the injections at nodes that have no meter of their own.

    Attributes:
        node: (k,) the nodes.
        mean, sigma: (2, WEEK, k) of P and Q [pu], from the profiles' first quarter-hour on.
        start_ns, step_ns: when that is, and how long one lasts.
    """

    node: IntArray
    mean: FloatArray
    sigma: FloatArray
    start_ns: int
    step_ns: int

    @classmethod
    def of_network(cls, network: Network, grid: Grid, meters: Meters, profiles: Profiles) -> Pseudo:
        """For every node where the network's own elements inject and no meter of P stands."""
        metered = meters.row[(meters.kind == P) & (meters.row < grid.n)]
        node = np.setdiff1d(np.flatnonzero(~grid.zero), np.concatenate([metered, grid.reference]))
        place = np.full(grid.n, -1)
        place[node] = np.arange(len(node))
        mean, variance = (np.zeros((2, WEEK, len(node))) for _ in range(2))
        loads, sgens, storages = network.loads, network.sgens, network.storages
        for of, table, p, q, suffix in (
            (loads.bus, loads.profile, loads.p_mw, loads.q_mvar, ("_pload", "_qload")),
            (sgens.bus, sgens.profile, sgens.p_mw, sgens.q_mvar, ("", "")),
            (storages.bus, storages.profile, storages.p_mw, np.zeros(len(storages.bus)), ("", "")),
        ):
            at = np.where(network.node_of_bus[of] >= 0, place[network.node_of_bus[of]], -1)
            for k, rating in enumerate((p, q)):
                _add(mean[k], variance[k], at, table, rating, np.hypot(p, q), profiles, suffix[k])
        return cls(node, mean / grid.p_base_mva, np.sqrt(variance) / grid.p_base_mva, profiles.start_ns, profiles.step_s * 10**9)

    def meters(self, meters: Meters) -> Meters:
        """The meters with the pseudo-measurements after them, their sigma being the largest of the week."""
        k, worst = len(self.node), self.sigma.max(axis=1, initial=0.0)
        return Meters(
            np.concatenate([meters.kind, np.full(k, P), np.full(k, Q)]),
            np.concatenate([meters.row, self.node, self.node]),
            np.concatenate([meters.sigma, *np.maximum(worst, 1e-9)]),
            np.append(meters.pseudo, np.ones(2 * k, np.bool_)),
            (*meters.id, *(f"profile.{kind}@{row}" for kind in "pq" for row in self.node.tolist())),
        )

    def at(self, now_ns: int) -> tuple[FloatArray, FloatArray]:
        """Values and standard deviations (2 k,) at a moment, P then Q [pu]."""
        quarter = (now_ns - self.start_ns) // self.step_ns % WEEK
        return self.mean[:, quarter].ravel(), np.maximum(self.sigma[:, quarter].ravel(), 1e-9)


def _add(
    mean: FloatArray, variance: FloatArray, at: IntArray, profile: tuple[str, ...], rating: FloatArray, size: FloatArray,
    profiles: Profiles, suffix: str,
) -> None:  # fmt: skip
    """Add the elements of one table: their mean, and what they stray, one profile and node after another."""
    known = set(profiles.names)
    together: dict[tuple[int, str], float] = {}
    for place, name, rated, whole in zip(at.tolist(), profile, rating.tolist(), size.tolist(), strict=True):
        if place < 0:
            continue
        if name + suffix not in known:
            mean[:, place] += rated
            variance[:, place] += (NO_PROFILE * whole) ** 2
            continue
        variance[:, place] += (OWN_WAY * whole) ** 2
        together[place, name + suffix] = together.get((place, name + suffix), 0.0) + rated
    folded: dict[str, tuple[FloatArray, FloatArray]] = {}
    for (place, name), rated in together.items():
        if name not in folded:
            year = profiles.factor[profiles.index(name)]
            weeks = year[: len(year) // WEEK * WEEK].reshape(-1, WEEK).astype(np.float64)
            folded[name] = weeks.mean(axis=0), weeks.std(axis=0)
        mean[:, place] += rated * folded[name][0]
        variance[:, place] += (rated * folded[name][1]) ** 2
