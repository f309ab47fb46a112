"""Commands about one device: scan, read, write, watch, latency. They are hung into ``vpp hil`` by `scenarios.hil_cli`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

Address = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS", help="sunspec://HOST:PORT/UNIT, or modbus://…?map=NAME, dnp3://…, iec104://…", show_default=False
    ),
]
FAILED: Final = 1


def scan(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where to look; nothing is written.", show_default=False)],
    units: Annotated[
        str, typer.Option(metavar="A-B", help="Modbus units, outstations or stations to ask. Default: the usual ones.")
    ] = "",
    timeout_s: Annotated[float, typer.Option("--timeout", metavar="S", help="How long an answer may take.")] = 1.0,
) -> None:
    """Find out what is there: Modbus with SunSpec models and nameplate, IEC 104, DNP3 or MMS.

    With PROTOCOL://HOST:PORT only that protocol is tried.
    """
    from rich.console import Console
    from rich.text import Text

    from hil.scan import scan as look

    low, _, high = units.partition("-")
    try:
        wanted = range(int(low), int(high or low) + 1) if units else ()
    except ValueError:
        raise typer.BadParameter("must be like 1 or 1-10", param_hint="--units") from None
    found = asyncio.run(look(address, wanted, timeout_s))
    console = Console()
    for unit in found:
        console.print(Text.assemble((unit.title, "bold cyan"), f"  {unit.protocol}  {' · '.join(filter(None, unit.texts))}"))
        if unit.models:
            console.print(f"  models {', '.join(map(str, unit.models))}", soft_wrap=True)
        for what, value, of in unit.plate:
            console.print(f"  {what:15} {value:g} {of}")
        for finding in unit.findings:
            console.print(Text(f"  {finding}", "yellow"), soft_wrap=True)
    if not found:
        asked = f"no {units} answers" if units else "nobody answers to any protocol"
        console.print(Text(f"somebody listens at {address}, but {asked}", "yellow"), soft_wrap=True)
        raise typer.Exit(FAILED)


def read(
    address: Address, points: Annotated[list[str] | None, typer.Argument(metavar="[SIGNAL]…", show_default=False)] = None
) -> None:
    """Read a device's values, with units and quality."""
    import numpy as np

    from hil.links import Where
    from hil.look import lines, open_look

    async def go() -> list[tuple[str, str, str, str, str]]:
        look = await open_look(Where.of(address))
        try:
            rows = [i for i in look.rows(tuple(points or ())) if "r" in look.link.table.points[i].access]
            return lines(look.link.table, await look.link.read(np.array(rows, np.int64)))
        finally:
            await look.link.close()

    _print(asyncio.run(go()))


def _print(rows: list[tuple[str, str, str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("point", "value", "unit", "quality", "address"):
        table.add_column(name, justify="right" if name == "value" else "left")
    for row in rows:
        good = row[3] == "good"
        table.add_row(row[0], Text(row[1], "" if good else "yellow"), row[2], Text(row[3], "green" if good else "yellow"), row[4])
    Console().print(table)


def write(
    address: Address,
    point: Annotated[str, typer.Argument(metavar="SHEET.SIGNAL", show_default=False)],
    value: Annotated[float, typer.Argument(metavar="VALUE", help="In the signal's unit.", show_default=False)],
    arm: Annotated[bool, typer.Option("--arm", help="It is a real device, and I mean it.")] = False,
) -> None:
    """Write one value and read it back. A device that is not emulated (…?emulated=yes) needs --arm."""
    from rich.console import Console
    from rich.text import Text

    from hil.links import Where
    from hil.look import Wrote, open_look
    from hil.look import write as put
    from vpp.wire.link import Status

    where = Where.of(address)

    async def go() -> Wrote:
        look = await open_look(where)
        try:
            rows = [i for i in look.rows((point,)) if "w" in look.link.table.points[i].access]
            rows = rows or look.rows((point,))
            return await put(look, rows[0], value, arm, where.options.get("emulated") == "yes")
        finally:
            await look.link.close()

    wrote = asyncio.run(go())
    unit, name = wrote.point.signal_unit, f"{wrote.point.sheet}.{wrote.point.signal}"
    text = f"{name} ({wrote.point.address}): was {wrote.before:g}, asked {wrote.asked:g}, holds {wrote.after:g} {unit}"
    fine = wrote.status == Status.ACCEPTED
    console = Console()
    console.print(Text(text, "green" if fine else "yellow"), soft_wrap=True)
    if not fine:
        console.print(Text(f"{wrote.status.name.lower().replace('_', ' ')}: {wrote.reason}", "bold red"), soft_wrap=True)
        raise typer.Exit(FAILED)


def watch(
    address: Address,
    points: Annotated[list[str] | None, typer.Argument(metavar="[SIGNAL]…", show_default=False)] = None,
    every_s: Annotated[float, typer.Option("--every", metavar="S", help="Polling period.")] = 1.0,
    count: Annotated[int, typer.Option("--count", help="End after so many pictures; 0: until Ctrl-C.")] = 0,
) -> None:
    """Follow a device: a line for each value that changes."""
    from rich.console import Console
    from rich.text import Text

    from hil.links import Where
    from hil.look import lines, open_look
    from vpp.kernel.time import iso
    from vpp.wire.clock import wall_ns

    console = Console()

    async def go() -> None:
        import numpy as np

        look = await open_look(Where.of(address))
        before: dict[str, tuple[str, ...]] = {}
        seen = 0
        try:
            rows = [i for i in look.rows(tuple(points or ())) if "r" in look.link.table.points[i].access]
            async for batch in look.link.subscribe(np.array(rows, np.int64), every_s):
                for line in lines(look.link.table, batch):
                    if before.get(line[0]) != line:
                        before[line[0]] = line
                        good = line[3] == "good"
                        text = Text.assemble((iso(wall_ns())[:23], "dim"), f"  {line[0]:28} {line[1]:>12} {line[2]:5} ")
                        text.append(line[3], "green" if good else "yellow")
                        console.print(text, soft_wrap=True)
                seen += 1
                if count and seen >= count:
                    return
        finally:
            await look.link.close()

    asyncio.run(go())


def latency(
    address: Address,
    count: Annotated[int, typer.Option("--count", help="Readings of everything in the map.")] = 200,
) -> None:
    """Measure how long readings take: percentiles and histogram. Nothing is written."""
    from rich.console import Console
    from rich.text import Text

    from hil.links import Where
    from hil.look import open_look
    from hil.loop import Histogram
    from hil.pace import MonotonicPace

    async def go() -> tuple[Histogram, int]:
        look, clock, took = await open_look(Where.of(address)), MonotonicPace(), Histogram()
        try:
            for _ in range(count):
                begin = clock()
                await look.link.read()
                took.add((clock() - begin) / 1e9)
            return took, len(look.link.table.readable)
        finally:
            await look.link.close()

    took, points = asyncio.run(go())
    console = Console()
    console.print(
        f"{took.n} readings of {points} points; mean {1e3 * took.total_s / took.n:.3g} ms, worst {1e3 * took.worst_s:.3g} ms"
    )
    console.print("  ".join(f"p{round(100 * q)} ≤ {1e3 * took.quantile(q):.3g} ms" for q in (0.5, 0.9, 0.99)))
    most = max(n for _, n in took.rows())
    for edge, n in took.rows():
        name = f"≤ {1e3 * edge:g} ms" if edge < float("inf") else "beyond"
        console.print(Text.assemble(f"  {name:>12} {n:7d} ", ("█" * max(round(40 * n / most), 1), "cyan")))
