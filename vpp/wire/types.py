"""Wire types: what range and steps a value has on the wire, and which raw value says "not implemented"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np


@dataclass(frozen=True, slots=True)
class WireType:
    """One type of raw value.

    Attributes:
        low, high: range of raw values (of a float: its largest finite).
        bits: width on the wire.
        whole: integers only.
        sentinel: the raw value that says "not implemented" (SunSpec Device Information Model Specification, table of
            types); NaN for floats. It counts only for points whose quality rule is "sentinel".
    """

    low: float
    high: float
    bits: int
    whole: bool
    sentinel: float


def _signed(bits: int) -> WireType:
    return WireType(-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1, bits, True, -(2.0 ** (bits - 1)))


def _unsigned(bits: int) -> WireType:
    return WireType(0.0, 2.0**bits - 1, bits, True, 2.0**bits - 1)


# Integers pass through float64: beyond 2**53 the last digits are lost, which only 64-bit counters reach.
WIRE_TYPES: Final[Mapping[str, WireType]] = {
    "bool": WireType(0.0, 1.0, 1, True, np.nan),
    "double_point": WireType(0.0, 3.0, 2, True, np.nan),
    "int8": _signed(8),
    "int16": _signed(16),
    "int32": _signed(32),
    "int64": _signed(64),
    "uint8": _unsigned(8),
    "uint16": _unsigned(16),
    "uint32": _unsigned(32),
    "uint64": _unsigned(64),
    "float32": WireType(-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max), 32, False, np.nan),
    "float64": WireType(-float(np.finfo(np.float64).max), float(np.finfo(np.float64).max), 64, False, np.nan),
}

# (unit on the wire, unit of the signal) -> factor. A unit to itself is 1.
UNITS: Final[Mapping[tuple[str, str], float]] = {
    ("W", "MW"): 1e-6,
    ("kW", "MW"): 1e-3,
    ("VA", "MVA"): 1e-6,
    ("kVA", "MVA"): 1e-3,
    ("var", "Mvar"): 1e-6,
    ("kvar", "Mvar"): 1e-3,
    ("Wh", "MWh"): 1e-6,
    ("kWh", "MWh"): 1e-3,
    ("%", "1"): 1e-2,
    ("%", "pu"): 1e-2,
    ("1", "pu"): 1.0,
    ("pu", "1"): 1.0,
    ("mHz", "Hz"): 1e-3,
    ("cHz", "Hz"): 1e-2,
    ("ms", "s"): 1e-3,
    ("cs", "s"): 1e-2,
    ("min", "s"): 60.0,
    ("h", "s"): 3600.0,
    ("s", "ns"): 1e9,
    ("ms", "ns"): 1e6,
}


def unit_factor(wire: str, signal: str, base: float) -> float | None:
    """Factor from a wire's unit to a signal's; None where there is none.

    With a ``base`` (what 1 pu, or 100 %, is): V to pu divides by it, and % to MW multiplies by a hundredth of it.
    """
    plain = 1.0 if wire == signal else UNITS.get((wire, signal))
    if base == 0.0:
        return plain
    if signal in ("pu", "1"):
        return None if plain is not None else 1.0 / base
    if wire == "%":
        return base / 100.0
    return base if wire == "pu" else None
