"""The worker process of the DNP3 master: yadnp3 (opendnp3), one session a master. Run as a module by `vpp.wire.worker`.

Messages to here: ``(session, "open", config)``, ``(session, "scan", number, classes)``, ``(session, "command", number, kind,
index, raw, whole, select)``, ``(session, "time", number, ms, monotonic)``, ``(session, "link", number)``, ``(session, "close")``.
From here: ``(session, "state", open)``, ``(session, "started", ok)``, ``(session, "needs time")``, ``(session, "data",
items)``, ``(session, "done", number, result, …)``. An item is ``(kind, index, raw, flags, ms, is event)``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import opendnp3 as dnp

from vpp.wire.bridge import Bridge
from vpp.wire.worker import Message, child

# Types that reach the parent, by the names of their class here, as numbers of `vpp.wire.dnp3.address.Kind`.
KINDS: Final = {
    "IndexedBinary": 0, "IndexedDoubleBitBinary": 1, "IndexedBinaryOutputStatus": 2, "IndexedCounter": 3, "IndexedAnalog": 4,
    "IndexedAnalogOutputStatus": 5,
}  # fmt: skip
Push = Callable[[Message], None]


class _Data(dnp.ISOEHandler):
    """Takes in a fragment's values; on a thread of the library."""

    def __init__(self, session: int, push: Push) -> None:
        super().__init__()
        self.session, self.push = session, push
        self.items: list[tuple[int, int, float, int, int, bool]] = []

    def BeginFragment(self, info: Any) -> None:
        self.items = []

    def Process(self, info: Any, values: Any) -> None:
        for one in values:
            kind = KINDS.get(type(one).__name__)
            if kind is None:
                continue
            value = one.value
            raw = float(value.value.value if kind == 1 else value.value)
            ms = value.time.value if info.tsquality != dnp.TimestampQuality.INVALID else 0
            self.items.append((kind, one.index, raw, value.flags.value, ms, info.isEventVariation))

    def EndFragment(self, info: Any) -> None:
        self.push((self.session, "data", self.items))


class _Application(dnp.IMasterApplication):
    def __init__(self, session: int, push: Push) -> None:
        super().__init__()
        self.session, self.push = session, push

    def OnTaskStart(self, kind: Any, task: Any) -> None:
        if kind == dnp.MasterTaskType.USER_TASK:
            self.push((self.session, "began", time.monotonic_ns()))

    def OnReceiveIIN(self, iin: Any) -> None:
        if iin.IsSet(dnp.IINBit.NEED_TIME):
            self.push((self.session, "needs time"))

    def OnTaskComplete(self, info: Any) -> None:
        if info.type == dnp.MasterTaskType.USER_TASK:
            self.push((self.session, "ended", info.result.value))
        elif info.type == dnp.MasterTaskType.STARTUP_INTEGRITY_POLL:
            self.push((self.session, "started", info.result == dnp.TaskCompletion.SUCCESS))


class _Listener(dnp.IChannelListener):
    def __init__(self, session: int, push: Push) -> None:
        super().__init__()
        self.session, self.push = session, push

    def OnStateChange(self, state: Any) -> None:
        self.push((self.session, "state", state == dnp.ChannelState.OPEN))


class Session:
    """One master on its own channel. What it is asked is done one after the other, so that an end can be told whose it is."""

    def __init__(self, manager: Any, session: int, config: Message, push: Push) -> None:
        """Open the channel and enable the master; it follows at once and by itself, as long as it is open."""
        host, port, own, outstation, answer_ms = config
        self.session, self.push = session, push
        self.handlers = _Data(session, push), _Application(session, push), _Listener(session, push)  # the library keeps no hold
        data, application, listener = self.handlers
        retry = dnp.ChannelRetry(dnp.TimeDuration.Milliseconds(100), dnp.TimeDuration.Milliseconds(1000))
        ends = [dnp.IPEndpoint(host, port)]
        self.channel = manager.AddTCPClient(f"link {session}", dnp.levels.NOTHING, retry, ends, "", listener)
        stack = dnp.MasterStackConfig()
        stack.link.LocalAddr, stack.link.RemoteAddr = own, outstation
        stack.master.responseTimeout = dnp.TimeDuration.Milliseconds(answer_ms)
        # Its own synchronisation asks an application for the time that cannot be given one here: it would tell 1970.
        stack.master.timeSyncMode = dnp.TimeSyncMode(0)
        self.master = self.channel.AddMaster(f"master {session}", data, application, stack)
        self.master.Enable()
        self.waiting: deque[Message] = deque()
        self.current: Message | None = None
        self.told: Message | None = None  # a command's result, held until its task has ended too
        self.ended = False

    def close(self) -> None:
        """Shut the channel down."""
        self.channel.Shutdown()

    def ask(self, *message: Any) -> None:
        """Queue a request."""
        if message[0] == "link":
            number = message[1]
            self.master.CheckLinkStatus(lambda *status: self.push((self.session, "done", number, _up(status))))
            return
        self.waiting.append(message)
        self._next()

    def _next(self) -> None:
        if self.current is not None or not self.waiting:
            return
        self.current, self.told, self.ended = self.waiting.popleft(), None, False
        what, number, *rest = self.current
        if what == "scan":
            self.master.ScanClasses(dnp.ClassField(*rest[0]), self.handlers[0])
        elif what == "command":
            self._command(number, *rest)
        elif what == "time":
            self.master.PerformFunction("record time", dnp.FunctionCode.RECORD_CURRENT_TIME, [])
        else:  # the second half of setting the time, g50v3 (IEEE 1815-2012, 10.3.3.2)
            body = bytes([50, 3, 7, 1]) + int(rest[0]).to_bytes(6, "little")
            self.master.PerformFunction("write time", dnp.FunctionCode.WRITE, [dnp.Header.Raw(body)])

    def _command(self, number: int, kind: int, index: int, raw: float, select: bool) -> None:
        if kind == 2:
            operation = dnp.OperationType.LATCH_ON if raw else dnp.OperationType.LATCH_OFF
            order = dnp.ControlRelayOutputBlock(operation)
        else:
            order = dnp.AnalogOutputInt32(int(raw))

        def told(result: Any) -> None:
            points = [(p.state.value, p.status.value) for p in result.to_list()]
            self.push((self.session, "told", number, result.summary.value, points))

        (self.master.SelectAndOperate if select else self.master.DirectOperate)(order, index, told)

    def hear(self, what: str, *rest: Any) -> Message | None:
        """An event of the library: what the parent shall know of it."""
        if what in ("data", "state", "started", "needs time", "done"):
            return (self.session, what, *rest)
        if self.current is None:
            return None
        if what == "began" and self.current[0] == "time":
            _, number, ms, since = self.current
            self.waiting.appendleft(("write", number, ms + (rest[0] - since) // 1_000_000))
            return None
        if what == "told":
            self.told = rest
        if what == "ended":
            self.ended = True
        kind = self.current[0]
        if not self.ended or (kind == "command" and self.told is None):
            return None
        number = self.current[1]
        if kind == "command":
            answer = (self.session, "done", *(self.told or ()))
        elif kind == "time" and rest[0] == 0:
            answer = None  # the write follows
        else:
            answer = (self.session, "done", number, rest[0])
            if kind == "time":
                self.waiting.popleft()
        self.current = None
        self._next()
        return answer


def _up(status: tuple[Any, ...]) -> int:
    return 0 if status and status[-1] in (dnp.TaskCompletion.SUCCESS, dnp.LinkStatus.RESET, True) else 1


class Engine:
    """All the sessions of a worker."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        """One pool thread: it waits for the interpreter anyway."""
        self.send = send
        self.manager = dnp.DNP3Manager(1)
        self.sessions: dict[int, Session] = {}
        self.bridge = Bridge(asyncio.get_running_loop(), self._hear)

    def take(self, message: Message) -> None:
        """Do what the parent says."""
        number, what, *rest = message
        if what == "open":
            self.sessions[number] = Session(self.manager, number, rest[0], self.bridge.push)
        elif what == "close":
            session = self.sessions.pop(number, None)
            if session is not None:
                session.close()
        elif number in self.sessions:
            self.sessions[number].ask(what, *rest)

    def end(self) -> None:
        """Shut everything down."""
        self.manager.Shutdown()

    def _hear(self, items: list[Message]) -> None:
        if self.bridge.dropped:  # the picture has gaps: every link begins anew
            self.bridge.dropped = 0
            for number in self.sessions:
                self.send((number, "state", False))
        for number, what, *rest in items:
            session = self.sessions.get(number)
            answer = session.hear(what, *rest) if session is not None else None
            if answer is not None:
                self.send(answer)


if __name__ == "__main__":
    child(Engine)
