"""Field protocols: each a client and a server behind the one link port of :mod:`vpp.wire.link`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

# Protocol -> package with `client` and `server` modules; loaded only when asked for, some need an extra.
PROTOCOLS: Final[Mapping[str, str]] = {
    "modbus": "vpp.wire.modbus",
    "sunspec": "vpp.wire.sunspec",
    "dnp3": "vpp.wire.dnp3",
    "iec104": "vpp.wire.iec104",
    "iec61850": "vpp.wire.iec61850",
}


def protocol(name: str) -> ModuleType:
    """Load a protocol's package. Raises KeyError for a name that is not in the table, ImportError for a missing extra."""
    return import_module(PROTOCOLS[name])
