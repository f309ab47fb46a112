"""A network whose tap changers and switched shunts are where resources of a fleet hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpp.grid.network import Network
from vpp.grid.tables import FloatArray, Int32Array, IntArray
from vpp.grid.taps import stepped


@dataclass(frozen=True, slots=True)
class StepDevices:
    """Which resources hold which of a network's devices.

    Attributes:
        resource: (k,) position in the fleet.
        device: (k,) row of ``network.taps``, or their number + row of ``network.shunts``.
    """

    resource: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    device: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        """Number of devices."""
        return len(self.resource)


@dataclass(slots=True)
class SteppedNetwork:
    """A network at the steps that are held; made anew only where one of them has moved.

    Attributes:
        base: the network as compiled.
        devices: who holds what.
        now: the network at the steps that were given last.
    """

    base: Network
    devices: StepDevices
    now: Network = field(init=False)
    _at: Int32Array = field(init=False)

    def __post_init__(self) -> None:
        """Begin where the network was compiled."""
        self.now = self.base
        self._at = np.concatenate([self.base.taps.pos, self.base.shunts.step]).astype(np.int32)

    def take(self, step: FloatArray) -> bool:
        """Take the steps that all resources (n,) hold, NaN as before; whether ``now`` is another network than it was."""
        held = step[self.devices.resource]
        known = np.isfinite(held)
        at = self._at.copy()
        at[self.devices.device[known]] = np.rint(held[known]).astype(np.int32)
        if np.array_equal(at, self._at):
            return False
        self._at = at
        taps = len(self.base.taps)
        self.now = stepped(self.base, at[:taps], at[taps:])
        return True

    def positions(self) -> Int32Array:
        """Tap positions, then shunts' steps."""
        return self._at.copy()


def regulated_bus(network: Network) -> IntArray:
    """(devices,) bus position whose voltage each tap changer, then each shunt, moves; -1 where that is no bus of the source.

    A two-winding transformer regulates its low-voltage side, as IEC 60076-1 counts the windings: the branch's to side.
    """
    taps = network.taps
    two = network.branch_from_bus[taps.branch] >= 0
    bus = np.where(two, network.branch_to_bus[taps.branch], -1)
    return np.concatenate([bus, network.shunts.bus]).astype(np.int64)


def raising(network: Network) -> IntArray:
    """(devices,) +1 where a step up raises the voltage of `regulated_bus`, -1 where it lowers it."""
    taps, shunts = network.taps, network.shunts
    # More turns on the other side's winding lower the voltage here, on the own side's raise it.
    up = np.sign(taps.step) * np.where(taps.at_from, -1, 1)
    return np.concatenate([up, np.where(shunts.y_step.imag > 0.0, 1, -1)]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class StepTable:
    """Tap changers or switched shunts as places for resources, one row each; those that move no bus are left out.

    Attributes:
        bus: whose voltage it moves.
        device: as in `StepDevices`.
        pos, low, high: where it is, and its ends.
        up: +1 where a step up raises the voltage, -1 where it lowers it.
        effect_pu: about how far a step moves the voltage; 0: not known without a power flow.
    """

    bus: IntArray
    device: IntArray
    pos: IntArray
    low: IntArray
    high: IntArray
    up: IntArray
    effect_pu: FloatArray

    @classmethod
    def of(cls, network: Network, table: str) -> StepTable:
        """Rows of ``network.taps`` or ``network.shunts``."""
        taps, shunts, n = network.taps, network.shunts, len(network.taps)
        bus, up = regulated_bus(network), raising(network)
        first, last = (0, n) if table == "taps" else (n, n + len(shunts))
        low = np.concatenate([taps.min, np.zeros(len(shunts), np.int32)])
        high, pos = np.concatenate([taps.max, shunts.max_step]), np.concatenate([taps.pos, shunts.step])
        effect = np.concatenate([np.abs(taps.step), np.zeros(len(shunts))])
        device = np.arange(first, last, dtype=np.int64)
        device = device[bus[device] >= 0]
        at, least, most = (x[device].astype(np.int64) for x in (pos, low, high))
        return cls(bus[device], device, at, least, most, up[device], effect[device])


def step_devices(own: Mapping[str, Mapping[str, np.ndarray[Any, Any]]], kind: Sequence[str]) -> StepDevices:
    """Who holds what, from the parameters of each kind's resources (``step_device``) in a fleet of these kinds."""
    kinds, resource, device = np.array(kind), [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for name, table in own.items():
        if "step_device" in table:
            resource.append(np.flatnonzero(kinds == name))
            device.append(table["step_device"].astype(np.int64))
    return StepDevices(np.concatenate(resource), np.concatenate(device))
