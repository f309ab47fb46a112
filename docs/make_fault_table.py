"""Measure what finds each fault of the wire, and after how long, and write ``docs/wire-faults.md``.

    python docs/make_fault_table.py [PROTOCOL …]

Without a protocol all are measured; named ones are printed only. It takes about a minute a protocol: faults play side by side.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.wire import certificates  # noqa: E402 - the harness belongs to the tests
from tests.wire.faults import FAULTS, Fault, Found, play  # noqa: E402
from tests.wire.stage import Stage, Wire, staged  # noqa: E402
from tests.wire.wires import WIRES  # noqa: E402
from vpp.wire.link import Status  # noqa: E402
from vpp.wire.supervisor import Policy  # noqa: E402
from vpp.wire.tls import client_context, server_context  # noqa: E402

PAGE = ROOT / "docs" / "wire-faults.md"
POLICY = Policy(connect_s=5.0, back_off_max_s=1.0)
LEASE_S = 6.0
AT_ONCE = 4  # faults that play side by side
NAMES = {"modbus": "Modbus TCP (SunSpec)", "dnp3": "DNP3", "iec104": "IEC 60870-5-104", "iec61850": "IEC 61850 MMS"}
HEAD = """# Faults of the wire

Written by `docs/make_fault_table.py`: seconds (rounded up to a half) as measured once, on loopback, through the whole chain:
session, supervisor, wire, emulated device with leases. What they must not exceed is held by `tests/wire/test_faults.py`, in
events instead of seconds.

The links are kept with {policy};
leases are {lease:g} s.

- **Seen after**: from the fault to the first value that is no longer good. By the connection: at once. By heartbeats: within
  `misses` × (`heartbeat_s` + `heartbeat_timeout_s`) = {bound:g} s; a reading that stays without an answer may tell before, or
  alone. What is mended before anything is due passes unseen (–). Late answers take longer on DNP3: a link status has no number,
  so a late one passes for that to the next heartbeat.
- **Safe after**: from the fault to the device leading itself, where the fault lasts so long. Within its lease, counted by the
  device from the last command that it took. A device that reboots is safe at once; the others (–) were told again in time.
- **Well after**: from the fault's end until every value is good and the device holds what was asked last. Within the try to
  connect that is under way (`connect_s`) and the back-off.
- **Unanswered**: commands of which nobody can say whether they acted; they are told as such, and given again.
- **Lost**: commands called accepted that the device did not take, and good values that nobody published.

No clock of day is asked for anything but stamps: it may be set by an hour in either direction.
"""
FOOT = """
## A part that calls itself all

5,440 of 10,000 points (what c104 brings of a general interrogation, and calls complete; 544 of 1,000 on 61850): on every protocol
what is missing is counted, the reading counted as incomplete, it is in the log, and the points are NaN, invalid and comm-lost.
They are asked for again with the next full reading (`integrity_s`) or connection.

## What a spoilt message does

- **Modbus**: an answer that comes twice, late or out of its order is passed over, since its transaction is over; garbage ends the
  connection where no header is found. A damaged octet is not seen: the protocol leaves check sums to TCP.
- **DNP3**: every block has a check sum; what is damaged is passed over and asked for again, and frames are found again behind it.
- **104**: frames are numbered, so one that is lost, doubled or out of order ends the connection (IEC 60870-5-104, 5.1), and so
  does what does not begin with its start. A damaged octet inside a value is not seen.
- **61850**: answers carry the number of their request, as on Modbus; garbage ends the connection where no TPKT is found.
"""


async def one(wire: Wire, fault: Fault, folder: Path) -> tuple[Found, Stage]:
    """Play one fault."""
    held = certificates.make(folder) if fault.tls else {}
    tls = (server_context(held["server"]), client_context(held["client"])) if fault.tls else None
    async with staged(wire, POLICY, LEASE_S, tls) as s:
        s.expired = server_context(held["server, expired"]) if fault.tls else None
        return await play(s, fault), s


async def measure(wire: Wire, folder: Path) -> list[str]:
    """The rows of one protocol; what sets the machine's clock plays alone."""
    faults = [fault for fault in FAULTS if fault.only(wire)]
    together = [fault for fault in faults if "clock" not in fault.name]
    done: dict[Fault, tuple[Found, Stage]] = {}
    for begin in range(0, len(together), AT_ONCE):
        part = together[begin : begin + AT_ONCE]
        done |= zip(part, await asyncio.gather(*(one(wire, fault, folder) for fault in part)))
    for fault in faults:
        if fault not in done:
            done[fault] = await one(wire, fault, folder)
    return [row(fault, *done[fault]) for fault in faults]


def row(fault: Fault, found: Found, s: Stage) -> str:
    """One line of the table."""
    statuses = [status for _, status in s.outcomes]
    accepted = {value for value, status in s.outcomes if status == Status.ACCEPTED}
    lost = len(accepted - set(s.taken)) + len(s.lies)
    times = [found.detected_s, found.safe_s, found.recovered_s]
    seen = "–" if np.isnan(found.detected_s) else "reading" if found.by == "nothing" else found.by
    return "| " + " | ".join([fault.name, seen, *map(told, times), str(statuses.count(Status.TIMEOUT)), str(lost)]) + " |"


def told(seconds: float) -> str:
    """A time, rounded up to half a second: what is below one is at once, on a machine that has other things to do."""
    return "–" if np.isnan(seconds) else "< 1" if seconds < 1.0 else f"{np.ceil(2 * seconds) / 2:.1f}"


def table(rows: Sequence[str]) -> str:
    """A table with its head."""
    head = "| fault | seen by | seen after [s] | safe after [s] | well after [s] | unanswered | lost |"
    return "\n".join([head, "| --- " * 7 + "|", *rows]) + "\n"


def main() -> None:
    """Measure and write."""
    named = sys.argv[1:]
    parts = []
    for wire in WIRES:
        if not named or wire.name in named:
            with tempfile.TemporaryDirectory() as folder:
                rows = asyncio.run(measure(wire, Path(folder)))
            parts.append(f"\n## {NAMES[wire.name]}\n\n{table(rows)}")
    p = POLICY
    beats = f"heartbeats every {p.heartbeat_s:g} s, {p.heartbeat_timeout_s:g} s for an answer, {p.misses} misses"
    policy = f"{beats}, {p.connect_s:g} s to connect, a back-off of {p.back_off_s:g} … {p.back_off_max_s:g} s"
    head = HEAD.format(policy=policy, lease=LEASE_S, bound=p.misses * (p.heartbeat_s + p.heartbeat_timeout_s))
    if named:
        print("".join(parts))
    else:
        PAGE.write_text(head + "".join(parts) + FOOT)


if __name__ == "__main__":
    main()
