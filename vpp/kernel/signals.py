"""A typed face on one float64 block of shape (signals, resources).

A signal's unit, meaning, sign and resolution stand in one line of code. From that line come the
co-simulation meta, the stored attributes, axis titles, point-table checks and the glossary. The block
is what is copied, recorded, sent and hashed.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, overload

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]


class Signal:
    """One row of a block: ``telemetry.p_mw`` is a view of it, assignment writes into the block."""

    def __init__(self, unit: str, meaning: str, *, resolution: float = 0.0, flags: tuple[str, ...] = ()) -> None:
        """Declare a signal.

        Args:
            unit: physical unit as written on an axis; "1" for a plain number.
            meaning: what it is and, where it has one, its sign.
            resolution: the step to which the series is kept in a run record; 0 keeps float64.
            flags: names of the values 0, 1, 2, … of a code.
        """
        self.unit, self.meaning, self.resolution, self.flags = unit, meaning, resolution, flags
        self.name, self.row = "", -1

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the attribute's name."""
        self.name = name

    @overload
    def __get__(self, sheet: None, owner: type) -> Signal: ...
    @overload
    def __get__(self, sheet: Signals, owner: type) -> FloatArray: ...
    def __get__(self, sheet: Signals | None, owner: type) -> Signal | FloatArray:
        """Give the row's view, or the signal itself when asked of the class."""
        return self if sheet is None else sheet.block[self.row]

    def __set__(self, sheet: Signals, value: npt.ArrayLike) -> None:
        """Write into the block."""
        sheet.block[self.row] = value

    def __repr__(self) -> str:
        """Show name and unit."""
        return f"Signal({self.name} [{self.unit}])"


class Signals:
    """Base of every sheet of signals: the block, and the rows that its class declares."""

    __slots__ = ("block",)
    signals: ClassVar[tuple[Signal, ...]] = ()
    names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Number the declared signals in the order in which they are written."""
        super().__init_subclass__(**kwargs)
        own = [s for s in vars(cls).values() if isinstance(s, Signal)]
        for row, signal in enumerate(own, start=len(cls.signals)):
            signal.row = row
        cls.signals = (*cls.signals, *own)
        cls.names = tuple(s.name for s in cls.signals)

    def __init__(self, block: FloatArray) -> None:
        """Wrap a block of shape (signals, resources) without copying it."""
        if block.ndim != 2 or block.shape[0] != len(self.signals) or block.dtype != np.float64:
            raise ValueError(
                f"{type(self).__name__} needs a float64 block of ({len(self.signals)}, n), got {block.dtype}{block.shape}"
            )
        self.block = block

    @classmethod
    def full(cls, n: int, value: float = np.nan) -> Self:
        """Make a sheet for ``n`` resources, every signal at ``value``."""
        return cls(np.full((len(cls.signals), n), value))

    @property
    def n(self) -> int:
        """Number of resources (columns)."""
        return int(self.block.shape[1])

    def copy(self) -> Self:
        """Copy block and face."""
        return type(self)(self.block.copy())


def canonical(block: FloatArray) -> FloatArray:
    """Give the same numbers with one spelling: -0.0 becomes +0.0 and every NaN the same NaN."""
    out = block + 0.0
    out[np.isnan(out)] = np.nan
    return out
