"""The register layout of a device: marker, models one behind the other, end; every register with its path.

A path is ``model.point`` or ``model.group[index].…point`` with indices from 0: ``704.WSet``, ``705.Crv[0].Pt[3].V``.
A model that stands in a device twice carries its number there: ``802#1.SoC`` is the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from vpp.kernel.errors import PointError
from vpp.wire.sunspec.models import TYPES, GroupDef, PointDef, definition

BASE: Final = 40000
BASES: Final = (40000, 0, 50000)  # where a master looks; Device Information Model Specification, section 6.2
MARKER: Final = (0x5375, 0x6E53)  # "SunS"
END: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Register:
    """One point of a laid-out device.

    Attributes:
        path: its name in the device.
        at: place from the device's first register (the marker).
        point: the definition.
        sf: path of the scale factor, "" for none.
        exponent: the scale factor where the definition has a constant.
    """

    path: str
    at: int
    point: PointDef
    sf: str = ""
    exponent: int = 0

    @property
    def number(self) -> bool:
        """Whether it holds a number, and not a text or an address."""
        return self.point.type in TYPES


@dataclass(frozen=True, slots=True)
class ModelSpan:
    """Where a model stands: its name in paths, its place, its length L (without ID and L), and how often groups repeat."""

    name: str
    model: int
    at: int
    length: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """All registers of a device.

    Attributes:
        registers: by path, in their order.
        models: the models, in their order.
        words: how many registers, the end model included.
        base: Modbus address of the first.
    """

    registers: Mapping[str, Register]
    models: tuple[ModelSpan, ...]
    words: int
    base: int = BASE
    _at: Mapping[int, Register] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the registers by place."""
        index = {r.at + i: r for r in self.registers.values() for i in range(r.point.words)}
        object.__setattr__(self, "_at", index)

    def __contains__(self, path: str) -> bool:
        """Whether a path is there."""
        return path in self.registers

    def at(self, place: int) -> Register | None:
        """The register that holds a place; None for the marker and the end."""
        return self._at.get(place)

    def address(self, path: str) -> int:
        """Modbus address of a path. Raises `PointError`."""
        return self.base + self.find(path).at

    def find(self, path: str) -> Register:
        """The register of a path. Raises `PointError`."""
        try:
            return self.registers[path]
        except KeyError:
            raise PointError(path, "there is no such register in the device") from None

    def has(self, model: int) -> bool:
        """Whether a model is there."""
        return any(span.model == model for span in self.models)


def lay_out(models: Sequence[tuple[int, Mapping[str, int]]], base: int = BASE) -> Layout:
    """Lay models out in order: (model, how often its groups repeat: point name -> count)."""
    registers: dict[str, Register] = {}
    spans: list[ModelSpan] = []
    at = len(MARKER)
    for model, counts in models:
        name = model_name(model, spans)
        wanted = {point: counts.get(point, 0) for point in count_points(model)}
        own = model_registers(model, name, at, wanted)
        end = own[-1].at + own[-1].point.words
        registers.update((r.path, r) for r in own)
        spans.append(ModelSpan(name, model, at, end - at - 2, wanted))
        at = end
    return Layout(registers, tuple(spans), at + 2, base)


def model_registers(model: int, name: str, at: int, counts: Mapping[str, int]) -> list[Register]:
    """The registers of one model whose ID stands at ``at``. Raises `PointError` for an unknown model."""
    return list(_laid_out(model, name, at, tuple(sorted(counts.items()))))


@lru_cache(maxsize=1000)  # the devices of a fleet are mostly alike
def _laid_out(model: int, name: str, at: int, counts: tuple[tuple[str, int], ...]) -> tuple[Register, ...]:
    return tuple(_registers(definition(model), name, at, dict(counts), {}))


def model_name(model: int, before: Sequence[ModelSpan]) -> str:
    """Name of a model in paths, the models before it known."""
    again = sum(span.model == model for span in before)
    return f"{model}#{again}" if again else str(model)


def _registers(group: GroupDef, path: str, at: int, counts: Mapping[str, int], scales: Mapping[str, str]) -> Iterator[Register]:
    """The registers of one instance of a group, from ``at`` on; ``scales`` are the scale factors in reach."""
    scales = {**scales, **{p.name: f"{path}.{p.name}" for p in group.points if p.type == "sunssf"}}
    for point in group.points:
        exponent = int(point.sf) if point.sf.lstrip("-").isdigit() else 0
        yield Register(f"{path}.{point.name}", at, point, scales.get(point.sf, ""), exponent)
        at += point.words
    for inner in group.groups:
        for i in range(_times(inner, counts)):
            where = f"{path}.{inner.name}[{i}]" if inner.count else f"{path}.{inner.name}"
            for register in _registers(inner, where, at, counts, scales):
                yield register
                at = max(at, register.at + register.point.words)


def _times(group: GroupDef, counts: Mapping[str, int]) -> int:
    if not group.count:
        return 1
    return int(group.count) if group.count.isdigit() else counts.get(group.count, 0)


def count_points(model: int) -> tuple[str, ...]:
    """Names of the points that say how often the model's groups repeat."""

    def names(group: GroupDef) -> Iterator[str]:
        for inner in group.groups:
            if inner.count and not inner.count.isdigit():
                yield inner.count
            yield from names(inner)

    return tuple(dict.fromkeys(names(definition(model))))
