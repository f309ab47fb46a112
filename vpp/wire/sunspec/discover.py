"""Discovery: find the marker, walk the models, read everything once, and say what a device is.

SunSpec Device Information Model Specification V1.1, section 6.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vpp.kernel.errors import Finding, LinkError, PointError
from vpp.wire.modbus.channel import Channel
from vpp.wire.modbus.pdu import MAX_READ_WORDS, ModbusError, Space, Words, ask_read, told, told_values
from vpp.wire.sunspec.images import Images
from vpp.wire.sunspec.layout import BASES, END, MARKER, Layout, ModelSpan, Register, count_points, model_name, model_registers

LONGEST: Final = 20000  # registers after which a chain of models without an end is given up


@dataclass(frozen=True, slots=True)
class Discovered:
    """A device that was found.

    Attributes:
        unit: its unit identifier.
        image: one row: layout and registers as they were read.
        findings: models that are unknown, or whose length is not what their definition says.
    """

    unit: int
    image: Images
    findings: tuple[Finding, ...]

    @property
    def layout(self) -> Layout:
        """Where what stands."""
        return self.image.layout

    @property
    def models(self) -> frozenset[int]:
        """Numbers of the models whose registers are known."""
        return frozenset(span.model for span in self.layout.models)

    def value(self, path: str) -> float:
        """A value as it was read; NaN where it is not implemented or not there."""
        return float(self.image.get(path)[0]) if path in self.layout else float("nan")


async def read_words(channel: Channel, unit: int, start: int, count: int, timeout_s: float = 1.0) -> Words:
    """Read holding registers, in as many requests as it takes. Raises `ModbusError`, TimeoutError, `LinkError`."""
    parts = []
    while count > 0:
        part = min(count, MAX_READ_WORDS)
        pdu = ask_read(Space.HOLDING, start, part)
        parts.append(told_values(Space.HOLDING, part, told(pdu, await channel.ask(unit, pdu, timeout_s))))
        start, count = start + part, count - part
    return np.concatenate(parts) if parts else np.zeros(0, np.uint16)


async def discover(channel: Channel, unit: int = 1, bases: Sequence[int] = BASES, timeout_s: float = 1.0) -> Discovered:
    """Walk the models of a device. Raises `LinkError` where there is none that speaks SunSpec."""
    base, why = -1, ""
    for candidate in bases:
        try:
            if tuple(await read_words(channel, unit, candidate, 2, timeout_s)) == MARKER:
                base = candidate
                break
        except (ModbusError, TimeoutError, ValueError) as error:
            why = str(error) or "no answer"
    if base < 0:
        raise LinkError(f"unit {unit}", f"no SunSpec marker at {', '.join(map(str, bases))}" + (f" ({why})" if why else ""))
    try:
        return await _walk(channel, unit, base, timeout_s)
    except (ModbusError, TimeoutError, ValueError) as error:
        raise LinkError(f"unit {unit}", f"the chain of models breaks off: {str(error) or 'no answer'}") from error


async def _walk(channel: Channel, unit: int, base: int, timeout_s: float) -> Discovered:
    words = [np.array(MARKER, np.uint16)]
    at = len(MARKER)
    registers: dict[str, Register] = {}
    spans: list[ModelSpan] = []
    findings: list[Finding] = []
    while True:
        model = int((await read_words(channel, unit, base + at, 1, timeout_s))[0])
        if model == END:
            break
        length = int((await read_words(channel, unit, base + at + 1, 1, timeout_s))[0])
        if at + length > LONGEST:
            raise ValueError(f"no end within {LONGEST} registers")
        body = await read_words(channel, unit, base + at + 2, length, timeout_s)
        words += [np.array([model, length], np.uint16), body]
        own, span, wrong = _understand(model, at, np.concatenate(words[-2:]), spans)
        findings += wrong
        if span is not None:
            spans.append(span)
            registers.update((r.path, r) for r in own)
        at += length + 2
    words.append(np.array([END, 0], np.uint16))
    layout = Layout(registers, tuple(spans), at + 2, base)
    return Discovered(unit, Images.read(layout, np.concatenate(words)[None, :]), tuple(findings))


def _understand(
    model: int, at: int, words: Words, before: Sequence[ModelSpan]
) -> tuple[list[Register], ModelSpan | None, list[Finding]]:
    """The registers of a model by its definition and its own counts."""
    name, length = model_name(model, before), len(words) - 2
    try:
        bare = {r.path: r for r in model_registers(model, name, at, {})}
    except PointError as error:
        return [], None, [Finding(error.reason, path=f"model {model}", severity="warning")]
    counts = {}
    for point in count_points(model):
        place = bare[f"{name}.{point}"].at - at
        value = int(words[place]) if place < len(words) else 0
        counts[point] = 0 if value == 0xFFFF else value
    own = model_registers(model, name, at, counts)
    true = own[-1].at + own[-1].point.words - at - 2
    wrong = []
    if true != length:
        wrong = [
            Finding(f"is {length} registers long where its definition says {true}", path=f"model {name}", severity="warning")
        ]
    own = [r for r in own if r.at + r.point.words <= at + len(words)]  # a device may leave out what is at the end
    return own, ModelSpan(name, model, at, length, counts), wrong
