"""The link to a SunSpec device: measurements and read-back by the point table, setpoints as leases.

A setpoint is written in this order: its reversion time, then value and switch (IEEE 1547-2018, 10.6.12; SunSpec DER
Information Model Specification V1.0, reversion timers), so that the device falls back by itself when nobody renews it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT
from vpp.kernel.signals import FloatArray, IntArray
from vpp.wire.clock import WallClock
from vpp.wire.link import TIMEOUT_S, Batch, Mode, Outcome, Status
from vpp.wire.modbus.channel import Channel
from vpp.wire.modbus.client import ModbusLink
from vpp.wire.sunspec.client import DerClient
from vpp.wire.sunspec.discover import Discovered
from vpp.wire.sunspec.mapping import points, w_max_mw

GAP: Final = 60  # registers read along: a request costs more than they do


@dataclass(frozen=True, slots=True)
class Function:
    """One commanded function of a device: how it is switched on, given a value, and given a time to live.

    Attributes:
        enable: its switch.
        value: its value.
        factor: from our unit (MW, Mvar) to the register's.
        time: seconds to live.
        first: what is set along with the value.
    """

    enable: str
    value: str
    factor: float
    time: str
    first: Mapping[str, float]


class SunSpecLink(ModbusLink):
    """`vpp.wire.link.Link` on a device that was discovered.

    Setpoints of one resource that are given in one call are one command: ``mode`` and ``p_mw``, ``p_limit_mw`` (inf: no
    limit), ``q_mode`` and ``q_mvar``, ``connect``, and ``valid_until_ns`` as the end of the lease of all of them.
    """

    def __init__(
        self, found: Discovered, resource: str, channel: Channel, *, clock: WallClock, name: str = "", timeout_s: float = 1.0
    ) -> None:
        """Take a device as it was found; the channel is this link's to open and close."""
        table = points(found, resource)
        super().__init__(table, channel, clock=clock, name=name or resource, gap=GAP, timeout_s=timeout_s)
        self.der = DerClient(channel, found, timeout_s)
        self.resource = resource
        self._functions = _functions(found)
        follow, limit, q = (f.enable if f else "" for f in self._functions.values())
        self._switch = {
            "mode": self._row_of(found, follow), "p_limit_mw": self._row_of(found, limit), "q_mode": self._row_of(found, q),
        }  # fmt: skip

    async def read(self, points: IntArray | None = None) -> Batch:
        """Read points; a limit that is switched off is read back as none, the mode as the switches say it."""
        wanted = self.table.readable if points is None else np.asarray(points, np.int64)
        switches = np.array([row for row in self._switch.values() if row >= 0], np.int64)
        extra = np.setdiff1d(switches, wanted)
        batch = await super().read(np.concatenate([wanted, extra]))
        on = {int(row): value for row, value in zip(batch.point, batch.value)}
        follows, limits = (on.get(self._switch[name], np.nan) for name in ("mode", "p_limit_mw"))
        value = batch.value
        for place, row in enumerate(wanted):
            point = self.table.points[row]
            if point.sheet != "applied" or point.resource != self.resource or np.isnan(value[place]):
                continue
            if point.signal == "p_limit_mw" and limits == 0:
                value[place] = np.inf
            elif point.signal == "mode":
                value[place] = FOLLOW if follows > 0 else LIMIT if limits > 0 else AUTONOMOUS
        m = len(wanted)
        return Batch(wanted, value[:m], batch.quality[:m], batch.time_ns[:m], batch.received_ns[:m])

    async def write(
        self, points: IntArray, values: FloatArray, *, mode: Mode = Mode.DIRECT, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Give setpoints: leases first, then values with their switches. What is no setpoint cannot be written."""
        points, values = np.asarray(points, np.int64), np.asarray(values, np.float64)
        if mode == Mode.SELECT:
            return Outcome.all(points, Status.NOT_SUPPORTED, reason="Modbus knows no select")
        status = np.full(len(points), Status.NOT_WRITABLE, np.uint8)
        code = np.full(len(points), -1, np.int64)
        asked: dict[str, float] = {}
        for place, row in enumerate(points):
            if "w" in self.table.points[row].access:
                asked[self.table.points[row].signal] = float(values[place])
        lease_s = 0.0
        if asked.get("valid_until_ns", 0.0) > 0:
            lease_s = max(1.0, np.ceil((asked["valid_until_ns"] - self.clock()) / 1e9))
        sent, reason = self.clock(), ""
        fate: dict[str, tuple[Status, int]] = {}
        for signals, steps in self._steps(asked, lease_s):
            for step in steps:
                told = await self.der.write(step)
                fate.update(dict.fromkeys(signals, (told.status, told.code)))
                if not told.accepted:
                    reason = told.reason
                    break
        for place, row in enumerate(points):
            signal = self.table.points[row].signal
            if "w" in self.table.points[row].access:
                status[place], code[place] = fate.get(signal, (Status.ACCEPTED, 0))
        answered = 0 if np.any(status == Status.TIMEOUT) else self.clock()
        return Outcome(points, status, code, reason, sent, answered)

    def _steps(self, asked: Mapping[str, float], lease_s: float) -> list[tuple[tuple[str, ...], list[dict[str, float]]]]:
        """What to write for what is asked: (signals that share its fate, writings in their order)."""
        steps: list[tuple[tuple[str, ...], list[dict[str, float]]]] = []
        follow, limit, q = self._functions.values()
        top = asked.get("p_limit_mw", np.nan)
        if "p_limit_mw" in asked and limit is not None:
            steps.append((("p_limit_mw", "valid_until_ns"), _give(limit, bool(np.isfinite(top)), top, lease_s)))
        for function, switch, name, on in ((follow, "mode", "p_mw", FOLLOW), (q, "q_mode", "q_mvar", FOLLOW)):
            if function is not None and (switch in asked or name in asked):
                active = asked.get(switch, on) == on
                steps.append(((switch, name, "valid_until_ns"), _give(function, active, asked.get(name, np.nan), lease_s)))
            elif function is None and asked.get(switch) == on:
                steps.append(((switch, name), [{f"no function for {name}": 1.0}]))
        if "connect" in asked:
            path = "703.ES" if "703.ES" in self.der.found.layout else "123.Conn"
            steps.append((("connect",), [{path: float(asked["connect"] > 0)}]))
        return steps

    def _row_of(self, found: Discovered, path: str) -> int:
        """Row of the table that reads a register, -1 for none."""
        if path not in found.layout:
            return -1
        address = f"{found.unit}:holding:{found.layout.address(path)}"
        return next((i for i, p in enumerate(self.table.points) if p.address == address and "r" in p.access), -1)


def _functions(found: Discovered) -> dict[str, Function | None]:
    """The functions that a device has: 704 where it is there, else 123."""
    percent = 100.0 / (w_max_mw(found) or np.inf)
    if 704 in found.models:
        return {
            "follow": Function("704.WSetEna", "704.WSet", 1e6, "704.WSetRvrtTms", {"704.WSetMod": 1.0}),
            "limit": Function("704.WMaxLimPctEna", "704.WMaxLimPct", percent, "704.WMaxLimPctRvrtTms", {}),
            "q": Function("704.VarSetEna", "704.VarSet", 1e6, "704.VarSetRvrtTms", {"704.VarSetMod": 4.0}),
        }
    if 123 in found.models:
        return {
            "follow": None,
            "limit": Function("123.WMaxLim_Ena", "123.WMaxLimPct", percent, "123.WMaxLimPct_RvrtTms", {}),
            "q": Function("123.VArPct_Ena", "123.VArWMaxPct", percent, "123.VArPct_RvrtTms", {"123.VArPct_Mod": 1.0}),
        }
    return {"follow": None, "limit": None, "q": None}


def _give(function: Function, on: bool, value: float, lease_s: float) -> list[dict[str, float]]:
    """The writings that put a function in force, or out of it."""
    if not on:
        return [{function.enable: 0.0}]
    wanted = {**function.first, function.enable: 1.0}
    if not np.isnan(value):
        wanted[function.value] = value * function.factor
    return [{function.time: lease_s}, wanted]
