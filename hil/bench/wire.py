"""Equipment over a wire: all that it takes is reading and writing values by name, as a SunSpec map has them.

Names are those of the kernel: of `Settings`, of `Telemetry` (``p_mw``, ``q_mvar``, ``vm_pu``, ``f_hz``), ``connect`` of
`Setpoints`, and of `Nameplate`. Whoever has a link implements `Registers`; curves go through the device's adopt mechanism
in there, and a value that the device would not take raises `Refused`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from hil.bench.ports import Limits, Nameplate, Reading
from vpp.kernel.errors import LinkError
from vpp.kernel.settings import Settings

T = TypeVar("T")


class Registers(Protocol):
    """A device's values by name, asynchronously."""

    async def open(self) -> None:
        """Connect, and find out what it has. Raises `LinkError`."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...

    def names(self) -> Mapping[str, Limits]:
        """What it has: every name, with limits and resolution of those that can be written (others: any)."""
        ...

    async def identity(self) -> Mapping[str, str]:
        """Manufacturer, model, serial number, firmware (SunSpec model 1)."""
        ...

    async def raw(self) -> Mapping[str, str]:
        """Every register as it is, in pieces with names, for the record."""
        ...

    async def read(self, names: Sequence[str]) -> Mapping[str, float]:
        """Values as they are at this moment, in the kernel's units and sign; NaN: not known."""
        ...

    async def write(self, values: Mapping[str, float]) -> None:
        """Write and let the device adopt; raises `hil.bench.ports.Refused` or `LinkError`."""
        ...


class WireEut:
    """Equipment behind `Registers`, with a deadline for every exchange.

    The exchanges run on an event loop in a thread of its own, so that procedures stay plain code. Use it as a context:
    the device is opened and its nameplate read on entering.
    """

    def __init__(self, registers: Registers, timeout_s: float = 30.0, name: str = "wire") -> None:
        """Name the device; nothing is read yet."""
        self._registers, self._timeout_s, self._name = registers, timeout_s, name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"bench {name}", daemon=True)
        self.nameplate: Nameplate

    def __enter__(self) -> Self:
        """Start, connect, and read the nameplate."""
        self._thread.start()
        try:
            self._do(self._registers.open())
            self.nameplate = self._nameplate()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        self.close()

    def close(self) -> None:
        """Disconnect; stop the event loop and its thread."""
        with suppress(LinkError):  # gone is gone
            self._do(self._registers.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        async def timed() -> T:
            return await asyncio.wait_for(work, self._timeout_s)

        try:
            return asyncio.run_coroutine_threadsafe(timed(), self._loop).result()
        except TimeoutError:
            raise LinkError(self._name, f"no answer within {self._timeout_s:g} s") from None

    def _nameplate(self) -> Nameplate:
        known = [f.name for f in fields(Nameplate) if f.name in self._registers.names()]
        values = dict(self._do(self._registers.read(known)))
        missing = [name for name in ("s_mva", "p_max_mw", "q_inj_mvar", "q_abs_mvar") if not values.get(name, 0.0) > 0.0]
        if missing:
            raise LinkError(self._name, f"its nameplate lacks {', '.join(missing)}")
        category = int(values.pop("category", 0))
        return Nameplate(**values, category=category)

    def identity(self) -> Mapping[str, str]:
        """What it tells of itself."""
        return self._do(self._registers.identity())

    def raw(self) -> Mapping[str, str]:
        """Its registers as they are."""
        return self._do(self._registers.raw())

    def limits(self) -> Mapping[str, Limits]:
        """The settings among its names; what is on the nameplate is none."""
        plate = {f.name for f in fields(Nameplate)}
        return {name: of for name, of in self._registers.names().items() if name in Settings.names and name not in plate}

    def write(self, values: Mapping[str, float]) -> None:
        """Write settings; those that it does not have are left out."""
        there = self._registers.names()
        self._do(self._registers.write({name: value for name, value in values.items() if name in there}))

    def read(self, names: Iterable[str]) -> dict[str, float]:
        """What it holds, of those names that it has."""
        there = self._registers.names()
        return dict(self._do(self._registers.read([name for name in names if name in there])))

    def connect(self, on: bool) -> None:
        """Permit service or forbid it."""
        self._do(self._registers.write({"connect": float(on)}))

    def permitted(self) -> bool:
        """Whether service is permitted."""
        return self._do(self._registers.read(["connect"]))["connect"] > 0.0

    def measure(self) -> Reading:
        """What it measures."""
        found = self._do(self._registers.read(["p_mw", "q_mvar", "vm_pu", "f_hz"]))
        return Reading(found["p_mw"], found["q_mvar"], found["vm_pu"], found["f_hz"])
