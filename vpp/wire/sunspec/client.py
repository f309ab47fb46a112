"""A SunSpec device from the master's side: settings by writing and adopting, setpoints as leases, everything read back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vpp.kernel.errors import LinkError, PointError
from vpp.kernel.signals import FloatArray
from vpp.wire.link import Status
from vpp.wire.modbus.channel import Channel
from vpp.wire.modbus.client import STATUSES
from vpp.wire.modbus.pdu import ModbusError, Space, Words, ask_write, told
from vpp.wire.sunspec.discover import Discovered, read_words
from vpp.wire.sunspec.settings import CURVES, from_registers, to_registers

SPARE = 1  # the stored curve that is written and then adopted; curve 0 is the one in force
ADOPTED = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a writing: its status, the Modbus exception (-1: none) and the reason."""

    status: Status
    code: int = -1
    reason: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the device took it."""
        return self.status == Status.ACCEPTED


DONE = Told(Status.ACCEPTED, 0)


class DerClient:
    """Reads and writes a discovered device by paths.

    Attributes:
        found: the device; its image is renewed by what is read.
        timeout_s: for one request.
    """

    def __init__(self, channel: Channel, found: Discovered, timeout_s: float = 1.0) -> None:
        """Speak over a channel that somebody else opens and closes."""
        self.channel, self.found, self.timeout_s = channel, found, timeout_s

    async def refresh(self, *models: int) -> None:
        """Read models again (none named: all). Raises `LinkError`."""
        for span in self.found.layout.models:
            if not models or span.model in models:
                await self._read(span.at, span.at + span.length + 2, f"model {span.name}")

    async def renew(self, first: str, last: str) -> None:
        """Read the registers from one path to another again. Raises `LinkError`."""
        end = self.found.layout.find(last)
        await self._read(self.found.layout.find(first).at, end.at + end.point.words, f"{first} to {last}")

    async def _read(self, begin: int, end: int, what: str) -> None:
        start = self.found.layout.base + begin
        try:
            words = await read_words(self.channel, self.found.unit, start, end - begin, self.timeout_s)
        except (ModbusError, TimeoutError, ValueError) as error:
            raise LinkError(f"unit {self.found.unit}", f"{what}: {error or 'no answer'}") from error
        self.found.image.words[0, begin:end] = words

    async def write(self, values: Mapping[str, float]) -> Told:
        """Write registers by path, neighbours in one request, in the order of the addresses; stops at the first refusal."""
        layout = self.found.layout
        try:
            pieces = sorted((layout.find(path).at, self.found.image.encoded(path, value)) for path, value in values.items())
        except PointError as error:
            known = error.point in layout
            return Told(Status.OUT_OF_RANGE if known else Status.UNKNOWN_POINT, reason=str(error))
        runs: list[tuple[int, list[Words]]] = []
        for at, words in pieces:
            if runs and runs[-1][0] + sum(map(len, runs[-1][1])) == at and sum(map(len, runs[-1][1])) + len(words) <= 120:
                runs[-1][1].append(words)
            else:
                runs.append((at, [words]))
        for at, parts in runs:
            told_ = await self._give(at, np.concatenate(parts))
            if not told_.accepted:
                return told_
        return DONE

    async def settings(self) -> dict[str, float]:
        """Settings in force, as far as the models say them. Raises `LinkError`."""
        await self.refresh(*(m for m in self.found.models if 703 <= m <= 712))
        return {name: float(value[0]) for name, value in self._meant().items()}

    async def write_settings(self, settings: Mapping[str, float], patience_s: float = 5.0) -> Told:
        """Write settings, adopt the curves that they belong to, and look that they are in force.

        A curve is written whole: what is not named is taken over from the curve in force. Everything else is written only
        where it differs, since memory wears. Functions go off before anything changes and on after it, so that no two of
        them lead at once. What the models of the device cannot say is an unknown point.
        """
        try:
            await self.refresh(*(m for m in self.found.models if 703 <= m <= 712))
        except LinkError as error:
            return Told(Status.NOT_SENT, reason=error.reason)
        meant = self._meant()
        unknown = sorted(set(settings) - set(meant))
        if unknown:
            return Told(Status.UNKNOWN_POINT, reason="no register for " + ", ".join(unknown))
        wanted = {**meant, **{name: np.array([float(value)]) for name, value in settings.items()}}
        said, stands = to_registers(wanted, SPARE), to_registers(meant, SPARE)
        touched = {p.split(".")[0] for p in said if not np.array_equal(said[p], stands[p], equal_nan=True)}
        mine = {p: float(v[0]) for p, v in said.items() if p.split(".")[0] in touched and not np.isnan(v[0])}
        curved = {p.split(".")[0] for p in said if "[" in p and not np.array_equal(said[p], stands[p], equal_nan=True)}
        whole = {p: v for p, v in mine.items() if "[" in p and p.split(".")[0] in curved}
        try:
            others = {p: v for p, v in mine.items() if "[" not in p and self._differs(p, v)}
        except PointError as error:
            return Told(Status.OUT_OF_RANGE, reason=str(error))
        off = {p: v for p, v in others.items() if p.endswith("Ena") and v == 0.0}
        on = {p: v for p, v in others.items() if p.endswith("Ena") and v != 0.0}
        result = await self.write(off)
        if result.accepted:
            result = await self.write(whole)
        for model in sorted({int(p[:3]) for p in whole} & self.found.models):
            if result.accepted:
                result = await self._adopt(model, patience_s)
        for part in ({p: v for p, v in others.items() if not p.endswith("Ena")}, on):
            if result.accepted:
                result = await self.write(part)
        return result

    def _differs(self, path: str, value: float) -> bool:
        """Whether a register does not hold a value. Raises `PointError`."""
        image, register = self.found.image, self.found.layout.find(path)
        held = image.words[0, register.at : register.at + register.point.words]
        return not np.array_equal(image.encoded(path, value), held)

    async def _adopt(self, model: int, patience_s: float) -> Told:
        _, stem = CURVES[model]
        result = await self.write({f"{model}.{stem}Req": SPARE + 1})
        deadline = asyncio.get_running_loop().time() + patience_s
        while result.accepted:
            try:
                await self.refresh(model)
            except LinkError as error:
                return Told(Status.TIMEOUT, reason=error.reason)
            state = self.found.value(f"{model}.{stem}Rslt")
            if state == ADOPTED:
                return DONE
            if state == ADOPTED + 1:
                return Told(Status.REJECTED, reason=f"model {model}: the curve was not adopted")
            if asyncio.get_running_loop().time() > deadline:
                return Told(Status.TIMEOUT, reason=f"model {model}: the adoption does not end")
            await asyncio.sleep(0.05)
        return result

    async def _give(self, at: int, words: Words) -> Told:
        pdu = ask_write(Space.HOLDING, self.found.layout.base + at, words)
        try:
            told(pdu, await self.channel.ask(self.found.unit, pdu, self.timeout_s))
        except ModbusError as error:
            return Told(STATUSES.get(error.code, Status.DEVICE_FAILED), error.code, str(error))
        except (TimeoutError, ValueError) as error:
            return Told(Status.TIMEOUT, reason=str(error) or "no answer")
        except LinkError as error:
            return Told(Status.TIMEOUT, reason=error.reason)
        return DONE

    def _meant(self) -> dict[str, FloatArray]:
        va = self.found.value("702.VAMaxRtg")
        var_share = np.array([self.found.value("702.VarMaxInjRtg") / va])
        w_share = np.array([self.found.value("702.WMaxRtg") / va])
        return from_registers(self.found.image.get, var_share, w_share, self.found.models)
