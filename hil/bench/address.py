"""Laboratories by address: a SunSpec device, and the instruments around it.

    sunspec://HOST:PORT/UNIT?grid=HOST:PORT&dc=HOST:PORT&meter=HOST:PORT&v_nom=277

Instruments speak SCPI; those at one address share a connection. Without a grid or DC source procedures that need one are
not run, without a meter verdicts are self-reported. An emulated laboratory has a ``clock``, which is also its meter:
bench and emulator go in lock-step.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

from hil.bench.guard import GuardedEut, GuardedMeter
from hil.bench.laboratory import Laboratory, WallClock
from hil.bench.ports import Eut, Meter
from hil.bench.scpi import LockStep, ScpiDc, ScpiGrid, ScpiLink, ScpiMeter
from hil.bench.sunspec import SunSpecRegisters
from hil.bench.wire import WireEut
from hil.links import Where
from hil.watchdog import Arming
from vpp.kernel.errors import LinkError
from vpp.wire.modbus.channel import TcpChannel

OPTIONS: Final = ("grid", "dc", "meter", "clock", "v_nom", "f_nom", "emulated")
YES: Final = ("yes", "true", "1")
LOOKS: Final = 5  # readings that find out how fast it can be measured
DEVICE_S, MODEL_S = 2.0, 30.0  # deadline of an exchange; a model answers when it has been computed
BEGINS_S: Final = 120.0  # an emulator may compile for a while
ENDS_S: Final = 10.0


@contextmanager
def laboratory_at(address: str, arming: Arming | None = None) -> Iterator[Laboratory]:
    """The laboratory at an address; leaving the context closes its links.

    Raises:
        LinkError: it cannot be reached, is not armed, or the address says something else than it should.
    """
    where = Where.of(address, "sunspec")
    unknown = sorted(set(where.options) - set(OPTIONS))
    if unknown or where.protocol != "sunspec":
        there = f"there is no option {unknown[0]!r}; there are {', '.join(OPTIONS)}" if unknown else "the bench speaks SunSpec"
        raise LinkError(str(where), there)
    with ExitStack() as stack:
        f_nom_hz, v_nom = _number(where, "f_nom"), _number(where, "v_nom")
        emulated = where.options.get("emulated", "no") in YES
        timeout_s = MODEL_S if emulated else DEVICE_S
        channel = TcpChannel(where.host, where.port)
        registers = SunSpecRegisters(channel, where.unit, f_nom_hz=f_nom_hz, timeout_s=timeout_s, name=str(where))
        wire = stack.enter_context(WireEut(registers, 30.0 * timeout_s, str(where)))
        links: dict[str, ScpiLink] = {}
        for role in ("grid", "dc", "meter", "clock"):
            if role in where.options and where.options[role] not in links:
                links[where.options[role]] = stack.enter_context(_scpi(where.options[role], timeout_s))
        link = {role: links[there] for role, there in where.options.items() if there in links}
        volts = v_nom or registers.v_nom
        step = LockStep(link["clock"], volts) if "clock" in link else None
        meter: Meter | None = ScpiMeter(link["meter"], volts) if "meter" in link else step
        eut: Eut = wire
        if not emulated:
            guarded = GuardedEut(wire, arming, str(where))
            eut, meter = guarded, GuardedMeter(meter, guarded) if meter is not None else None
        lab = Laboratory(
            eut,
            step or WallClock(),
            ScpiGrid(link["grid"], volts) if "grid" in link else None,
            ScpiDc(link["dc"]) if "dc" in link else None,
            meter,
            step if eut is wire and meter is step else None,
            fastest_s=0.0 if step else _fastest_s(meter or eut),
            name=str(where),
        )
        yield lab


def _scpi(text: str, timeout_s: float) -> ScpiLink:
    parts = urlsplit(text if "://" in text else f"scpi://{text}")
    if parts.scheme != "scpi" or not parts.hostname or parts.port is None:
        raise LinkError(text, "an instrument stands at scpi://HOST:PORT")
    return ScpiLink(parts.hostname, parts.port, timeout_s)


def _number(where: Where, name: str) -> float:
    try:
        return float(where.options.get(name, 0.0))
    except ValueError:
        raise LinkError(str(where), f"{name} must be a number, not {where.options[name]!r}") from None


def _fastest_s(meter: Meter | Eut) -> float:
    """The shortest interval at which measurements can be had: the slowest of a few."""
    clock, slowest = WallClock(), 0.0
    for _ in range(LOOKS):
        begin = clock.now_s()
        meter.measure()
        slowest = max(slowest, clock.now_s() - begin)
    return slowest


@contextmanager
def emulator(model: str = "") -> Iterator[Laboratory]:
    """Our emulated inverter in another process, with the laboratory around it; bench and emulator go in lock-step.

    Raises:
        LinkError: it does not come.
    """
    command = [sys.executable, "-c", "from vpp.cli import main; main()", "hil", "device", "--lock-step", "--attached"]
    command += ["--port", "0", "--control-port", "0", *(["--model", model] if model else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            with laboratory_at(_told(process)) as lab:
                lab.name = "emulator"
                yield lab
        finally:
            assert process.stdin is not None
            process.stdin.close()  # it ends with that
            try:
                process.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _told(process: subprocess.Popen[str]) -> str:
    """The address that the process tells."""
    assert process.stdout is not None
    late = threading.Timer(BEGINS_S, process.kill)
    late.start()
    try:
        line = process.stdout.readline().strip()
    finally:
        late.cancel()
    if not line.startswith("sunspec://"):
        raise LinkError("emulator", "does not come" + (f": {line}" if line else ""))
    return line
