"""Figure (h): 200 emulated SunSpec devices on one solved grid, polled and commanded every second by the HIL loop.

`vpp hil emulate` serves the devices in a process of its own, each at a port of its own. The loop (this process, one event loop)
reads every device once a second, decides once a second and gives each a limit or a setpoint that differs from the last.
Reading: one device's whole map, from asking to decoded values. Setpoint to terminal: from the tick that asked until the power at
the terminals is what was asked, seen by meters that read ten batteries 20 times a second by connections of their own; the
emulator solves its grid once a second, too. The peer is pymodbus' asynchronous client, which then reads the same registers of
the same devices at the same pace, without decoding or supervising.

    python benchmarks/hil_fleet.py [--seconds 600] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from _common import SCENARIOS, show

from hil.assemble import field_plant
from hil.connect import connect, wish
from hil.loop import Loop, Timing, from_start
from hil.pace import MonotonicPace
from hil.plant import FieldPlant
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, Fleet, simple_fleet
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, News, Seen
from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.tick import Chain, Record
from vpp.wire.clock import wall_ns
from vpp.wire.link import Link
from vpp.wire.modbus.address import parse
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.modbus.client import ModbusLink
from vpp.wire.modbus.plan import make_plan
from vpp.wire.points import PointTable
from vpp.wire.supervisor import Policy

S: Final = 1_000_000_000
START_S: Final = 180.0  # the emulator may compile its kernels first
KEPT: Final = 15  # ticks; the sweep repeats itself after 17
METERS: Final = 10
METER_S: Final = 0.05
READ_GOAL_MS, CHANGE_GOAL_TICKS = 20.0, 2.0
EDGES_MS: Final = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1000)
EDGES_TICKS: Final = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 5.0)


class NoNews:
    """An inbox in which nothing ever is."""

    def take(self, now_ns: int) -> News:
        """Nothing."""
        return News()

    def note(self, now_ns: int, seen: Seen) -> None:
        """Nobody freezes frames here."""


@dataclass
class Sweep:
    """A proposer that asks every device for another power each tick: a tenth to nine tenths of what it has."""

    fleet: Fleet
    name: str = "sweep"
    safe: Safe = Safe.WITHDRAW
    ticks: int = 0

    def step(self, now_ns: int, seen: Seen, allowed: Any) -> Sequence[Event]:
        """Propose."""
        turn = (self.ticks * 7 + np.arange(self.fleet.n) * 3) % 17
        self.ticks += 1
        allowed.propose_p(self.fleet.p_max_mw * (0.02 + 0.01 * turn))
        return ()

    def state(self) -> State:
        """Nothing that matters."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing that matters."""


@dataclass
class Watch:
    """Knows what was asked of late, and when; every value of a device is another one, for `KEPT` ticks.

    Attributes:
        fleet: the devices.
        waits_s: how long each change took to be seen.
        overtaken: changes that were not seen before the next one was.
    """

    fleet: Fleet
    waits_s: list[float] = field(default_factory=list)
    overtaken: int = 0
    asked: deque[tuple[int, float, FloatArray]] = field(default_factory=lambda: deque(maxlen=KEPT))
    seen: dict[int, int] = field(default_factory=dict)

    def ask(self, k: int, record: Record) -> None:
        """A tick has decided."""
        number = self.asked[0][0] + 1 if self.asked else 0
        self.asked.appendleft((number, time.perf_counter(), record.decision.asked.setpoints.p_mw.copy()))

    def see(self, i: int, p_mw: float) -> None:
        """A meter shows the power of a device."""
        for number, since, asked in self.asked:
            if abs(p_mw - asked[i]) < 2e-3 * self.fleet.p_max_mw[i]:
                before = self.seen.get(i, -1)
                if number > before:
                    self.waits_s.append(time.perf_counter() - since)
                    self.overtaken += number - before - 1 if before >= 0 else 0
                    self.seen[i] = number
                return


async def meter(link: Link, i: int, watch: Watch) -> None:
    """Read one device's power for ever."""
    await link.connect(5.0)
    try:
        while True:
            batch = await link.read()
            watch.see(i, float(batch.value[0]))
            await asyncio.sleep(METER_S)
    finally:
        await link.close()


def timed(link: Link, took_s: list[float]) -> None:
    """Have every reading of a link's whole table measured."""
    inner, whole = link.read, len(link.table.readable)

    async def read(points: IntArray | None = None) -> Any:
        begin = time.perf_counter()
        batch = await inner(points)
        if batch.n == whole:
            took_s.append(time.perf_counter() - begin)
        return batch

    link.read = read  # type: ignore[method-assign]


def emulator(folder: Path, count: int) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """Start it; the process, and resource -> address."""
    told = folder / "addresses"
    entries = ["roof", "battery"]
    command = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from vpp.cli import main; main()"
    words = ["hil", "emulate", str(SCENARIOS / "hil_fleet.yaml"), "--port", "0", "--apart", "--addresses", str(told)]
    words += [word for entry in entries for word in ("--device", entry)]
    process = subprocess.Popen([sys.executable, "-c", command, *words], stdout=subprocess.DEVNULL)
    end = time.monotonic() + START_S
    while not (told.exists() and told.read_text("utf-8").endswith("\n")):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise SystemExit("the emulator does not come")
        time.sleep(0.2)
    lines = told.read_text("utf-8").split()
    step = max(len(lines) // count, 1)
    return process, dict(line.split("=", 1) for line in lines[::step][:count])


async def ours(
    addresses: dict[str, str], seconds: int
) -> tuple[Timing, list[float], Watch, FieldPlant, list[tuple[str, int, list[Any]]], float]:
    """Run the loop; timing, readings, changes, the plant, the blocks that were read, and seconds of processor time."""
    kinds = {name: "battery" if name.startswith("battery") else "pv" for name in addresses}
    wishes = [wish(f"{name}={address}", kinds) for name, address in addresses.items()]
    found = await connect(wishes, policy=Policy(period_s=1.0, connect_s=5.0))
    rated = []
    for wired in found.wired:
        point = next(p for p in wired.link.table.points if p.sheet == "setpoints" and p.signal in ("p_limit_mw", "p_mw"))
        rated.append(point.base if point.signal == "p_limit_mw" else 0.1)
    ids = tuple(kinds)
    control = np.array([CONTROL_FOLLOW if kinds[name] == "battery" else CONTROL_LIMIT for name in ids])
    p_max = np.array(rated)
    fleet = simple_fleet(
        np.where(control == CONTROL_FOLLOW, -p_max, 0.0), p_max, id=ids, kind=tuple(kinds.values()), control=control
    )
    plant = field_plant(fleet, found.wired, chance=np.random.default_rng)
    took_s, watch = list[float](), Watch(fleet)
    blocks = []
    for one in plant.stations:
        link: Any = one.keeper.link
        plan = make_plan(link.table, [parse(p) for p in link.table.points], link.table.readable, link.gap, frozenset())
        blocks.append((link.channel.host, link.channel.port, plan.blocks))
        timed(link, took_s)
    loop = Loop(plant, Chain(fleet, [Sweep(fleet)], [], S), NoNews(), MonotonicPace(), from_start(wall_ns(), S), watch.ask)
    await plant.start()
    stores = np.flatnonzero(control == CONTROL_FOLLOW)[:METERS].tolist()
    meters = [asyncio.create_task(meter(_of_power(found.wired[i].link), i, watch)) for i in stores]
    try:
        silent = await plant.up(30.0)
        if silent:
            raise SystemExit(f"{len(silent)} devices are silent, first {silent[0]}")
        await loop.run(2)
        loop.timing = Timing()
        took_s.clear()
        watch.waits_s.clear()
        watch.overtaken = 0
        before = time.process_time()
        await loop.run(seconds)
        spent = time.process_time() - before
    finally:
        for task in meters:
            task.cancel()
        await asyncio.gather(*meters, return_exceptions=True)
        await plant.stop()
    return loop.timing, took_s, watch, plant, blocks, spent


def _of_power(link: Any) -> Link:
    """A link of its own to a device's active power alone."""
    (point,) = (p for p in link.table.points if (p.sheet, p.signal) == ("telemetry", "p_mw"))
    return ModbusLink(PointTable((point,)), TcpChannel(link.channel.host, link.channel.port), clock=wall_ns)


async def peer(blocks: list[tuple[str, int, list[Any]]], seconds: int) -> tuple[list[float], float]:
    """The client of pymodbus on the same registers of the same devices: readings and seconds of processor time."""
    from pymodbus.client import AsyncModbusTcpClient

    took_s: list[float] = []

    async def follow(k: int, host: str, port: int, own: list[Any]) -> None:
        client = AsyncModbusTcpClient(host, port=port)
        await client.connect()
        loop = asyncio.get_running_loop()
        try:
            due = loop.time() + k / len(blocks)
            for _ in range(seconds):
                await asyncio.sleep(max(due - loop.time(), 0))
                begin = time.perf_counter()
                for block in own:
                    answer = await client.read_holding_registers(block.start, count=block.count, device_id=block.unit)
                    assert not answer.isError()
                took_s.append(time.perf_counter() - begin)
                due += 1.0
        finally:
            client.close()

    before = time.process_time()
    await asyncio.gather(*(follow(k, *one) for k, one in enumerate(blocks)))
    return took_s, time.process_time() - before


def histogram(values: Sequence[float], edges: Sequence[float], unit: str) -> list[tuple[str, str]]:
    """Lines of a histogram."""
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) if len(values) else np.zeros(1, int)
    most = max(int(counts.max()), 1)
    names = [f"  ≤ {edge:g} {unit}" for edge in edges] + ["  beyond"]
    return [(name, f"{n:7d} {'█' * round(40 * n / most)}") for name, n in zip(names, counts.tolist()) if n]


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="how long the loop runs")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--peer-seconds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, addresses = emulator(Path(folder), args.devices)
        try:
            timing, took_s, watch, plant, blocks, spent = asyncio.run(ours(addresses, args.seconds))
            peers_s, peer_spent = asyncio.run(peer(blocks, min(args.peer_seconds, args.seconds)))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    missing = sum(s.keeper.statistics.missing for s in plant.stations)
    tally = [sum(getattr(s.tally, name) for s in plant.stations) for name in ("sent", "accepted")]
    read_ms, peer_ms, ticks = 1e3 * np.array(took_s), 1e3 * np.array(peers_s), np.array(watch.waits_s)
    p99, peer_p99 = (float(np.percentile(one, 99)) for one in (read_ms, peer_ms))
    change = float(np.percentile(ticks, 99)) if len(ticks) else float("nan")
    half = float(np.median(ticks)) if len(ticks) else float("nan")
    per, peer_per = 1e3 * spent / len(read_ms), 1e3 * peer_spent / len(peer_ms)
    rows = [
        ("ticks", f"{timing.ticks}, {timing.missed} missed (goal: none); a tick took at most {1e3 * timing.took.worst_s:.1f} ms"),
        ("readings", f"{len(read_ms)}, {missing} points missing"),
        ("p50, p99, worst of a reading", f"{np.median(read_ms):.2f}, {p99:.2f} (goal: {READ_GOAL_MS:g}), {read_ms.max():.1f} ms"),
        *histogram(read_ms.tolist(), EDGES_MS, "ms"),
        ("values written", f"{tally[1]} of {tally[0]} taken"),
        ("p50, p99 setpoint to terminal", f"{half:.2f}, {change:.2f} ticks (goal: {CHANGE_GOAL_TICKS:g}) of {len(ticks)}"),
        ("changes overtaken by the next", str(watch.overtaken)),
        *histogram(watch.waits_s, EDGES_TICKS, "ticks"),
        ("processor time a reading, with its command", f"{per:.2f} ms"),
        (f"pymodbus {args.devices} devices, reading only", f"p99 {peer_p99:.2f} ms, {peer_per:.2f} ms of processor time"),
        ("ratio of p99", f"{p99 / peer_p99:.2f}"),
        ("processors, load", f"{os.cpu_count()}, {os.getloadavg()[0]:.1f}"),
    ]
    results = {
        "devices": len(addresses), "seconds": args.seconds, "missed": timing.missed, "read_p99_ms": p99,
        "change_p99_ticks": change,
        "overtaken": watch.overtaken,
        "peer_p99_ms": peer_p99, "cpu_ms": per, "peer_cpu_ms": peer_per, "ratio": p99 / peer_p99, "load": os.getloadavg()[0],
    }  # fmt: skip
    show(f"(h) {len(addresses)} emulated SunSpec devices for {args.seconds} s, polled and commanded at 1 s", rows, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
