"""A client's commands (IEC 61850-7-2, clause 20): by the object's control model, with the device's own reason for a refusal."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from open61850.data import BitStringData, BoolData, IECData, IntData, OctetStringData, StructureData, UIntData, VisibleStringData
from open61850.mms.control import LastApplError
from open61850.mms.errors import DataAccessError, MmsError
from open61850.mms.pdu import InformationReport, ObjectName
from open61850.mms.types import MmsType, StructureType
from open61850.server.model import default_value

from vpp.wire.iec61850.layout import Control
from vpp.wire.iec61850.mms import Mms
from vpp.wire.iec61850.quality import ACCESS_BASE, ACCESS_ERRORS, ADD_CAUSES, NO_CAUSE, SELECT_FAILED, UNKNOWN, time_to
from vpp.wire.iec61850.values import data_of, dig, raw_of
from vpp.wire.link import Mode, Status

STATUS_ONLY, DIRECT, SELECT, DIRECT_ENHANCED, SELECT_ENHANCED = range(5)  # control models, IEC 61850-7-2, 20
REMOTE: Final = 3  # originator category: remote control
LAST_ERROR: Final = ObjectName("LastApplError")
CHECKS: Final = BitStringData(b"\xc0", 6)  # synchrocheck and interlocking, where the device has them
Fate = tuple[Status, int, str]


@dataclass(slots=True)
class Course:
    """A command under way: what the device tells of it beside the answers to the writes.

    Attributes:
        number: its ctlNum; what bears another belongs to an earlier command.
        at: where in an Oper the ctlNum lies, -1: nowhere.
        error: the last that the device told.
        ended: the device terminated it.
    """

    number: int
    at: int
    error: LastApplError | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Commands:
    """The commands of one association; of each object one at a time."""

    def __init__(self, mms: Mms, origin: bytes) -> None:
        """``origin`` names who commands."""
        self._mms = mms
        self._origin = StructureData([IntData(REMOTE), OctetStringData(origin[:64])])
        self._numbers = itertools.count(1)
        self._courses: dict[ObjectName, Course] = {}

    def hear(self, report: InformationReport) -> None:
        """Take a LastApplError or a CommandTermination."""
        error = None
        for name, result in zip(report.variables, report.results):
            if name == LAST_ERROR and not isinstance(result, DataAccessError):
                error = LastApplError.from_data(result)
        if error is not None:
            for name, course in self._courses.items():
                mine = error.control_object == str(name) or error.control_object.startswith(f"{name}$")
                if mine and error.ctl_num == course.number:
                    course.error = error
        for name, result in zip(report.variables, report.results):
            ended = self._courses.get(ObjectName(name.item.rpartition("$")[0], name.domain))
            if ended is None or not name.item.endswith("$Oper"):
                continue
            number = None if isinstance(result, DataAccessError) else raw_of(dig(result, (ended.at,)))
            if number in (None, ended.number):
                ended.ended.set()

    async def operate(self, control: Control, path: Sequence[str], raw: float, mode: Mode, now_ns: int) -> Fate:
        """Give a command, selecting first where the object's model asks for it."""
        if control.model == STATUS_ONLY:
            return Status.NOT_WRITABLE, -1, "the object is not controllable (ctlModel 0)"
        if mode == Mode.SELECT and control.model in (DIRECT, DIRECT_ENHANCED):
            return Status.NOT_SUPPORTED, -1, f"the object has no select (ctlModel {control.model})"
        if control.name in self._courses:
            return Status.NOT_SENT, -1, "a command to the object is still under way"
        number = next(self._numbers) & 0xFF
        values = {name: self._value(kind, path, raw, number, now_ns) for name, kind in control.services.items()}
        if any(values.get(name) is None for name in ("Oper", "SBOw") if name in values):
            return Status.NOT_SUPPORTED, -1, "the object takes another kind of value"
        names = [name for name, _ in control.services["Oper"].components]
        course = self._courses[control.name] = Course(number, names.index("ctlNum") if "ctlNum" in names else -1)
        try:
            return await self._run(control, values, course)
        finally:
            del self._courses[control.name]

    async def _run(self, control: Control, values: dict[str, IECData | None], course: Course) -> Fate:
        refusal = await self._select(control, values, course)
        if refusal is not None:
            return refusal
        refusal = await self._write(control, "Oper", values, course)
        if refusal is not None:
            if control.model in (SELECT, SELECT_ENHANCED):
                await self._write(control, "Cancel", values, Course(course.number, course.at))
            return refusal
        if control.model in (DIRECT_ENHANCED, SELECT_ENHANCED):
            await course.ended.wait()
            if course.error is not None:
                return _fate(course.error, None, "the device gave the command up")
        return Status.ACCEPTED, -1, ""

    async def _select(self, control: Control, values: dict[str, IECData | None], course: Course) -> Fate | None:
        if control.model == SELECT_ENHANCED:
            return await self._write(control, "SBOw", values, course)
        if control.model == SELECT:
            (answer,) = await self._mms.read([ObjectName(f"{control.name.item}$SBO", control.name.domain)])
            if isinstance(answer, DataAccessError):
                return _fate(course.error, answer, "not selected")
            if not isinstance(answer, VisibleStringData) or not answer.value:
                return Status.NOT_SELECTED, SELECT_FAILED if course.error is None else course.error.add_cause, "not selected"
        return None

    async def _write(self, control: Control, service: str, values: dict[str, IECData | None], course: Course) -> Fate | None:
        value = values.get(service)
        if value is None:
            return None if service == "Cancel" else (Status.NOT_SUPPORTED, -1, f"the object has no {service}")
        try:
            error = await self._mms.write(ObjectName(f"{control.name.item}${service}", control.name.domain), value)
        except MmsError as refused:
            return Status.DEVICE_FAILED, -1, str(refused)
        return None if error is None else _fate(course.error, error, f"{service} refused")

    def _value(self, kind: StructureType, path: Sequence[str], raw: float, number: int, now_ns: int) -> IECData | None:
        """The structure of an Oper, SBOw or Cancel; None where its value is of another kind."""
        members: list[IECData] = []
        for name, inner in kind.components:
            member: IECData | None
            if name == "ctlVal":
                member = _nested(inner, path, raw)
            else:
                fixed: dict[str, IECData] = {"origin": self._origin, "ctlNum": UIntData(number), "T": time_to(now_ns)}
                fixed |= {"Test": BoolData(False), "Check": CHECKS}
                member = fixed.get(name) or default_value(inner)
            if member is None:
                return None
            members.append(member)
        return StructureData(members)


def _nested(kind: MmsType, path: Sequence[str], raw: float) -> IECData | None:
    """A value in the structure that holds it (an analogue value has its number in .f or .i)."""
    if not path:
        return data_of(kind, raw)
    if not isinstance(kind, StructureType) or [name for name, _ in kind.components] != [path[0]]:
        return None
    inner = _nested(kind.components[0][1], path[1:], raw)
    return None if inner is None else StructureData([inner])


def _fate(error: LastApplError | None, access: DataAccessError | None, what: str) -> Fate:
    """A refusal: by its AddCause, and where that says nothing by the access error."""
    if error is not None and (access is None or error.add_cause not in (UNKNOWN, NO_CAUSE)):
        status = ADD_CAUSES.get(error.add_cause, Status.DEVICE_FAILED)
        return status, error.add_cause, f"{what}: {error.add_cause_name}"
    return access_fate(access, what) if access is not None else (Status.REJECTED, -1, what)


def access_fate(error: DataAccessError, what: str) -> Fate:
    """A refusal by an access error alone."""
    return ACCESS_ERRORS.get(error.code, Status.DEVICE_FAILED), ACCESS_BASE + error.code, f"{what}: {error}"
