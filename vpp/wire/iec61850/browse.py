"""Looking at a server: who made it, which logical devices and nodes it has. Nothing is written."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from open61850.mms.errors import MmsError
from open61850.mms.pdu import OBJECT_CLASS_DOMAIN, OBJECT_CLASS_NAMED_VARIABLE

from vpp.kernel.errors import LinkError
from vpp.wire.iec61850.mms import Mms
from vpp.wire.link import TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Browsed:
    """What a server tells of itself.

    Attributes:
        who: vendor, model and revision, as far as it says.
        nodes: logical device -> its logical nodes, sorted.
    """

    who: tuple[str, ...]
    nodes: dict[str, tuple[str, ...]]


async def browse(address: tuple[str, int], timeout_s: float = TIMEOUT_S, tls: ssl.SSLContext | None = None) -> Browsed:
    """Look at the server at an address. Raises `LinkError` where none speaks MMS there."""
    name = f"{address[0]}:{address[1]}"
    mms = Mms(name, lambda report: None, lambda reason: None)
    try:
        async with asyncio.timeout(timeout_s):
            await mms.open(address, tls)
            who = await mms.identify()
            nodes = {}
            for domain in await mms.names(OBJECT_CLASS_DOMAIN):
                items = await mms.names(OBJECT_CLASS_NAMED_VARIABLE, domain)
                nodes[domain] = tuple(sorted({item.partition("$")[0] for item in items}))
    except TimeoutError:
        raise LinkError(name, "no answer in time") from None
    except MmsError as error:
        raise LinkError(name, str(error)) from error
    finally:
        mms.end("looked")
    return Browsed(who, nodes)
