"""Where the rows of a point table lie on a server, as its own types tell: value, quality and time, and what a control takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from open61850.data import IECData
from open61850.mms.errors import DataAccessError
from open61850.mms.pdu import AccessResult, ObjectName
from open61850.mms.types import MmsType, StructureType

from vpp.wire.iec61850.address import Address
from vpp.wire.iec61850.mms import Mms
from vpp.wire.iec61850.values import dig, raw_of

VALUE, QUALITY, TIME = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Place:
    """One row on the server.

    Attributes:
        name: the smallest variable that holds value, quality and time together.
        type: of the value.
        paths: where in it the value, the quality and the time lie, as positions; None: there is none.
        items: MMS names of the three, "" where there is none.
    """

    name: ObjectName
    type: MmsType
    paths: tuple[tuple[int, ...], tuple[int, ...] | None, tuple[int, ...] | None]
    items: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Control:
    """One controllable object on the server: its name in CO, its types by service, and its control model (7-2, 20)."""

    name: ObjectName
    services: dict[str, StructureType]
    model: int


@dataclass(frozen=True, slots=True)
class Part:
    """What a member of a data set tells of a row: its value, quality or time, and where in the member it lies."""

    row: int
    what: int
    path: tuple[int, ...]


@dataclass(slots=True)
class Layout:
    """What the server was found to have."""

    places: dict[int, Place] = field(default_factory=dict)
    controls: dict[int, Control] = field(default_factory=dict)
    types: dict[ObjectName, MmsType] = field(default_factory=dict)
    rows: dict[ObjectName, list[int]] = field(default_factory=dict)  # data object -> its rows

    def parts(self, member: ObjectName) -> list[Part]:
        """What a member of a data set tells of the rows."""
        return [
            Part(row, what, path)
            for row in self.rows.get(_object(member), ())
            for what, item in enumerate(self.places[row].items)
            if item and (path := self._within(member, item)) is not None
        ]

    def _within(self, member: ObjectName, item: str) -> tuple[int, ...] | None:
        if item != member.item and not item.startswith(member.item + "$"):
            return None
        whole = _walk(self.types.get(_object(member)), item.split("$")[3:])
        skipped = len(member.item.split("$")) - 3
        return whole[skipped:] if whole is not None and skipped >= 0 else None


async def discover(mms: Mms, addresses: Sequence[Address]) -> Layout:
    """Ask the server for the type of every data object of the addresses, and for the model of every control."""
    layout = Layout()
    objects = list(dict.fromkeys(address.object for address in addresses))
    for name, found in zip(objects, await asyncio.gather(*(mms.type_of(name) for name in objects))):
        if found is not None:
            layout.types[name] = found
    controls = [row for row, address in enumerate(addresses) if address.fc == "CO" and address.object in layout.types]
    models = await mms.read([addresses[row].beside("CF", "ctlModel") for row in controls])
    for row, model in zip(controls, models):
        control = _control(addresses[row], layout.types[addresses[row].object], model)
        if control is not None:
            layout.controls[row] = control
    for row, address in enumerate(addresses):
        place = _place(address, layout.types.get(address.object)) if address.fc != "CO" else None
        if place is not None:
            layout.places[row] = place
            layout.rows.setdefault(address.object, []).append(row)
    return layout


def _control(address: Address, found: MmsType, model: AccessResult | None) -> Control | None:
    number = None if isinstance(model, DataAccessError) else raw_of(model)
    if number is None or not isinstance(found, StructureType):
        return None
    services = {name: inner for name, inner in found.components if isinstance(inner, StructureType)}
    return Control(address.object, services, int(number)) if "Oper" in services else None


def _place(address: Address, found: MmsType | None) -> Place | None:
    whole = _walk(found, address.path[1:])
    if whole is None or found is None:
        return None
    names = (address.ln, address.fc, *address.path)
    for depth in range(len(whole) - 1, -1, -1):  # the nearest structure above the value that has a quality, or a time
        inner = _type_at(found, whole[:depth])
        beside = [name for name, _ in inner.components] if isinstance(inner, StructureType) else []
        if "q" in beside or "t" in beside:
            base = "$".join(names[: 3 + depth])
            have = [name in beside for name in ("q", "t")]
            return Place(
                ObjectName(base, address.ld),
                _type_at(found, whole),
                (whole[depth:], (beside.index("q"),) if have[0] else None, (beside.index("t"),) if have[1] else None),
                (address.item, f"{base}$q" if have[0] else "", f"{base}$t" if have[1] else ""),
            )
    return Place(ObjectName(address.item, address.ld), _type_at(found, whole), ((), None, None), (address.item, "", ""))


def _object(name: ObjectName) -> ObjectName:
    """The data object, in its functional constraint, that a variable belongs to."""
    return ObjectName("$".join(name.item.split("$")[:3]), name.domain)


def _walk(found: MmsType | None, path: Sequence[str]) -> tuple[int, ...] | None:
    """Positions of a path of names; None where the type has none."""
    out: list[int] = []
    for name in path:
        names = [one for one, _ in found.components] if isinstance(found, StructureType) else []
        if name not in names or not isinstance(found, StructureType):
            return None
        out.append(names.index(name))
        found = found.components[out[-1]][1]
    return tuple(out)


def _type_at(found: MmsType, path: Sequence[int]) -> MmsType:
    for at in path:
        assert isinstance(found, StructureType)
        found = found.components[at][1]
    return found


def part_of(data: AccessResult | None, path: tuple[int, ...] | None) -> IECData | None:
    """A part of an answer; None where there is none."""
    if path is None or isinstance(data, DataAccessError):
        return None
    return dig(data, path)
