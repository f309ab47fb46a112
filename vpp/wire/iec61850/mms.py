"""One association of an MMS client: requests matched with their answers, as many under way as the server lets."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from open61850 import ber
from open61850.data import IECData
from open61850.mms import pdu
from open61850.mms.association import association_request, decode_association_response
from open61850.mms.errors import DataAccessError, MmsError, MmsProtocolError
from open61850.mms.pdu import AccessResult, ConfirmedResponse, InformationReport, ObjectName
from open61850.mms.types import MmsType, get_variable_access_attributes_response

from vpp.kernel.errors import LinkError
from vpp.wire.iec61850.iso import Iso

ANSWER_S: Final = 5.0
NAMES_EACH: Final = 50  # variables of one Read: the answer stays far below the smallest PDU that is agreed on
OCTETS_EACH: Final = 256  # that a variable's name or value may take in a PDU
LARGEST_PDU: Final = 65_000
IDENTIFY: Final = 2
OBJECT_INVALIDATED: Final = 0
# What octets that are no MMS can raise in the decoding.
MALFORMED: Final = (
    MmsError,
    ber.BerError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)

T = TypeVar("T")


class Mms:
    """An association; made by `open`, gone with `end` or when the peer breaks it."""

    def __init__(
        self,
        name: str,
        on_report: Callable[[InformationReport], None],
        on_lost: Callable[[str], None],
        answer_s: float = ANSWER_S,
    ) -> None:
        """Nothing is associated; ``answer_s`` is the longest that one answer may take."""
        self.name, self.answer_s = name, answer_s
        self.on_report = on_report
        self.on_lost = on_lost
        self._iso = Iso(server=False)
        self._answers: dict[int, asyncio.Future[ConfirmedResponse]] = {}
        self._numbers = itertools.count(1)
        self._slots = asyncio.Semaphore(1)
        self._each = NAMES_EACH
        self._associated: asyncio.Future[None] | None = None

    async def open(self, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        """Connect and associate. Raises `LinkError`; the caller sets the limit of time."""
        loop = asyncio.get_running_loop()
        associated = self._associated = loop.create_future()
        self._iso.on_ready = lambda: self._iso.send(association_request())
        self._iso.on_unit, self._iso.on_lost = self._take, self._lost
        try:
            await loop.create_connection(
                lambda: self._iso, *address, ssl=tls, server_hostname=address[0] if tls is not None else None
            )
            await associated
        except OSError as error:
            associated.cancel()  # nobody will ask for it
            self.end(str(error))
            raise LinkError(self.name, f"{address[0]}:{address[1]}: {error}") from error
        except BaseException:
            self.end("not associated")
            raise

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._iso.ended

    def end(self, reason: str) -> None:
        """Break the association; harmless the second time."""
        self._iso.end(reason)

    async def request(self, service: bytes, decode: Callable[[bytes], T]) -> T:
        """Ask for a service: its answer, decoded. Raises `LinkError` where the link breaks, `MmsError` for a refusal."""
        content = await self._content(service)
        try:
            return decode(content)
        except MmsError:
            raise
        except MALFORMED as error:
            reason = f"an answer that cannot be read: {error}"
            self.end(reason)
            raise LinkError(self.name, reason) from error

    async def _content(self, service: bytes) -> bytes:
        async with self._slots:
            if self._iso.ended:
                raise LinkError(self.name, "not connected")
            number = next(self._numbers) & 0x7FFFFFFF
            answer: asyncio.Future[ConfirmedResponse] = asyncio.get_running_loop().create_future()
            self._answers[number] = answer
            try:
                self._iso.send(pdu.wrap(pdu.confirmed_request(number, service)))
                async with asyncio.timeout(self.answer_s):
                    response = await answer
            except TimeoutError:
                raise LinkError(self.name, "no answer in time") from None
            finally:
                del self._answers[number]
        if response.service != ber.tag_number(service[0]):
            raise MmsProtocolError(f"an answer to service {response.service}")
        return response.content

    async def read(self, names: Sequence[ObjectName]) -> list[AccessResult | None]:
        """Read variables, in several requests where they are many; each has a value, its error, or None where none came."""
        chunks = [list(names[at : at + self._each]) for at in range(0, len(names), self._each)]
        answers = await asyncio.gather(*(self._read(chunk) for chunk in chunks))
        return [result for answer in answers for result in answer]

    async def _read(self, names: list[ObjectName]) -> list[AccessResult | None]:
        try:
            results: list[AccessResult | None] = list(await self.request(pdu.read_request(names), pdu.read_response))
        except MmsError:
            if len(names) == 1:
                return [DataAccessError(OBJECT_INVALIDATED)]
            half = len(names) // 2  # too much at once, or one of them spoils it
            first, second = await asyncio.gather(self._read(names[:half]), self._read(names[half:]))
            return first + second
        if len(results) == len(names):
            return results
        if len(names) == 1:
            return [None]
        # Nobody knows which of them is missing: each is asked for by itself.
        return [one for (one,) in await asyncio.gather(*(self._read([name]) for name in names))]

    async def write(self, name: ObjectName, value: IECData) -> DataAccessError | None:
        """Write a variable: None, or why not."""
        errors = await self.request(pdu.write_request([name], [value]), pdu.write_response)
        return errors[0] if errors else DataAccessError(OBJECT_INVALIDATED)

    async def type_of(self, name: ObjectName) -> MmsType | None:
        """The type of a variable; None where the server has none of this name."""
        try:
            request = pdu.get_variable_access_attributes_request(name)
            return await self.request(request, get_variable_access_attributes_response)
        except MmsError:
            return None

    async def members_of(self, data_set: ObjectName) -> list[ObjectName]:
        """What a data set holds; nothing where there is none of this name."""
        try:
            request = pdu.get_named_variable_list_attributes_request(data_set)
            return await self.request(request, pdu.get_named_variable_list_attributes_response)
        except MmsError:
            return []

    async def identify(self) -> tuple[str, ...]:
        """Ask who is there: vendor, model and revision; nothing where it does not say, which is a sign of life, too."""
        try:
            return await self.request(ber.encode_tlv(0x80 | IDENTIFY), _who)
        except MmsError:
            return ()

    async def names(self, class_: int, domain: str | None = None) -> list[str]:
        """Names of a class of objects, of the whole server or of one domain. Raises `MmsError`."""
        out: list[str] = []
        more = True
        while more:
            ask = pdu.get_name_list_request(class_, domain, out[-1] if out else None)
            page, more = await self.request(ask, pdu.get_name_list_response)
            out += page
            more = more and bool(page)
        return out

    def _take(self, unit: bytes) -> None:
        """A unit from the server; what cannot be read ends the association."""
        try:
            if self._associated is not None and not self._associated.done():
                association = decode_association_response(unit)
                self._slots = asyncio.Semaphore(max(1, association.max_outstanding_calling))
                self._each = max(1, min(NAMES_EACH, (association.max_pdu_size or LARGEST_PDU) // OCTETS_EACH))
                self._associated.set_result(None)
                return
            incoming = pdu.decode_pdu(pdu.unwrap(unit))
            if isinstance(incoming, InformationReport):
                self.on_report(incoming)
                return
        except MALFORMED as error:
            self._iso.end(f"what the server sends cannot be read: {error}")
            return
        self._answered(incoming)

    def _answered(self, incoming: pdu.IncomingPdu) -> None:
        answer = self._answers.get(getattr(incoming, "invoke_id", None) or 0)
        if answer is None or answer.done():
            return
        if isinstance(incoming, pdu.ConfirmedResponse):
            answer.set_result(incoming)
        elif isinstance(incoming, pdu.ConfirmedError):
            answer.set_exception(MmsError(f"error class {incoming.error_class}, code {incoming.code}"))
        else:
            answer.set_exception(MmsError("rejected"))

    def _lost(self, reason: str) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(LinkError(self.name, reason))
        if self._associated is not None and not self._associated.done():
            self._associated.set_exception(LinkError(self.name, reason))
        self.on_lost(reason)


def _who(content: bytes) -> tuple[str, ...]:
    return tuple(part.value.decode("ascii", "replace") for part in ber.iter_tlvs(content) if part.tag in (0x80, 0x81, 0x82))
