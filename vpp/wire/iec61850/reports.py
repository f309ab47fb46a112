"""A client's report control blocks (IEC 61850-7-2, clause 17): found, reserved, enabled, and held to what they promise.

Every report is counted: a number missing in the sequence, a buffer that overflowed, or an integrity report that did not bring
every member is told, and the rows are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from open61850.data import BitStringData, BoolData, IECData, IntData, OctetStringData, UIntData, VisibleStringData
from open61850.mms.errors import DataAccessError, MmsError
from open61850.mms.pdu import AccessResult, InformationReport, ObjectName
from open61850.mms.report import OptFlds, Report, ReportDecodeError, TrgOps, decode_report, is_report
from open61850.mms.types import StructureType

from vpp.wire.iec61850.layout import QUALITY, TIME, VALUE, Layout, Part, part_of
from vpp.wire.iec61850.mms import Mms
from vpp.wire.logs import LinkLog

TRIGGERS: Final = TrgOps(data_change=True, quality_change=True, integrity=True, general_interrogation=True)
FIELDS: Final = OptFlds(
    sequence_number=True, report_time_stamp=True, reason_for_inclusion=True, data_set_name=True, buffer_overflow=True,
    entry_id=True, conf_revision=True,
)  # fmt: skip
RESERVED_S: Final = 60  # how long a buffered block stays ours after a loss
Told = AccessResult | None  # None: not told
Sample = tuple[int, Told, Told, Told]  # row, value, quality, time
Offer = tuple[ObjectName, list[ObjectName], list[list[Part]]]  # data set, its blocks, what its members tell


@dataclass(slots=True)
class Block:
    """A block that is enabled for us.

    Attributes:
        name: of the block.
        data_set: that it reports.
        members: what each member tells of our rows.
        id: RptID.
        revision: ConfRev.
        sequence: number of the last report, -1: none came.
        wholes: whole reports that came.
        enabled: what comes before that was kept by its buffer.
        rows: whose value it tells.
    """

    name: ObjectName
    data_set: str
    members: list[list[Part]]
    id: str = ""
    revision: int = -1
    sequence: int = -1
    wholes: int = 0
    enabled: bool = False
    rows: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        """Note whose value is told."""
        self.rows = frozenset(part.row for parts in self.members for part in parts if part.what == VALUE)

    @property
    def buffered(self) -> bool:
        """Whether it keeps its entries through a loss."""
        return self.name.item.split("$")[1] == "BR"


@dataclass
class Subscriptions:
    """The blocks of one association.

    Attributes:
        mms: the association.
        layout: where the rows are.
        log: of the link.
        put: takes samples.
        again: takes rows that must be read, because a report of theirs was lost.
        kinds: of blocks, "BR" or "RP", in the order in which they are wanted.
        integrity_s: time between integrity reports; 0: none.
        entries: block -> its last entry, kept through losses by the link.
    """

    mms: Mms
    layout: Layout
    log: LinkLog
    put: Callable[[Iterable[Sample]], None]
    again: Callable[[Iterable[int]], None]
    kinds: tuple[str, ...]
    integrity_s: float
    entries: dict[ObjectName, bytes]
    resumed: int = 0  # entries that a buffer had kept through a loss
    blocks: list[Block] = field(default_factory=list)
    _offers: list[Offer] | None = None

    @property
    def covered(self) -> set[int]:
        """Rows that are reported."""
        return {row for block in self.blocks for row in block.rows}

    async def cover(self, rows: set[int]) -> None:
        """Enable blocks until what can be reported of these rows is."""
        if self._offers is None:
            self._offers = await self._find()
        left = rows - self.covered
        for data_set, instances, members in self._offers:
            for name in instances:
                block = Block(name, str(data_set), members)
                if block.rows.isdisjoint(left):
                    break
                if await self._enable(block):
                    left -= block.rows
                    break

    async def _find(self) -> list[Offer]:
        """Data sets with their blocks: the wanted kind first, what tells most first.

        The blocks stand in LLN0 as a rule: other nodes are asked for theirs only where rows are left.
        """
        out: list[Offer] = []
        domains = sorted({str(place.name.domain) for place in self.layout.places.values()})
        for kind in self.kinds:
            offers = await self._offered(kind, [(domain, "LLN0") for domain in domains])
            told = {part.row for _, _, members in offers for parts in members for part in parts}
            left = [self.layout.places[row].name for row in sorted(set(self.layout.places) - told)]
            nodes = dict.fromkeys((str(name.domain), name.item.split("$")[0]) for name in left)
            offers += await self._offered(kind, [node for node in nodes if node[1] != "LLN0"])
            out += sorted(offers, key=lambda one: -sum(map(len, one[2])))
        return out

    async def _offered(self, kind: str, nodes: Sequence[tuple[str, str]]) -> list[Offer]:
        """The blocks of a kind in some logical nodes, by the data set that they report."""
        names: list[ObjectName] = []
        types = await asyncio.gather(*(self.mms.type_of(ObjectName(f"{node}${kind}", domain)) for domain, node in nodes))
        for (domain, node), blocks in zip(nodes, types):
            inner = blocks.components if isinstance(blocks, StructureType) else []
            names += [ObjectName(f"{node}${kind}${name}", domain) for name, _ in inner]
        found: dict[str, list[ObjectName]] = {}
        for name, data_set in zip(names, await self.mms.read([_of(name, "DatSet") for name in names])):
            if isinstance(data_set, VisibleStringData) and "/" in data_set.value:
                found.setdefault(data_set.value, []).append(name)
        out = []
        for text, instances in found.items():
            domain, _, item = text.partition("/")
            name = ObjectName(item, domain)
            out.append((name, instances, [self.layout.parts(one) for one in await self.mms.members_of(name)]))
        return out

    async def _enable(self, block: Block) -> bool:
        """Reserve a block, set it up and enable it; False where it is somebody else's, or will not report changes."""
        try:
            state = await self.mms.read([_of(block.name, what) for what in ("RptEna", "Resv")])
            if any(isinstance(one, BoolData) and one.value for one in state):
                return False
            if await self._set_up(block):
                self.blocks.append(block)
                block.enabled = await self.mms.write(_of(block.name, "RptEna"), BoolData(True)) is None
            if not block.enabled:
                free: tuple[str, IECData] = ("ResvTms", IntData(0)) if block.buffered else ("Resv", BoolData(False))
                await self.mms.write(_of(block.name, free[0]), free[1])
        except MmsError as refused:
            self.log.tell("report block", f"{block.name}: {refused}")
        if not block.enabled and block in self.blocks:
            self.blocks.remove(block)
        return block.enabled

    async def _set_up(self, block: Block) -> bool:
        """Everything before the enabling; whether the block will report changes."""
        for what, value, must in self._settings(block, self.entries.get(block.name)):
            error = await self.mms.write(_of(block.name, what), value)
            if what == "EntryID" and error is not None:
                await self.mms.write(_of(block.name, "PurgeBuf"), BoolData(True))  # the buffer begins anew: a reboot
            elif error is not None and must:
                return False
        wanted = ("RptID", "ConfRev", "TrgOps")
        id_, revision, triggers = await self.mms.read([_of(block.name, what) for what in wanted])
        block.id = id_.value if isinstance(id_, VisibleStringData) and id_.value else str(block.name)
        block.revision = revision.value if isinstance(revision, UIntData | IntData) else -1
        return isinstance(triggers, BitStringData) and TrgOps.from_bitstring(triggers).data_change

    def _settings(self, block: Block, last: bytes | None) -> list[tuple[str, IECData, bool]]:
        """What is written before a block is enabled, and whether that must succeed."""
        period = UIntData(round(self.integrity_s * 1000))
        out: list[tuple[str, IECData, bool]] = [("Resv", BoolData(True), True)]
        if block.buffered:
            out = [("ResvTms", IntData(RESERVED_S), False)]  # edition 1 has none
        out += [("IntgPd", period, False), ("TrgOps", TRIGGERS.to_bitstring(), False), ("OptFlds", FIELDS.to_bitstring(), False)]
        if block.buffered:
            out.append(("PurgeBuf", BoolData(True), False) if last is None else ("EntryID", OctetStringData(last), False))
        return out

    def hear(self, message: InformationReport) -> None:
        """Take a report."""
        if not is_report(message):
            return
        try:
            report = decode_report(message)
        except ReportDecodeError as error:
            self.log.tell("report", f"cannot be read: {error}")
            self.again(self.covered)
            return
        data_set = report.data_set
        block = next((b for b in self.blocks if b.id == report.rpt_id and data_set in (None, b.data_set)), None)
        if block is None:
            self.log.tell("strange report", report.rpt_id)
            return
        if report.conf_rev not in (None, block.revision) or len(report.inclusion) != len(block.members):
            self.mms.end(f"{block.name}: its configuration changed")  # nobody knows what its members are: learn anew
            return
        self.resumed += block.buffered and not block.enabled
        samples = self._samples(block, report)
        self._count(block, report)
        self.put(samples)

    def _samples(self, block: Block, report: Report) -> list[Sample]:
        told: dict[int, list[Told]] = {}
        for entry in report.entries:
            if entry.index >= len(block.members):
                continue
            for part in block.members[entry.index]:
                whole = entry.value
                told.setdefault(part.row, [None, None, None])[part.what] = (
                    whole if isinstance(whole, DataAccessError) else part_of(whole, part.path)
                )
        return [(row, one[VALUE], one[QUALITY], one[TIME]) for row, one in told.items()]

    def _count(self, block: Block, report: Report) -> None:
        """Hold a report against what was promised."""
        if report.entry_id is not None:
            self.entries[block.name] = report.entry_id
        wrong = ""
        if report.seq_num is not None and not report.sub_seq_num:
            size = 1 << 16 if block.buffered else 1 << 8
            if block.sequence >= 0 and report.seq_num != (block.sequence + 1) % size:
                wrong = f"report {report.seq_num} after {block.sequence}"
            block.sequence = report.seq_num
        if report.buf_ovfl:
            wrong = "its buffer overflowed"
        whole = [entry.reason for entry in report.entries if entry.reason is not None]
        if whole and all(reason.integrity or reason.general_interrogation for reason in whole) and report.sub_seq_num is None:
            block.wholes += 1
            missing = block.rows - {part.row for entry in report.entries for part in block.members[entry.index]}
            wrong = f"a whole report without {len(missing)} of {len(block.rows)} points" if missing else wrong
        if wrong:
            self.log.tell("report", f"{block.name}: {wrong}")
            self.again(block.rows)


def _of(name: ObjectName, attribute: str) -> ObjectName:
    return ObjectName(f"{name.item}${attribute}", name.domain)
