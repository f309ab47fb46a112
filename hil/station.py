"""A station: the session of one link. It fills the image, and tells the device what was asked last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hil.commands import Commands, Due
from hil.watchdog import DeadMan, Gate, safe_setpoints
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.kernel.seen import Event
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry
from vpp.wire.link import Batch, LinkState, Outcome, Status
from vpp.wire.supervisor import Supervisor

TURNS: Final = 8
TURN_S: Final = 1.0  # nobody waits longer for his turn: those before may be talking to the dead
BEAT_S: Final = 0.25  # how often a session looks whether it may go on, though nothing new was asked
LOOK_NS: Final = 500_000_000  # and how often whether something of what was asked before is due again
LAG_S: Final = 0.002  # a station writes so much later than the one before it: readings find a gap between two of them
Tell = Callable[[Event], None]


@dataclass(slots=True)
class Tally:
    """What became of a station's commands, in values.

    Attributes:
        sent, accepted: as the words say.
        withheld: not written because the gate was closed.
        unlike: read back as something else than what was accepted.
        safe: how often everything was taken back.
    """

    sent: int = 0
    accepted: int = 0
    withheld: int = 0
    unlike: int = 0
    safe: int = 0


@dataclass
class Station:
    """One link with the resources behind it.

    Attributes:
        keeper: the link's supervisor.
        commands: what its devices hold, and what is due.
        gate: whether anything may be written.
        dead_man: whether the loop is alive; shared by all stations.
        column: (n,) columns of the fleet that stand behind the link, in the order of ``commands.ids``.
        tell: takes events; they are stamped by the links' clock.
        reports: the device reports what changes; what it does not report is as it was.
        turns: shared by the stations: so many write at once, so that a reading does not wait behind hundreds of writings.
    """

    keeper: Supervisor
    commands: Commands
    gate: Gate
    dead_man: DeadMan
    column: IntArray
    tell: Tell
    reports: bool = False
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TURNS))
    tally: Tally = field(default_factory=Tally)
    asked: FloatArray | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _closed: str = ""
    _let_go: bool = False
    _looked: FloatArray | None = None
    _looked_ns: int = 0
    _wrote: bool = False
    _cells: tuple[IntArray, IntArray, IntArray] = field(init=False)

    def __post_init__(self) -> None:
        """Watch the link: after a break its devices may hold anything."""
        self.keeper.link.watch(self._changed)
        self._cells = self.table_cells("applied")
        at, signals, columns = self.table_cells("telemetry")
        self._power = at[signals == Telemetry.p_mw.row], columns[signals == Telemetry.p_mw.row]

    @property
    def name(self) -> str:
        """The link's name."""
        return self.keeper.link.name

    def table_cells(self, sheet: str) -> tuple[IntArray, IntArray, IntArray]:
        """Rows of the table, rows of the sheet's block, and resources of this station."""
        return self.keeper.link.table.cells(sheet, self.commands.ids)

    def ask(self, block: FloatArray) -> None:
        """Take what is asked of this station's resources, (signals, n); the latest wins."""
        self.asked = block
        self._wake.set()

    async def run(self, after_s: float = 0.0, lag_s: float = 0.0) -> None:
        """Keep the link and write what is due, until cancelled; begin after a while, and write ``lag_s`` after being asked."""
        await asyncio.sleep(after_s)
        follow = asyncio.create_task(self.keeper.run())
        try:
            while True:
                await self.give()
                self._wake.clear()
                try:
                    async with asyncio.timeout(BEAT_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue
                await asyncio.sleep(lag_s)
        finally:
            follow.cancel()
            await asyncio.gather(follow, return_exceptions=True)

    async def give(self) -> None:
        """Write what is due now, and read it back."""
        now, asked = self.keeper.steady(), self.asked
        if asked is None or self.keeper.link.state != LinkState.UP:
            return
        self._count_energy(now)
        closed = self.gate.closed(now)
        if closed != self._closed:
            self._closed = closed
            self._say("withheld" if closed else "armed", closed or "commands are let through")
        if closed or self.dead_man.tripped(now):
            if closed and not self._wrote:
                self.tally.withheld += len(self.commands.rows)
            elif not self._let_go:
                await self.let_go(closed or "the loop has stopped: what was asked is taken back")
            return
        self._let_go = False
        if asked is self._looked and now - self._looked_ns < LOOK_NS:
            return
        self._looked, self._looked_ns = asked, now
        await self._write(now, self.gate.narrow(asked))

    async def let_go(self, reason: str) -> None:
        """Take back whatever was asked; the devices lead themselves. Done even where the gate is closed."""
        if not self._wrote:
            return
        self._let_go, self._looked, self.tally.safe = True, None, self.tally.safe + 1
        self._say("safe", reason)
        self.commands.forget()
        await self._write(self.keeper.steady(), safe_setpoints(self.commands.p_safe_mw))

    async def _write(self, now: int, block: FloatArray) -> None:
        async with self._writing:  # letting go waits for what is under way
            await self._write_due(now, block)

    async def _write_due(self, now: int, block: FloatArray) -> None:
        due = self.commands.due(now, block)
        if not due.n:
            return
        mine = await self._turn()
        try:
            await self._tell_device(now, block, due)
        finally:
            if mine:
                self.turns.release()

    async def _turn(self) -> bool:
        """Wait for a turn; whether there is one to give back."""
        try:
            async with asyncio.timeout(TURN_S):
                return await self.turns.acquire()
        except TimeoutError:
            return False

    async def _tell_device(self, now: int, block: FloatArray, due: Due) -> None:
        for rows, values in due.stages:
            outcome = await self.keeper.write(rows, values)
            self.tally.sent += len(rows)
            fine = outcome.status == Status.ACCEPTED
            self.tally.accepted += int(fine.sum())
            self.commands.told(now, rows, values, fine)
            self._wrote = self._wrote or bool(fine.any())
            if not self._goes_on(outcome):
                break  # a setpoint without its lease, or a switch without its setpoint, is worse than nothing
        if self._cells[0].size:
            await self._read_back(block)

    def _goes_on(self, outcome: Outcome) -> bool:
        """Whether the next stage may follow: nothing was lost on the way."""
        return not bool(np.isin(outcome.status, (Status.TIMEOUT, Status.NOT_SENT, Status.DEVICE_FAILED)).any())

    async def _read_back(self, block: FloatArray) -> None:
        rows, signals, columns = self._cells
        try:
            batch = await self.keeper.link.read(rows)
        except LinkError:
            return  # the supervisor finds out by itself
        self.keeper.take(batch)
        wanted, _ = self.commands.table.quantise(rows, block[signals, columns])
        leads = self._led(block)[signals, columns]
        self.tally.unlike += int(np.sum(leads & np.isfinite(batch.value) & (batch.value != wanted)))

    @staticmethod
    def _led(block: FloatArray) -> BoolArray:
        """Which setpoints are really asked, and not only told: (signals, n)."""
        out = np.zeros(block.shape, np.bool_)
        mode, q_mode = block[Setpoints.mode.row], block[Setpoints.q_mode.row]
        out[Setpoints.p_mw.row], out[Setpoints.p_limit_mw.row], out[Setpoints.q_mvar.row] = mode == 1, mode == 2, q_mode == 1
        return out

    def _count_energy(self, now: int) -> None:
        rows, columns = self._power
        p_mw = np.full(len(self.commands.ids), np.nan)
        image = self.keeper.image
        p_mw[columns] = np.where(image.quality[rows] & (q.INVALID | q.COMM_LOST), np.nan, image.value[rows])
        self.gate.measured(now, p_mw)

    def _changed(self, state: LinkState, reason: str) -> None:
        if state in (LinkState.UP, LinkState.DOWN):
            self.commands.forget()
            self._looked = None
            self._say("link", f"{state.name.lower()}{f': {reason}' if reason else ''}")
        self._wake.set()

    def _say(self, kind: str, text: str) -> None:
        self.tell(Event(self.keeper.clock(), "link", kind, f"{self.name}: {text}", self.name))

    async def poll(self) -> None:
        """Read everything once now: for a loop in lock-step, without tasks."""
        try:
            self.keeper.take(await self.keeper.link.read())
        except LinkError:
            rows = self.keeper.link.table.readable
            self.keeper.take(Batch.lost(rows, self.keeper.clock()))
