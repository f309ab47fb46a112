"""`hil.bench.wire.Registers` of a SunSpec device: settings of the models 702 to 712, measurements of 701, service of 703."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from hil.bench.ports import Limits, Refused
from hil.bench.ranges import usual_limits
from vpp.kernel.errors import LinkError
from vpp.kernel.settings import Settings
from vpp.wire.link import Status
from vpp.wire.modbus.channel import Channel
from vpp.wire.sunspec.client import DerClient, Told
from vpp.wire.sunspec.discover import discover
from vpp.wire.sunspec.images import limits as raw_limits
from vpp.wire.sunspec.settings import register_of

OPEN_S: Final = 5.0
TOLD: Final = ("p_mw", "q_mvar", "vm_pu", "f_hz")
NOMINAL_HZ: Final = (50.0, 60.0)
# Ratings: (register of the setting in force, register of the rating, factor to ours).
PLATE: Final[Mapping[str, tuple[str, str, float]]] = {
    "s_mva": ("702.VAMax", "702.VAMaxRtg", 1e-6),
    "p_max_mw": ("702.WMax", "702.WMaxRtg", 1e-6),
    "q_inj_mvar": ("702.VarMaxInj", "702.VarMaxInjRtg", 1e-6),
    "q_abs_mvar": ("702.VarMaxAbs", "702.VarMaxAbsRtg", 1e-6),
    "p_charge_mw": ("702.WChaRteMax", "702.WChaRteMaxRtg", 1e-6),
}
ANY: Final = Limits(-np.inf, np.inf)
UNHEARD: Final = (Status.TIMEOUT, Status.NOT_SENT)


class SunSpecRegisters:
    """A device behind a Modbus channel; what it is, is found when it is opened.

    A per cent of voltage is one of the voltage that the device measures against its nominal one: between a phase and
    neutral or between phases, whichever of the two it states.

    Attributes:
        v_nom: nominal voltage as the device states it [V].
    """

    def __init__(self, channel: Channel, unit: int, *, f_nom_hz: float = 0.0, timeout_s: float = 1.0, name: str = "") -> None:
        """Name it; ``f_nom_hz`` 0: 50 or 60, whichever the device measures when it is opened."""
        self._channel, self._unit, self._f_nom_hz, self._timeout_s = channel, unit, f_nom_hz, timeout_s
        self._name = name or f"unit {unit}"
        self._der: DerClient
        self._lost = "not connected"
        self._plate: dict[str, float] = {}
        self._limits: dict[str, Limits] = {}
        self.v_nom = 0.0

    async def open(self) -> None:
        """Connect, discover, and read what it is. Raises `LinkError`."""
        await self._connect()
        found = await discover(self._channel, self._unit, timeout_s=self._timeout_s)
        lacking = [model for model in (1, 701, 702, 703) if model not in found.models]
        if lacking:
            raise LinkError(self._name, f"has no SunSpec model {', '.join(map(str, lacking))}")
        self._der = DerClient(self._channel, found, self._timeout_s)
        value = found.value
        plate = {name: _known(value(now), value(rated)) * factor for name, (now, rated, factor) in PLATE.items()}
        self.v_nom = _known(value("702.VNom"), value("702.VNomRtg"))
        self._volts = min(("701.LNV", "701.LLV"), key=lambda path: _far(value(path) / self.v_nom))
        f_hz = value("701.Hz")
        plate["f_nom_hz"] = self._f_nom_hz or min(NOMINAL_HZ, key=lambda f: _far(f_hz / f))
        category = value("702.AbnOpCatRtg")
        plate["category"] = 0.0 if np.isnan(category) else category + 1.0
        for name, path in (("v_low_pu", "702.VMinRtg"), ("v_high_pu", "702.VMaxRtg")):
            if value(path) > 0.0:
                plate[name] = value(path) / self.v_nom
        self._plate = {name: v for name, v in plate.items() if np.isfinite(v)}
        held = await self._der.settings()
        self._limits = {name: self._within(name, limits) for name, limits in usual_limits(_sayable(held)).items()}

    async def close(self) -> None:
        """Disconnect."""
        await self._channel.close()

    def names(self) -> Mapping[str, Limits]:
        """Settings with what their registers can say, ratings, measurements, and whether service is permitted."""
        return {**self._limits, **dict.fromkeys((*self._plate, *TOLD, "connect"), ANY)}

    async def identity(self) -> Mapping[str, str]:
        """Model 1."""
        await self._ready()
        await self._der.refresh(1)
        words = (("manufacturer", "Mn"), ("model", "Md"), ("options", "Opt"), ("firmware", "Vr"), ("serial number", "SN"))
        found = {word: self._der.found.image.text(f"1.{name}") for word, name in words}
        return {word: text for word, text in found.items() if text}

    async def raw(self) -> Mapping[str, str]:
        """Every model's registers in hexadecimal, four digits each."""
        await self._ready()
        await self._der.refresh()
        words = self._der.found.image.words[0]
        spans = self._der.found.layout.models
        return {s.name: words[s.at : s.at + s.length + 2].astype(">u2").tobytes().hex() for s in spans}

    async def read(self, names: Sequence[str]) -> Mapping[str, float]:
        """Values as they are now."""
        await self._ready()
        value, out = self._der.found.value, dict(self._plate)
        wanted = set(names)
        if wanted & set(TOLD):
            await self._der.renew("701.W", "701.Hz")
            out |= {"p_mw": value("701.W") * 1e-6, "q_mvar": value("701.Var") * 1e-6, "f_hz": value("701.Hz")}
            out["vm_pu"] = value(self._volts) / self.v_nom
        if wanted & set(Settings.names):
            out |= await self._der.settings()
        if "connect" in wanted:
            await self._der.refresh(703)
            out["connect"] = value("703.ES")
        return {name: out[name] for name in names}

    async def write(self, values: Mapping[str, float]) -> None:
        """Write settings, have them adopted; then permit service or forbid it."""
        await self._ready()
        settings = {name: value for name, value in values.items() if name in self._limits}
        if settings:
            self._judge(await self._der.write_settings(settings))
        if "connect" in values:
            self._judge(await self._der.write({"703.ES": float(values["connect"] > 0.0)}))

    def _judge(self, told: Told) -> None:
        if told.status in UNHEARD:
            raise LinkError(self._name, told.reason or "no answer")
        if not told.accepted:
            raise Refused(self._name, told.reason or told.status.name.lower().replace("_", " "))

    async def _connect(self) -> None:
        def lost(reason: str) -> None:
            self._lost = reason

        await self._channel.close()
        await self._channel.open(OPEN_S, lost)
        self._lost = ""

    async def _ready(self) -> None:
        """After a broken connection: another one."""
        if self._lost:
            await self._connect()

    def _within(self, name: str, usual: Limits) -> Limits:
        """The usual limits of a setting, no wider than its register, in steps of its scale factor."""
        place = register_of(name)
        if place is None or usual.code:
            return usual
        path, factor = place[0].format(c=0), place[1]
        register = self._der.found.layout.find(path)
        step = float(self._der.found.image.scale(register)[0]) * factor
        low, high = raw_limits(register)
        return replace(usual, low=max(usual.low, low * step), high=min(usual.high, high * step), step=step)


def _sayable(held: Mapping[str, float]) -> list[str]:
    """Settings that the device has: those that it knows a value of."""
    return [name for name in Settings.names if np.isfinite(held.get(name, np.nan)) and register_of(name) is not None]


def _known(*values: float) -> float:
    """The first that is a rating."""
    return next((value for value in values if value > 0.0), float("nan"))


def _far(ratio: float) -> float:
    """How far a ratio is from one."""
    return float("inf") if np.isnan(ratio) else abs(ratio - 1.0)
