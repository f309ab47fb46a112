"""What can go wrong on a wire, as scenes on a `tests.wire.stage`: how it begins and ends, and what must find it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np

from tests.wire.stage import STEP_S, Stage, Wire
from vpp.testing.link_bench import until
from vpp.wire.link import LinkState, Status


@dataclass
class Found:
    """What became of a fault; seconds since it began (recovery: since it ended), NaN: it did not happen.

    Attributes:
        by: what told of it.
        failed: heartbeats without an answer until the link went down.
        beats: heartbeats begun until then.
        steps: the device's steps from the last command that it took until it was safe.
        tries: tries to connect that failed after the fault's end.
    """

    by: str = "nothing"
    detected_s: float = np.nan
    safe_s: float = np.nan
    recovered_s: float = np.nan
    failed: int = 0
    beats: int = 0
    steps: int = 0
    tries: int = 0


Act = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        name: in the table.
        begin, end: make it so, and mend it.
        by: what must tell of it: "connection", "heartbeats", "either" of both, "nothing"; "": it may pass unseen.
        dies: it lasts until the device is safe.
        tls: it needs certificates.
        only: protocols that it can happen to; empty: all.
    """

    name: str
    begin: Act
    end: Act
    by: str
    dies: bool = False
    tls: bool = False
    only: Callable[[Wire], bool] = lambda wire: True


async def play(s: Stage, fault: Fault) -> Found:
    """Let a fault happen, wait for what it must do, mend it, and wait until nothing is lost."""
    out, keeper = Found(), s.station.keeper
    stats, beats = keeper.statistics, len(s.beats)
    breaks, muted = stats.breaks, stats.muted
    begin = time.monotonic()
    found = [asyncio.create_task(_noted(s, out, begin, beats)), asyncio.create_task(_broken(s, out, breaks, muted))]
    await fault.begin(s)
    if fault.by in ("connection", "heartbeats", "either"):
        await until(lambda: stats.breaks > breaks and not np.isnan(out.detected_s), f"{fault.name} is seen")
    if fault.dies:
        await until(lambda: s.safe, "the device is safe")
        out.safe_s, out.steps = s.safe_since - begin, s.safe_at - s.took_at
    await fault.end(s)
    end, tries = time.monotonic(), stats.failed_connects
    await until(lambda: s.held, f"all is well after {fault.name}")
    out.recovered_s, out.tries = time.monotonic() - end, stats.failed_connects - tries
    s.asks = False
    await until(lambda: s.held and s.outcomes[-1][1] == Status.ACCEPTED, "what was asked last is held")
    s.asks = True
    for task in found:
        task.cancel()
    await asyncio.gather(*found, return_exceptions=True)
    return out


async def _noted(s: Stage, out: Found, begin: float, beats: int) -> None:
    """Look closely until something is seen."""
    while s.good:
        await asyncio.sleep(0.002)
    out.detected_s = time.monotonic() - begin
    out.beats = len(s.beats) - beats
    out.failed = sum(not told for told in s.beats[beats:])


async def _broken(s: Stage, out: Found, breaks: int, muted: int) -> None:
    """Note what breaks the link first."""
    stats = s.station.keeper.statistics
    while stats.breaks == breaks:
        await asyncio.sleep(0.002)
    out.by = "heartbeats" if stats.muted > muted else "connection"


async def nothing(s: Stage) -> None:
    """It mends itself."""


async def killed(s: Stage) -> None:
    os.kill(s.link.worker.pid, signal.SIGKILL)  # type: ignore[attr-defined]


async def rebooted(s: Stage) -> None:
    await s.reboot()


async def gone(s: Stage) -> None:
    await s.served.stop()


async def back(s: Stage) -> None:
    await s.serve(s.served.address[1])


async def cut(s: Stage) -> None:
    s.relay.cut()


async def vanished(s: Stage) -> None:
    s.relay.vanish()


async def muted(s: Stage) -> None:
    s.relay.mute = True


async def speaks(s: Stage) -> None:
    s.relay.mute = False


async def slow(s: Stage) -> None:
    s.relay.delay_s = 2.0 * s.policy.heartbeat_timeout_s


async def quick(s: Stage) -> None:
    s.relay.delay_s = 0.0


def spoils(how: str, times: int = 2) -> Act:
    async def spoil(s: Stage) -> None:
        s.relay.spoil.extend([how, ""] * times)
        await until(lambda: not s.relay.spoil, f"{times} messages: {how}")

    return spoil


def clock(seconds: float) -> Act:
    """The machine's wall clock is set; then the wire goes mute: what is found, and what runs out, is found all the same."""

    async def act(s: Stage) -> None:
        true = time.time_ns  # noqa: TID251 - it is what is set here
        before = s.station.keeper.statistics.breaks, s.plant.dead_man.trips, s.outlet.firmware.fell_back
        s.undo.enter_context(patch("time.time_ns", lambda: true() + round(seconds * 1e9)))
        steps, beats, told = s.emulator.steps + round(1.5 * s.lease_s / STEP_S), len(s.beats) + 3, len(s.taken) + 3
        stepped = asyncio.create_task(_never(lambda: not s.good or s.safe))
        await until(lambda: s.emulator.steps > steps and len(s.beats) > beats and len(s.taken) > told, "life goes on")
        assert not stepped.done(), "a clock that was set is no fault"
        stepped.cancel()
        assert (s.station.keeper.statistics.breaks, s.plant.dead_man.trips, s.outlet.firmware.fell_back) == before
        assert abs(s.station.keeper.now().received_ns[0] - true() - seconds * 1e9) < 60e9  # only the stamps have moved

    return act


async def _never(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.002)


async def expired(s: Stage) -> None:
    assert s.tls is not None
    await s.reboot(s.expired)
    tries = s.station.keeper.statistics.failed_connects
    await until(lambda: s.station.keeper.statistics.failed_connects > tries + 1, "it is refused, and again")
    assert s.link.state != LinkState.UP


FAULTS = (
    Fault("worker killed (-9)", killed, nothing, "connection", only=lambda wire: wire.worker),
    Fault("server reboots", rebooted, nothing, "connection"),
    Fault("server gone", gone, back, "connection"),
    Fault("connection cut", cut, nothing, "connection"),
    Fault("half open", vanished, nothing, "heartbeats"),
    Fault("mute", muted, speaks, "heartbeats", dies=True),
    Fault("late answers", slow, quick, "either"),
    Fault("answers lost", spoils("drop"), nothing, ""),
    Fault("answers twice", spoils("duplicate"), nothing, ""),
    Fault("answers out of order", spoils("reorder"), nothing, ""),
    Fault("damaged", spoils("corrupt"), nothing, "", only=lambda wire: wire.checked),
    Fault("garbage", spoils("garbage"), nothing, ""),
    Fault("clock + 1 h", clock(3600.0), nothing, "nothing"),
    Fault("clock - 1 h", clock(-3600.0), nothing, "nothing"),
    Fault("certificate expired", expired, rebooted, "connection", dies=True, tls=True),
)
