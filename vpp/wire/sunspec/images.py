"""The registers of many devices of one layout: one array of words, a row a device; every access is one over all rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vpp.kernel.errors import PointError
from vpp.kernel.signals import FloatArray, IntArray
from vpp.wire.modbus.address import whole
from vpp.wire.sunspec.layout import END, MARKER, Layout, Register
from vpp.wire.sunspec.models import TYPES


class Images:
    """Register images of ``n`` devices, at first with nothing implemented but models, lengths and counts.

    Attributes:
        layout: where what stands.
        words: (n, words) the registers.
    """

    def __init__(self, layout: Layout, n: int, scales: Mapping[str, IntArray | int]) -> None:
        """Fill in what does not change.

        Args:
            layout: of every device.
            n: how many.
            scales: path of a scale factor -> exponent, one or (n,); those not named are 0 where a register refers to them.
        """
        self.layout = layout
        self.words = np.zeros((n, layout.words), np.uint16)
        self.words[:, :2] = MARKER
        self.words[:, -2] = END
        for register in layout.registers.values():
            self._blank(register)
        for span in layout.models:
            self.words[:, span.at], self.words[:, span.at + 1] = span.model, span.length
            for name, count in span.counts.items():
                self.raw_put(layout.find(f"{span.name}.{name}"), np.full(n, float(count)))
        for path, exponent in scales.items():
            self.raw_put(layout.find(path), np.broadcast_to(np.asarray(exponent, np.float64), n))
        self._scale: dict[str, FloatArray] = {}

    @classmethod
    def read(cls, layout: Layout, words: npt.NDArray[np.uint16]) -> Images:
        """Images as they were read: (n, words)."""
        made = cls.__new__(cls)
        made.layout, made.words, made._scale = layout, words, {}
        return made

    @property
    def n(self) -> int:
        """Number of devices."""
        return len(self.words)

    def scale(self, register: Register) -> FloatArray:
        """(n,) what a raw number is multiplied with."""
        if not register.sf:
            return np.full(self.n, 10.0**register.exponent)
        if register.sf not in self._scale:
            exponent = self.raw(self.layout.find(register.sf))
            # A scale factor that is not implemented, or nonsense, makes the value unknown.
            self._scale[register.sf] = np.array([float(f"1e{int(e)}") if -10 <= e <= 10 else np.nan for e in exponent])
        return self._scale[register.sf]

    def get(self, path: str) -> FloatArray:
        """(n,) scaled values; NaN where not implemented."""
        register = self.layout.find(path)
        raw = self.raw(register)
        value = raw * self.scale(register)
        value[raw == TYPES[register.point.type][2]] = np.nan
        return value

    def put(self, path: str, values: npt.ArrayLike, rows: IntArray | slice = slice(None)) -> None:
        """Set scaled values, held in the type's range; NaN is "not implemented"."""
        register = self.layout.find(path)
        layout, _, missing = TYPES[register.point.type]
        raw = np.asarray(values, np.float64) / self.scale(register)[rows]
        if layout[1] != "f":
            low, high = limits(register)
            raw = np.where(np.isnan(raw), missing, np.clip(np.rint(raw), low, high))
        self.raw_put(register, raw, rows)

    def put_text(self, path: str, text: str, rows: IntArray | slice = slice(None)) -> None:
        """Set a text, cut to what fits."""
        register = self.layout.find(path)
        data = text.encode("utf-8")[: 2 * register.point.words].ljust(2 * register.point.words, b"\0")
        self.words[rows, register.at : register.at + register.point.words] = np.frombuffer(data, ">u2")

    def text(self, path: str, row: int = 0) -> str:
        """A text of one device."""
        register = self.layout.find(path)
        data = self.words[row, register.at : register.at + register.point.words].astype(">u2").tobytes()
        return data.split(b"\0")[0].decode("utf-8", "replace").strip()

    def raw(self, register: Register) -> FloatArray:
        """(n,) raw numbers."""
        part = self.words[:, register.at : register.at + register.point.words].astype(">u2")
        return part.view(TYPES[register.point.type][0])[:, 0].astype(np.float64)

    def encoded(self, path: str, value: float) -> npt.NDArray[np.uint16]:
        """The registers that say a scaled value on the first device, without setting them. Raises `PointError`."""
        register = self.layout.find(path)
        raw = np.rint(value / self.scale(register)[0])
        low, high = limits(register)
        if not low <= raw <= high:
            raise PointError(path, f"{value:g} does not fit into the register")
        words = whole(np.array([raw]), TYPES[register.point.type][0])[:, None].view(">u2")[0]
        return np.asarray(words, np.uint16)

    def raw_put(self, register: Register, raw: npt.ArrayLike, rows: IntArray | slice = slice(None)) -> None:
        """Set raw numbers."""
        part = whole(np.atleast_1d(np.asarray(raw, np.float64)), TYPES[register.point.type][0])
        self.words[rows, register.at : register.at + register.point.words] = part[:, None].view(">u2")

    def _blank(self, register: Register) -> None:
        point = register.point
        if not register.number:
            return  # texts and addresses of nothing are zeros
        self.raw_put(register, np.full(self.n, 0.0 if point.type == "sunssf" else TYPES[point.type][2]))


def limits(register: Register) -> tuple[float, float]:
    """Range of raw numbers of a register, without the one that says "not implemented"."""
    layout, _, missing = TYPES[register.point.type]
    if layout[1] == "f":
        return -np.inf, np.inf
    info = np.iinfo(np.dtype(layout))
    low, high = float(info.min), float(info.max)
    return (low + 1 if missing == low and low < 0 else low), (high - 1 if missing == high else high)
