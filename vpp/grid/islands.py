"""Electrical islands of a compiled network, and the resources that form some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vpp.grid.network import Network
from vpp.grid.tables import Int32Array
from vpp.kernel.errors import NetworkError

MARK = "#forming="  # behind a specification: <bus id>@<vm_pu>, joined by commas


def connected(network: Network, nodes: Sequence[int]) -> Int32Array:
    """Which of these nodes each node of the network is connected to: (n_node,) position in ``nodes``, -1 for none.

    Where two of them are connected to one another, the first counts.
    """
    label = np.full(network.n_node, -1, np.int32)
    indptr, indices = network.y_indptr, network.y_indices
    for k, first in enumerate(nodes):
        if label[first] >= 0:
            continue
        label[first], waiting = k, [int(first)]
        for node in waiting:
            for other in indices[indptr[node] : indptr[node + 1]].tolist():
                if label[other] < 0:
                    label[other] = k
                    waiting.append(other)
    return label


def with_forming(spec: str, forming: Mapping[int | str, float]) -> str:
    """Add forming buses (name or source id -> voltage in pu) to a network's specification."""
    if not forming:
        return spec
    for bus in forming:
        if "@" in str(bus) or "," in str(bus):
            raise NetworkError(spec, f"bus {bus!r} cannot be formed: name it by its id")
    return spec + MARK + ",".join(f"{'' if isinstance(bus, int) else '='}{bus}@{vm:.12g}" for bus, vm in forming.items())


def split_forming(spec: str) -> tuple[str, dict[int | str, float]]:
    """Take a specification apart again."""
    plain, mark, text = spec.partition(MARK)
    if not mark:
        return spec, {}
    pairs = (part.rpartition("@") for part in text.split(","))
    return plain, {bus[1:] if bus.startswith("=") else int(bus): float(vm) for bus, _, vm in pairs}


def form(net: Any, spec: str, forming: Mapping[int | str, float]) -> list[str]:
    """Let buses of a pandapower network form their islands: a slack there, no public grid in reach. Returns notes.

    Raises:
        NetworkError: no such bus.
    """
    import pandapower as pp
    from pandapower.topology import connected_component, create_nxgraph

    graph = create_nxgraph(net, respect_switches=True)
    notes = []
    for bus, vm_pu in forming.items():
        named = net.bus.index[net.bus.name.astype(str) == bus] if isinstance(bus, str) else net.bus.index[net.bus.index == bus]
        if len(named) == 0:
            raise NetworkError(spec, f"no bus {bus!r} to form an island at")
        reach = set(connected_component(graph, named[0])) if named[0] in graph else {named[0]}
        public = net.ext_grid.index[net.ext_grid.bus.isin(reach) & ~net.ext_grid.name.astype(str).eq("forming")]
        net.ext_grid.loc[public, "in_service"] = False
        if "slack" in net.gen:
            net.gen.loc[net.gen.bus.isin(reach), "slack"] = False
        pp.create_ext_grid(net, named[0], vm_pu=vm_pu, name="forming")
        notes.append(f"bus {bus} forms an island at {vm_pu:g} pu; {len(public)} public grids taken away")
    return notes
