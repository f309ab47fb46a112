"""``vpp hil``: the commands of one device, and those that need a scenario: emulate, run, parity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hil import console
from hil.cli import app
from scenarios.cli import INTERRUPTED, RUNS, Overrides, ScenarioArgument

if TYPE_CHECKING:
    from hil.watchdog import Arming
    from scenarios.build import RunResult
    from scenarios.mixed import Live
    from scenarios.schema import Scenario

FAILED: Final = 1
FAULTS: Final = (
    "Something that goes wrong; may be repeated; takes the place of the scenario's wire_faults. On the wire: drop, delay, slow, "
    "duplicate, reorder, endian, exception; in the device: freeze, reboot, clock. Keys: from_s, until_s, share, delay_s, code, "
    "step_s, device. For example drop,share=0.2,from_s=10,until_s=30 or reboot,from_s=60,until_s=75,device=inverter."
)
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where run directories go.", file_okay=False)]


def emulate(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="First port, counted up; 0: any free ones.")] = 5020,
    devices: Annotated[
        list[str] | None, typer.Option("--device", metavar="ID", help="A resource or an entry; may be repeated. Default: all.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="sunspec, modbus, dnp3, iec104 or iec61850.")] = "sunspec",
    device_map: Annotated[
        str,
        typer.Option(
            "--device-map", metavar="NAME", help="What a device's points are, on all but SunSpec. Default: by its kind."
        ),
    ] = "",
    family: Annotated[str, typer.Option(help="SunSpec models: modern (701-715), legacy (103, 120-124) or both.")] = "modern",
    apart: Annotated[bool, typer.Option("--apart", help="Every device at a port of its own, not 247 units a port.")] = False,
    plain: Annotated[int | None, typer.Option("--plain", metavar="PORT", help="The others and the meters, plain Modbus.")] = None,
    addresses: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all addresses, as --map takes them.")] = None,
    tls: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Over TLS, with certificate.pem, key.pem and authority.pem from there.")
    ] = None,
    faults: Annotated[list[str] | None, typer.Option("--fault", metavar="KIND[,KEY=VALUE…]", help=FAULTS)] = None,
) -> None:
    """Serve a scenario's devices over a protocol on its solved grid, second by second, until Ctrl-C or the end.

    Nobody controls them but who connects: the scenario's own controllers are not used.
    """
    import asyncio

    from rich.console import Console
    from rich.text import Text

    from hil.links import SCHEMES
    from hil.pace import MonotonicPace
    from scenarios.build import build
    from scenarios.emulate import emulate as make
    from scenarios.load import load
    from scenarios.wire_faults import override, put_faults

    if family not in ("modern", "legacy", "both"):
        raise typer.BadParameter("must be modern, legacy or both", param_hint="--family")
    if protocol not in SCHEMES:
        raise typer.BadParameter(f"must be one of {', '.join(SCHEMES)}", param_hint="--protocol")
    out = Console()
    wanted = load(scenario, [*(overrides or ()), *override(faults or ())])
    Console(stderr=True).print(f"building {wanted.name} and simulating its first step …", highlight=False)
    system = build(wanted)
    site = make(
        system, host=host, port=port, resources=tuple(devices or ()), family=family, apart=apart, plain_port=plain,
        protocol=protocol, device_map=device_map, tls=tls,
    )  # fmt: skip
    put_faults(site, system)

    async def go() -> None:
        site.emulator.step(int(system.plant.time_ns[0]))
        await site.emulator.start()
        try:
            told = site.addresses()
            lines = [f"{name}={where}" for name, where in told.items()]
            if addresses is not None:
                addresses.write_text("\n".join(lines) + "\n", "utf-8")
            for line in lines[:10]:
                out.print(Text(line, "cyan"), soft_wrap=True)
            if len(lines) > 10:
                out.print(f"… and {len(lines) - 10} more", soft_wrap=True)
            out.print(f"{len(lines)} devices, a step of {system.plant.dt_s:g} s; Ctrl-C ends it", soft_wrap=True)
            await site.emulator.run(MonotonicPace(), system.plant.time_ns, system.chain.dt_ns)
        finally:
            await site.emulator.stop()

    try:
        asyncio.run(go())
    except KeyboardInterrupt:
        out.print(f"ended after {site.emulator.steps} steps")
        raise typer.Exit(INTERRUPTED) from None


def run(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="ID=ADDRESS", help="lab=sunspec://HOST:PORT/UNIT?map=NAME; may be repeated."),
    ] = None,
    out: Out = RUNS,
    arm: Annotated[bool, typer.Option("--arm", help="Devices that are not emulated may be written to, within limits.")] = False,
    max_kw: Annotated[float | None, typer.Option(help="With --arm: most that one device is asked for [kW].")] = None,
    max_kwh: Annotated[float | None, typer.Option(help="With --arm: most energy through one device [kWh].")] = None,
    for_min: Annotated[float | None, typer.Option(help="With --arm: how long the leave holds [min].")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the run directory.")] = False,
) -> None:
    """Run a scenario on the wall clock with devices outside, the rest simulated on the same grid.

    What is asked of a device is a lease: it falls back by itself when this program stops. Ctrl-C takes everything back at once.
    """
    from hil.watchdog import Arming
    from scenarios.load import load
    from vpp.wire.clock import wall_ns

    limits = (max_kw, max_kwh, for_min)
    arming = None
    if arm:
        if max_kw is None or max_kwh is None or for_min is None or min(max_kw, max_kwh, for_min) <= 0:
            raise typer.BadParameter("needs --max-kw, --max-kwh and --for-min, each above 0", param_hint="--arm")
        arming = Arming(max_kw * 1e-3, max_kwh * 1e-3, wall_ns() + round(for_min * 60e9))
    elif any(limit is not None for limit in limits):
        raise typer.BadParameter("the limits belong to --arm", param_hint="--max-kw, --max-kwh, --for-min")
    _run(load(scenario, overrides or ()), tuple(maps or ()), arming, out, quiet)


def _run(scenario: Scenario, maps: tuple[str, ...], arming: Arming | None, out: Path, quiet: bool) -> None:
    import signal

    from rich.console import Console
    from rich.text import Text

    from scenarios.mixed import Live, run_mixed
    from scenarios.report import field
    from scenarios.report.progress import Watch
    from scenarios.report.terminal import summary

    console, live = Console(), Live()
    # SIGTERM takes back as Ctrl-C does: by way of the event loop, and not through the middle of it.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        with Watch(scenario.name, quiet=quiet) as watch:
            told: list[bool] = []

            def stage(text: str) -> None:
                if live.connected is not None and not told:
                    told.append(True)
                    for line in field.found(live):
                        watch.say(line)
                watch.stage(text)

            live.stage, watch.note = stage, lambda: field.note(live)
            result = run_mixed(scenario, maps, arming=arming, live=live, out=out, progress=watch)
    except KeyboardInterrupt:
        _say_interrupted(live, out / f"{scenario.name}-{scenario.hash[:10]}-hil")
        raise typer.Exit(INTERRUPTED) from None
    if quiet:
        typer.echo(result.path)
        return
    console.print(summary(result.manifest), "", field.field_summary(live), "")
    console.print(Text.assemble("look at it     ", (f"vpp dash {result.path}", "cyan")), soft_wrap=True)


def _say_interrupted(live: Live, path: Path) -> None:
    """Say what became of what was asked, and what an interrupted run has left."""
    from rich.console import Console
    from rich.text import Text

    from scenarios.report import field

    console = Console(stderr=True)
    if live.timing is None or not live.timing.ticks:
        console.print(Text("interrupted before the first tick; nothing was asked of a device", "yellow"))
        return
    console.print(Text("interrupted", "yellow"), field.field_summary(live), sep="\n")
    console.print(Text.assemble("look at it     ", (f"vpp dash {path}", "cyan")), soft_wrap=True)


def parity(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    wire: Annotated[str, typer.Option(help="modbus (float32), modbus-integer (scaled), dnp3, iec104, iec61850.")] = "modbus",
    out: Out = RUNS,
) -> None:
    """Run a scenario in process and over a wire on loopback, in lock-step, and certify that both decided the same."""
    from rich.console import Console
    from rich.text import Text

    from scenarios.hil import WIRES
    from scenarios.hil import parity as both
    from scenarios.load import load
    from vpp.historian.verify import verify

    if wire not in WIRES:
        raise typer.BadParameter(f"must be one of {', '.join(WIRES)}", param_hint="--wire")
    results: tuple[RunResult, RunResult] = both(load(scenario, overrides or ()), wire, out)
    a, b = (str(result.path) for result in results)
    verify(Path(a), Path(b))
    Console().print(Text.assemble("again          ", (f"vpp verify {a} {b}", "cyan")), soft_wrap=True)


for _name in ("scan", "read", "write", "watch", "latency"):
    # A negative value is no option.
    app.command(_name, context_settings={"ignore_unknown_options": _name == "write"})(getattr(console, _name))
for _command in (emulate, run, parity):
    app.command(_command.__name__)(_command)
