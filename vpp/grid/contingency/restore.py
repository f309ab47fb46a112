"""Which tie to close so that what an outage has cut off is supplied again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpp.grid.contingency.analysis import Limits
from vpp.grid.network import Network
from vpp.grid.tables import ComplexArray


@dataclass(frozen=True, slots=True)
class Proposal:
    """A tie that supplies again.

    Attributes:
        switch: position in the network's table of switches.
        name: what it is called.
        restored_buses: number of buses that come alive.
        loading_max, vm_min_pu: what the network is like then.
        allowed: whether every limit holds.
    """

    switch: int
    name: str
    restored_buses: int
    loading_max: float
    vm_min_pu: float
    allowed: bool


def restore(network: Network, outage: Sequence[int], limits: Limits) -> list[Proposal]:
    raise NotImplementedError((network, outage, limits, ComplexArray, np))
