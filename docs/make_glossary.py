"""Write ``docs/glossary.md``: the signals, from the code that declares them, and the words that bind us.

Run by ``make glossary``; a test holds the file equal to what stands here and in ``vpp/kernel``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vpp.kernel import quality
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.settings import Settings
from vpp.kernel.signals import Signal, Signals
from vpp.kernel.telemetry import Telemetry

TARGET = Path(__file__).with_name("glossary.md")
SHEETS: tuple[type[Signals], ...] = (Telemetry, Setpoints, Settings)
WORDS = (
    ("resource", "one controllable DER or grid device. Not “unit”: that is MW"),
    ("fleet", "all resources as columns; a resource's position is a slot under a `layout` number"),
    ("sign", "injection (generation) is positive everywhere inside; loads and charging are negative"),
    ("names", "quantity, then unit: `p_mw q_mvar vm_pu va_degree i_ka f_hz e_mwh dt_s now_ns`; `soc` 0…1; time int64 ns UTC"),
    ("telemetry", "what is measured of the resources, each value with a quality and a source time"),
    ("point", "one addressed value on a wire; in `GridPoints`, one meter of the network"),
    ("quality", "good, questionable or invalid, with flags: substituted, blocked, stale, comm-lost, overflow"),
    ("setpoint", "asked of a resource now"),
    ("settings", "a resource's own curves, trips and priorities: written rarely, adopted and read back"),
    ("order", "asked of us by an operator, a grid operator or a market"),
    ("schedule", "planned over a horizon"),
    ("asked", "decided by us; it acts from the next tick on"),
    ("applied", "held by the device now, as read back"),
    ("delivered", "measured at the device's terminals"),
    ("seen", "everything that a decision may depend on, recorded as one"),
    ("envelope", "the band that a resource may use in this tick; it only narrows"),
    ("want", "what is proposed inside the envelope"),
    ("headroom, footroom", "room above, room below the present power"),
    ("proposer", "a controller that sets wants"),
    ("guard", "a controller that only narrows the envelope"),
    ("cause", "the owner of the bound or want that binds a setpoint: the operator's *why*"),
    ("shortfall", "by how much a group's limit cannot be held, whatever its members do; an event, never silent"),
    ("group", "resources whose summed power has a limit; groups form a forest (inverter ⊂ site ⊂ feeder ⊂ PCC)"),
    ("curtailment", "available minus delivered active power, where we capped it"),
    ("droop, deadband, ramp", "pu of frequency per pu of power; Hz; MW/s"),
    ("feeder, bus, node, branch", "radial part of a network; busbar; bus × phase; edge"),
    ("PCC, POI", "border of a site with the public grid; where a generating facility connects"),
    ("plant", "what is controlled: simulated, emulated, real, mixed, remote or replayed"),
    ("twin", "the plant's model"),
    ("emulator", "a model behind a real protocol"),
    ("HIL", "hardware in the loop: the tick with real links"),
    ("station, outstation", "controlling side (client, master); controlled side"),
    ("tick", "read, decide, write; what tick *k* asks acts from *k* + 1"),
    ("frame", "a frozen picture of a tick, for a planner or an estimator"),
    ("journal", "the lossless recent record: seen, asked, cause and events"),
    ("historian", "rounded, rolled-up series for ever"),
    ("ledger", "the record of commands, schedules, alarms and audit"),
)


def glossary() -> str:
    """The whole file."""
    parts = [
        "# Glossary",
        "*Made by `make glossary`; edit `vpp/kernel` or `docs/make_glossary.py` instead.*",
        "## Words",
        "These bind: code, records, pages and talk use them in this sense and no other.",
        _table(("term", "meaning"), [(f"**{term}**", meaning) for term, meaning in WORDS]),
        "## Signals",
        "Each sheet is one float64 block of shape (signals, resources); a signal is one row.",
        *(part for sheet in SHEETS for part in _sheet(sheet)),
        "## Quality",
        "One byte for each measured value: two bits of validity, and flags.",
        _table(("byte", "meaning"), [(str(byte), quality.describe(byte)) for byte in (0, 1, 2, 4, 8, 16, 32, 64)]),
    ]
    return "\n\n".join(parts) + "\n"


def _sheet(sheet: type[Signals]) -> list[str]:
    rows = [(f"`{signal.name}`", _unit(signal), _meaning(signal), _resolution(signal)) for signal in sheet.signals]
    about = (sheet.__doc__ or "").strip()
    return [f"### {sheet.__name__}", about, _table(("signal", "unit", "meaning", "recorded to"), rows)]


def _unit(signal: Signal) -> str:
    return "–" if signal.unit == "1" else signal.unit


def _meaning(signal: Signal) -> str:
    codes = ", ".join(f"{value} {name}" for value, name in enumerate(signal.flags))
    return f"{signal.meaning} ({codes})" if codes else signal.meaning


def _resolution(signal: Signal) -> str:
    return f"{signal.resolution:f}".rstrip("0").rstrip(".") if signal.resolution else "float64"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)


if __name__ == "__main__":
    TARGET.write_text(glossary(), "utf-8")
