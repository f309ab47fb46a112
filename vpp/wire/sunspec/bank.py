"""What SunSpec devices do by themselves when their registers are written: check, adopt curves, keep and end leases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from vpp.wire.clock import WallClock
from vpp.wire.link import ACCEPT, Answer, Status
from vpp.wire.modbus.image import EXCEPTIONS
from vpp.wire.modbus.pdu import Code, ModbusError, Space, Words
from vpp.wire.sunspec.images import Images
from vpp.wire.sunspec.layout import Register
from vpp.wire.sunspec.leases import LEASES, Lease
from vpp.wire.sunspec.models import TYPES, PointDef
from vpp.wire.sunspec.settings import CURVES

IN_PROGRESS: Final = 0.0
COMPLETED: Final = 1.0
FAILED: Final = 2.0
# References of a curve that only the moment tells: percent of available power.
UNKNOWABLE: Final[Mapping[int, tuple[float, ...]]] = {705: (2.0,), 706: (1.0,), 712: (2.0,)}
NEVER: Final = np.iinfo(np.int64).max

# Asked before a writing stands: device, the paths that were written; the registers hold what is asked for.
Decide = Callable[[int, Sequence[str]], Answer]


class Bank:
    """Devices of one layout, each a Modbus unit by `unit`; timers run on the clock that is passed in.

    Attributes:
        images: their registers.
        decide: who may refuse a writing; None: everything that fits is taken.
        fixed: paths that can be written in the model, but that this device keeps: only the value that stands is taken.
        adopt_s: how long the adoption of a curve takes.
        writes, refused: counted.
    """

    def __init__(self, images: Images, clock: WallClock, adopt_s: float = 0.0) -> None:
        """Stand over images whose registers are filled in."""
        self.images, self.clock, self.adopt_s = images, clock, adopt_s
        self.decide: Decide | None = None
        self.fixed: frozenset[str] = frozenset()
        self.writes = self.refused = 0
        self._leases = [lease for lease in LEASES if lease.enable in images.layout and lease.time in images.layout]
        self._due: dict[int, dict[Lease, int]] = {}
        self._adopting: dict[tuple[int, int], tuple[int, int]] = {}  # (row, model) -> (due, curve)
        self._next = NEVER

    def unit(self, row: int) -> BankUnit:
        """One device."""
        return BankUnit(self, row)

    def value(self, row: int, path: str) -> float:
        """Scaled value of one register of one device; NaN where it is not implemented."""
        register = self.images.layout.find(path)
        data = self.images.words[row, register.at : register.at + register.point.words].astype(">u2")
        layout, _, missing = TYPES[register.point.type]
        raw = float(data.view(layout)[0])
        return float("nan") if raw == missing else raw * float(self.images.scale(register)[row])

    def set(self, row: int, path: str, value: float) -> None:
        """Set one register of one device."""
        self.images.put(path, [value], np.array([row]))

    def wrote(self, row: int, paths: Sequence[str]) -> None:
        """Act on what was written."""
        now = self.clock()
        for path in paths:
            model, _, name = path.partition(".")
            if name in ("AdptCrvReq", "AdptCtlReq"):
                self._ask_to_adopt(row, int(model.partition("#")[0]), now)
        for lease in self._leases:
            if any(path in lease.starts for path in paths):
                self._restart(row, lease, now)
        self._plan()

    def step(self, now_ns: int) -> None:
        """End what is over, of every device; nearly free where nothing is."""
        if now_ns < self._next:
            return
        for (row, model), (due, curve) in list(self._adopting.items()):
            if due <= now_ns:
                del self._adopting[row, model]
                self._adopt(row, model, curve)
        for row, leases in self._due.items():
            for lease, due in list(leases.items()):
                if due <= now_ns:
                    del leases[lease]
                    self._end(row, lease)
        self._plan()

    def forget(self, row: int) -> None:
        """Drop what runs in a device: it was switched off."""
        self._due.pop(row, None)
        self._adopting = {key: due for key, due in self._adopting.items() if key[0] != row}
        self._plan()

    def count_down(self, row: int, now_ns: int) -> None:
        """Write the seconds that the leases of a device have left into its registers."""
        for lease, due in self._due.get(row, {}).items():
            if lease.left:
                self.set(row, lease.left, np.ceil((due - now_ns) / 1e9))

    def _plan(self) -> None:
        dues = [*(due for leases in self._due.values() for due in leases.values()), *(due for due, _ in self._adopting.values())]
        self._next = min(dues, default=NEVER)

    def _restart(self, row: int, lease: Lease, now: int) -> None:
        time_s = self.value(row, lease.time)
        if self.value(row, lease.enable) > 0 and time_s > 0:
            self._due.setdefault(row, {})[lease] = now + round(time_s * 1e9)
        else:
            self._due.get(row, {}).pop(lease, None)
            time_s = 0.0
        if lease.left:
            self.set(row, lease.left, time_s)

    def _end(self, row: int, lease: Lease) -> None:
        for path, source in lease.revert.items():
            value = self.value(row, source)
            if not np.isnan(value):
                self.set(row, path, value)
        for path, value in lease.fixed.items():
            self.set(row, path, value)
        if lease.left:
            self.set(row, lease.left, 0.0)
        if lease.curve:
            model, curve = int(lease.curve[:3]), self.value(row, lease.curve)
            if curve >= 2:
                self._adopt(row, model, int(curve))
            else:  # no curve to go back to: the function goes off
                self.set(row, lease.enable, 0.0)

    def _ask_to_adopt(self, row: int, model: int, now: int) -> None:
        group, stem = CURVES[model]
        curve = self.value(row, f"{model}.{stem}Req")
        if f"{model}.{group}[{int(curve) - 1}].ReadOnly" not in self.images.layout or not self._sound(row, model, int(curve)):
            self.set(row, f"{model}.{stem}Rslt", FAILED)
        elif self.adopt_s > 0:
            self.set(row, f"{model}.{stem}Rslt", IN_PROGRESS)
            self._adopting[row, model] = now + round(self.adopt_s * 1e9), int(curve)
        else:
            self._adopt(row, model, int(curve))

    def _adopt(self, row: int, model: int, curve: int) -> None:
        """Copy a stored curve to the one in force; that it cannot be written stays."""
        group, stem = CURVES[model]
        source, target = f"{model}.{group}[{curve - 1}]", f"{model}.{group}[0]"
        words, layout = self.images.words[row], self.images.layout
        for path, register in layout.registers.items():
            if path.startswith(source) and not path.endswith(".ReadOnly"):
                to = layout.find(target + path[len(source) :])
                words[to.at : to.at + to.point.words] = words[register.at : register.at + register.point.words]
        self.set(row, f"{model}.{stem}Rslt", COMPLETED)

    def _sound(self, row: int, model: int, curve: int) -> bool:
        """Whether a curve can be adopted: as many points as it says, none missing, their first coordinate never falling."""
        group, _ = CURVES[model]
        stem = f"{model}.{group}[{curve - 1}]"
        if model == 711:
            return all(self.value(row, f"{stem}.{name}") >= 0 for name in ("DbOf", "DbUf", "KOf", "KUf", "RspTms"))
        if model in UNKNOWABLE and self.value(row, f"{stem}.DeptRef") in UNKNOWABLE[model]:
            return False
        inner = "MustTrip." if 707 <= model <= 710 else ""
        used = self.value(row, f"{stem}.{inner}ActPt")
        most = self.value(row, f"{model}.NPt")
        if not 1 <= used <= most:
            return False
        names = [p.name for p in _point_group(self.images, f"{stem}.{inner}Pt[0]")]
        values = np.array([[self.value(row, f"{stem}.{inner}Pt[{k}].{name}") for name in names] for k in range(int(used))])
        if np.isnan(values).any():
            return False
        return bool(inner) or bool(np.all(np.diff(values[:, 0]) >= 0))


def _point_group(images: Images, stem: str) -> list[PointDef]:
    """The points of one instance of a group."""
    return [r.point for path, r in images.layout.registers.items() if path.startswith(stem + ".")]


class BankUnit:
    """One device of a bank, as a Modbus unit: holding registers only."""

    def __init__(self, bank: Bank, row: int) -> None:
        """Be the device ``row``."""
        self.bank, self.row = bank, row

    def read(self, space: Space, start: int, count: int) -> Words:
        """Give registers; leases that are over end before."""
        where = self._place(space, start, count)
        now = self.bank.clock()
        self.bank.step(now)
        self.bank.count_down(self.row, now)
        return self.bank.images.words[self.row, where]

    def write(self, space: Space, start: int, values: Words, peer: str) -> None:
        """Take whole registers that can be written, if their values can be and nobody refuses."""
        bank = self.bank
        where = self._place(space, start, len(values))
        bank.step(bank.clock())
        touched = self._touched(where)
        words = bank.images.words[self.row]
        before = words[where].copy()
        words[where] = values
        try:
            for register in touched:
                self._check(register, before[register.at - where.start :])
            answer = ACCEPT if bank.decide is None else bank.decide(self.row, [r.path for r in touched])
            if answer.status != Status.ACCEPTED:
                raise ModbusError(EXCEPTIONS.get(answer.status, Code.DEVICE_FAILURE))
        except ModbusError:
            words[where] = before
            bank.refused += 1
            raise
        bank.writes += 1
        bank.wrote(self.row, [r.path for r in touched])

    def _place(self, space: Space, start: int, count: int) -> slice:
        layout = self.bank.images.layout
        begin = start - layout.base
        if space != Space.HOLDING or begin < 0 or begin + count > layout.words:
            raise ModbusError(Code.ILLEGAL_ADDRESS)
        return slice(begin, begin + count)

    def _touched(self, where: slice) -> list[Register]:
        """The registers of a writing: all of them whole, implemented and writable."""
        images = self.bank.images
        touched: list[Register] = []
        place = where.start
        while place < where.stop:
            register = images.layout.at(place)
            if register is None or register.at != place or place + register.point.words > where.stop:
                raise ModbusError(Code.ILLEGAL_ADDRESS)
            if not register.point.writable or self._locked(register):
                raise ModbusError(Code.ILLEGAL_ADDRESS)
            touched.append(register)
            place += register.point.words
        return touched

    def _locked(self, register: Register) -> bool:
        """A register that is not implemented, or belongs to a curve that cannot be written."""
        path = register.path
        if "[" not in path:
            return register.number and bool(np.isnan(self.bank.value(self.row, path)))
        access = path[: path.index("]") + 1] + ".ReadOnly"
        return access in self.bank.images.layout and self.bank.value(self.row, access) != 0.0

    def _check(self, register: Register, before: Words) -> None:
        """Refuse what no device could mean."""
        value = self.bank.value(self.row, register.path) if register.number else 0.0
        symbols = register.point.symbols
        if register.point.type.startswith("enum") and symbols and value not in symbols.values():
            raise ModbusError(Code.ILLEGAL_VALUE)
        at = slice(register.at, register.at + register.point.words)
        kept = np.array_equal(self.bank.images.words[self.row, at], before[: register.point.words])
        if np.isnan(value) or (register.path in self.bank.fixed and not kept):
            raise ModbusError(Code.ILLEGAL_VALUE)
