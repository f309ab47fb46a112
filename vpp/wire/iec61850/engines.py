"""open61850's report and control engines on one event loop: no threads, an index instead of a search, decisions of ours."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from open61850.data import IECData, IntData
from open61850.mms.pdu import ObjectName
from open61850.mms.report import ReasonCode
from open61850.server.control import Command, ControlEngine, ControlHandler
from open61850.server.model import Node
from open61850.server.reporting import ReportControl, ReportEngine
from open61850.server.server import MmsServer

from vpp.wire.iec61850.quality import ACCESS_CODES, BLOCKED_BY_MODE, CAUSES, DENIED
from vpp.wire.link import Answer, Status

LONGEST_BACKLOG: Final = 256  # entries that may wait for the loop; who publishes more makes them itself


class Reports(ReportEngine):
    """Reports, timed by the loop."""

    def __init__(self, server: MmsServer) -> None:
        """Index which leaf belongs to which members of which data sets."""
        self._loop = asyncio.get_running_loop()
        self._due: set[asyncio.TimerHandle] = set()
        self._where: dict[int, list[tuple[ObjectName, int]]] = {}
        self._untold: deque[tuple[ReportControl, dict[int, ReasonCode], dict[int, IECData | int]]] = deque()
        self._pumping = False
        self._live: list[ReportControl] = []  # who wants changes: enabled, or with a buffer that was once
        super().__init__(server)
        for data_set, members in self.model.data_sets.items():
            for index, member in enumerate(members):
                node = self.model.node(member)
                for leaf in node.leaves() if node is not None else ():
                    self._where.setdefault(id(leaf), []).append((data_set, index))

    def stop(self) -> None:
        """Let go of the timers and the model."""
        super().stop()
        self.model.remove_listener(self._on_change)
        for handle in self._due:
            handle.cancel()
        self._due.clear()
        self._untold.clear()
        for block in self.controls.values():
            block.set_attr("ResvTms", IntData(0))  # who starts again has reserved nothing

    def _run(self) -> None:
        """The library's thread has nothing to do: it ends at once."""

    def _at(self, due: float, action: Callable[[], None]) -> None:
        def fire() -> None:
            self._due.discard(handle)
            action()

        handle = self._loop.call_later(max(0.0, due - time.monotonic()), fire)
        self._due.add(handle)

    def _on_change(self, changed: Iterable[Node]) -> None:
        told: dict[ObjectName, dict[int, set[str]]] = {}
        for leaf in changed:
            for data_set, index in self._where.get(id(leaf), ()):
                told.setdefault(data_set, {}).setdefault(index, set()).update(leaf.triggers)
        if not told:
            return
        for block in list(self._live):
            if not block.enabled and not block.buffered:
                self._live.remove(block)
                continue
            domain, _, item = getattr(block.attr("DatSet"), "value", "").partition("/")
            wanted, reasons = block.trg_ops(), {}
            for index, triggers in told.get(ObjectName(item, domain), {}).items():
                reason = ReasonCode(
                    data_change="dchg" in triggers and wanted.data_change,
                    quality_change="qchg" in triggers and wanted.quality_change,
                )
                if reason != ReasonCode():
                    reasons[index] = reason
            if reasons:
                self._tell(block, reasons)

    def _enabled(self, rcb: ReportControl) -> None:
        if rcb not in self._live:
            self._live.append(rcb)
        super()._enabled(rcb)

    def _tell(self, block: ReportControl, reasons: dict[int, ReasonCode]) -> None:
        """Make an entry of what the members are now, as soon as the loop has time; one block after the other."""
        if block._uint("BufTm"):
            self._add(block, reasons)
            return
        members = block.members()
        self._untold.append((block, reasons, {index: self.model.read(members[index]) for index in reasons}))
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)
        while len(self._untold) > LONGEST_BACKLOG:
            self._deliver_next()

    def _pump(self) -> None:
        if self._untold:
            self._deliver_next()
        self._pumping = bool(self._untold)
        if self._pumping:
            self._loop.call_soon(self._pump)

    def _deliver_next(self) -> None:
        block, reasons, values = self._untold.popleft()
        self._deliver(block, self._new_entry(block, reasons, values))


# An answer to an order, given whether it only selects; None where its value is not of the object's kind.
Decides = Callable[[Command, bool], Answer | None]


class Controls(ControlEngine):
    """Commands, decided before the answer; what is refused says why by AddCause and by access error."""

    def __init__(self, server: MmsServer, decides: Decides, did: ControlHandler, objects: Iterable[str]) -> None:
        """``decides`` is asked about these objects (``LD/LN$CO$DO``); ``did`` is told of what was accepted."""
        super().__init__(server)
        self._decides, self._service, self._denial = decides, "", DENIED
        for name in objects:
            self.set_check(name, self._judge)
            self.set_handler(name, did)

    def _on_write(self, connection: object, name: ObjectName, value: Any) -> int | bool | None:
        self._service, self._denial = name.item.rpartition("$")[2], DENIED
        return super()._on_write(connection, name, value)

    def _judge(self, command: Command) -> int | None:
        if command.test:
            return BLOCKED_BY_MODE  # the device is on: what only tries is not done (7-4, Mod)
        answer = self._decides(command, self._service == "SBOw")
        if answer is None:
            self._denial = ACCESS_CODES[Status.NOT_SUPPORTED]
            return CAUSES[Status.NOT_SUPPORTED]
        if answer.status == Status.ACCEPTED:
            return None
        self._denial = ACCESS_CODES.get(answer.status, DENIED)
        return CAUSES.get(answer.status, CAUSES[Status.REJECTED])

    def _refuse(self, connection: object, name: ObjectName, command: Command, cause: int) -> int:
        super()._refuse(connection, name, command, cause)
        return self._denial
