"""What can be known to be wrong with the network's meters before a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from scenarios.metering import listed
from scenarios.near import did_you_mean
from scenarios.schema.metering import SimbenchMeters, VoltageMeters
from vpp.kernel.errors import Finding

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from vpp.grid.network import Network


def metered(scenario: Scenario, network: Network) -> Iterator[Finding]:
    """Buses that are not there or not energised, and tables of measurements that are not there."""
    for i, part in enumerate(scenario.meters):
        if isinstance(part, VoltageMeters) and not isinstance(part.at, str):
            yield from _buses(scenario, network, i, part.at)
        if isinstance(part, SimbenchMeters):
            yield from _table(scenario, network, i)


def _buses(scenario: Scenario, network: Network, i: int, at: tuple[int, ...]) -> Iterator[Finding]:
    """Ids of buses."""
    for j, bus in enumerate(at):
        position = np.flatnonzero(network.bus_id == bus)
        if not len(position):
            hint = did_you_mean(str(bus), [str(known) for known in network.bus_id.tolist()])
            yield scenario.finding(f"no bus {bus}{hint}", "meters", i, "at", j, value=str(bus))
        elif network.node_of_bus[position[0]] < 0:
            yield scenario.finding(f"bus {bus} is not energised", "meters", i, "at", j, value=str(bus), severity="warning")


def _table(scenario: Scenario, network: Network, i: int) -> Iterator[Finding]:
    """The network's own measurements."""
    there, placed = len(network.metered), len(listed(network))
    if not there:
        message = "the network lists no measurements: SimBench's do at medium voltage and above; name kinds and places instead"
        yield scenario.finding(message, "meters", i, "kind")
    elif placed < there:
        message = f"{there - placed} of the network's {there} measurements stand at what is switched off, or are of angles"
        yield scenario.finding(message, "meters", i, "kind", severity="warning")
