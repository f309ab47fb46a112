"""Raw numbers of a point table as MMS data, and back."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
import open61850.data
from open61850.data import ArrayData, BitStringData, BoolData, FloatData, IECData, IntData, StructureData, UIntData
from open61850.mms.types import MmsType, PrimitiveType

_SINGLE: Final = struct.Struct("!f")


def _single(raw: bytes) -> float:
    """The number that a float32 is."""
    return float(_SINGLE.unpack(raw)[0])


# open61850 0.9.12 looks for the shortest decimal of every float32, and raises OverflowError where that is beyond the largest.
open61850.data._shortest_float32 = _single


def raw_of(data: IECData | None) -> float | None:
    """The number that data stands for; None where it stands for none."""
    if isinstance(data, FloatData):
        # Whoever made it may have given a decimal: the number on the wire is the float32 next to it.
        return data.value if data.double else float(np.float32(data.value))
    if isinstance(data, BoolData | IntData | UIntData):
        return float(data.value)
    if isinstance(data, BitStringData) and len(data.value) == 1 and data.unused_bits == 6:
        return float(data.value[0] >> 6)  # a double point
    return None


def data_of(mms_type: MmsType | None, raw: float) -> IECData | None:
    """A number as data of a type; None where the type takes no numbers."""
    if not isinstance(mms_type, PrimitiveType):
        return None
    kind = mms_type.kind
    if kind == "float":
        return FloatData(raw, mms_type.size == 64)
    if kind == "boolean":
        return BoolData(raw != 0.0)
    if kind == "integer":
        return IntData(int(raw))
    if kind == "unsigned":
        return UIntData(max(0, int(raw)))
    if kind == "bit-string" and mms_type.size == 2:
        return BitStringData(bytes([(int(raw) & 3) << 6]), 6)
    return None


def dig(data: IECData | None, path: Sequence[int]) -> IECData | None:
    """The member at a path of positions; None where there is none."""
    for at in path:
        members = data.members if isinstance(data, StructureData) else data.elements if isinstance(data, ArrayData) else ()
        if not 0 <= at < len(members):
            return None
        data = members[at]
    return data
