"""Column tables of a network's native elements, and the types shared by the room.

Every table holds only elements that are in service. ``id`` is the element's index in its source, ``bus`` the
*position* of its bus in :class:`vpp.grid.network.Network` (not the bus's id). Powers are injections: generation
positive, consumption negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Loads:
    """Consumers, one entry each. ``profile`` is "" where the source names none."""

    id: IntArray
    bus: Int32Array
    p_mw: FloatArray  # injection: negative for consumption
    q_mvar: FloatArray  # injection: negative for an inductive load
    profile: tuple[str, ...]
    name: tuple[str, ...]

    def __len__(self) -> int:
        """Count the elements."""
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Sgens:
    """Static generators (PV, wind, CHP ...), one entry each."""

    id: IntArray
    bus: Int32Array
    p_mw: FloatArray  # injection
    q_mvar: FloatArray  # injection
    s_mva: FloatArray  # rating; |p + jq| where the source states none
    type: tuple[str, ...]
    profile: tuple[str, ...]
    name: tuple[str, ...]

    def __len__(self) -> int:
        """Count the elements."""
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Storages:
    """Batteries, one entry each."""

    id: IntArray
    bus: Int32Array
    p_mw: FloatArray  # rating, a magnitude
    p_set_mw: FloatArray  # what the source has it do, injection: discharging positive
    q_set_mvar: FloatArray  # injection
    e_mwh: FloatArray  # usable capacity
    soc: FloatArray  # 0..1; NaN where the source states none
    efficiency: FloatArray  # 0..1, round trip; NaN where the source states none
    profile: tuple[str, ...]  # factor x rating = injection
    name: tuple[str, ...]

    def __len__(self) -> int:
        """Count the elements."""
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Gens:
    """Voltage-controlled generators of the source, one entry each; the power flow sees them as PV nodes."""

    id: IntArray
    bus: Int32Array
    p_mw: FloatArray  # injection
    vm_pu: FloatArray
    s_mva: FloatArray  # NaN where unknown
    profile: tuple[str, ...]
    name: tuple[str, ...]

    def __len__(self) -> int:
        """Count the elements."""
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Switches:
    """Switches, open and closed, one entry each."""

    id: IntArray
    bus: Int32Array
    other_bus: Int32Array  # bus position; -1 for a switch at a branch
    branch: Int32Array  # branch position; -1 for a bus-bus switch
    closed: BoolArray
    name: tuple[str, ...]

    def __len__(self) -> int:
        """Count the elements."""
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Taps:
    """Tap changers that alter the ratio alone, one entry each: multiplier of a winding = 1 + (pos - neutral) step."""

    branch: Int32Array  # position of the branch; the leg of a three-winding transformer
    at_from: BoolArray  # whether the tapped winding is at the branch's from side
    pos: Int32Array
    min: Int32Array
    max: Int32Array
    neutral: Int32Array
    step: FloatArray  # of the rated voltage, a step

    def __len__(self) -> int:
        """Count the elements."""
        return len(self.branch)


@dataclass(frozen=True, slots=True)
class Shunts:
    """Shunts that switch in equal steps (capacitor banks, reactors), one entry each, switched off ones (0) among them."""

    id: IntArray
    bus: Int32Array
    step: Int32Array
    max_step: Int32Array
    y_step: ComplexArray  # admittance of one step, pu on sn_mva; imaginary part positive for a capacitor
    name: tuple[str, ...]

    def __len__(self) -> int:
        """Count the elements."""
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Metered:
    """What the source says is measured, one entry a quantity; values are none of the network's."""

    quantity: tuple[str, ...]  # "vm_pu", "va_degree", "p_mw", "q_mvar" or "i_ka"
    bus: Int32Array  # bus position; -1 for a branch
    branch: Int32Array  # branch position; -1 for a bus
    at_from: BoolArray  # at the branch's from end; without meaning at a bus
    sigma: FloatArray  # standard deviation in the quantity's unit; NaN where the source states none
    name: tuple[str, ...]

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.quantity)
