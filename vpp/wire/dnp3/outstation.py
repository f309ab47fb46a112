"""dnp3py's outstation with what it lacks: events with their time, reports unasked, many values in an event fragment.

It is pinned to dnp3py 0.6: four of its methods are replaced here, each named where it is.
"""

from __future__ import annotations

from typing import Any

from dnp3.application.builder import build_null_response, build_unsolicited_response
from dnp3.application.fragment import ObjectBlock, ResponseFragment
from dnp3.application.qualifiers import ObjectHeader
from dnp3.core.enums import FunctionCode
from dnp3.core.flags import IIN, AnalogQuality
from dnp3.core.timestamp import DNP3Timestamp
from dnp3.database.point import EventClass
from dnp3.objects.analog_input import AnalogInputEvent32Time
from dnp3.outstation import Outstation
from dnp3.outstation.peer import PeerId

EVENT_BYTES = 14  # the largest event: index 2, flags 1, value 4, time 6, and its share of the header
LOWEST, HIGHEST = -(2**31), 2**31 - 1
NO_TIME = DNP3Timestamp(0)
FUNCTIONS = frozenset(int(code) for code in FunctionCode)
Key = tuple[EventClass, int]


class ReportingOutstation(Outstation):
    """Events go out as g2v2, g32v3 and g22v5: with their time. A report is kept until it is confirmed."""

    def process_request(self, data: bytes, *, peer: PeerId | None = None) -> list[ResponseFragment]:
        """Answer what cannot be read with its own sequence number, or its master waits in vain (IEEE 1815-2012, 4.2.2.4)."""
        made: list[ResponseFragment] = super().process_request(data, peer=peer)
        if len(made) != 1 or made[0].header.control.seq == data[0] & 0x0F:
            return made
        bit = IIN.PARAMETER_ERROR if data[1] in FUNCTIONS else IIN.NO_FUNC_CODE_SUPPORT
        return [build_null_response(iin=self.iin | bit, seq=data[0] & 0x0F)]

    def _build_binary_event_blocks(self, events: list[Any]) -> list[ObjectBlock]:
        return self._blocks(2, 2, events, _binary)

    def _build_analog_event_blocks(self, events: list[Any]) -> list[ObjectBlock]:
        return self._blocks(32, 3, events, _analog)

    def _blocks(self, group: int, variation: int, events: list[Any], to_bytes: Any) -> list[ObjectBlock]:
        """Blocks that fit a fragment each."""
        blocks = []
        room = max(1, (self.config.max_fragment_size - 10) // EVENT_BYTES)
        for begin in range(0, len(events), room):
            part = events[begin : begin + room]
            size, count, qualifier = self._event_framing(part)
            body = b"".join(event.index.to_bytes(size, "little") + to_bytes(event) for event in part)
            blocks.append(ObjectBlock(header=ObjectHeader(group, variation, qualifier), data=count + body))
        return blocks

    @property
    def enabled(self) -> tuple[EventClass, ...]:
        """Classes that the master wants unasked."""
        classes = (EventClass.CLASS_1, EventClass.CLASS_2, EventClass.CLASS_3)
        return tuple(c for c in classes if self._state.unsolicited.is_class_enabled(int(c)))

    def forget_master(self) -> None:
        """A new connection: nothing is reported until the master enables it again."""
        u = self._state.unsolicited
        u.class_1_enabled = u.class_2_enabled = u.class_3_enabled = u.pending_confirm = False

    def report(self) -> tuple[ResponseFragment, list[Key]] | None:
        """A fragment with the oldest events, and which they are; None where nothing is to be said."""
        buffer = self.database.event_buffer
        waiting = [(s, c, e) for c in self.enabled for s, e in buffer.read_class_events_with_serials(c)]
        if not waiting:
            return None
        waiting.sort(key=lambda one: one[0])
        part = waiting[: max(1, (self.config.max_fragment_size - 40) // EVENT_BYTES)]
        blocks = self._in_order([event for _, _, event in part])
        unsolicited = self._state.unsolicited
        seq = self._state.sequences.next_unsolicited_seq()
        unsolicited.pending_confirm, unsolicited.confirm_sequence = True, seq
        fragment = build_unsolicited_response(objects=tuple(blocks), iin=self.iin, seq=seq, con=True)
        return fragment, [(c, s) for s, c, _ in part]

    @property
    def unconfirmed(self) -> bool:
        """Whether a report waits for its confirmation."""
        return self._state.unsolicited.pending_confirm

    def confirmed(self, keys: list[Key]) -> None:
        """Forget reported events."""
        self._remove_events_by_key(keys)

    def _in_order(self, events: list[Any]) -> list[ObjectBlock]:
        blocks: list[ObjectBlock] = []
        for name, build in (
            ("BinaryEvent", self._build_binary_event_blocks),
            ("AnalogEvent", self._build_analog_event_blocks),
            ("CounterEvent", self._build_counter_event_blocks),
        ):
            own = [event for event in events if type(event).__name__ == name]
            if own:
                blocks += build(own)
        return blocks


def _binary(event: Any) -> bytes:
    flags = (int(event.quality) & 0x7F) | (0x80 if event.value else 0)
    return bytes([flags]) + bytes((event.timestamp or NO_TIME).to_bytes())


def _analog(event: Any) -> bytes:
    value, quality = int(event.value), event.quality
    if not LOWEST <= value <= HIGHEST:
        value, quality = min(max(value, LOWEST), HIGHEST), quality | AnalogQuality.OVER_RANGE
    return bytes(AnalogInputEvent32Time(quality=quality, value=value, timestamp=event.timestamp or NO_TIME).to_bytes())
