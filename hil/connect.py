"""From addresses and device maps to links: devices behind one host and port share a connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from hil.assemble import Wired
from hil.devicemap import DeviceMap, load_map
from hil.links import Where
from hil.watchdog import Arming
from vpp.kernel.errors import Finding, LinkError, ScenarioError
from vpp.wire.clock import WallClock, wall_ns
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.modbus.client import ModbusLink
from vpp.wire.points import Point, PointTable
from vpp.wire.supervisor import Policy

LOOK_S: Final = 5.0
DEFAULT_MAPS: Final = {"pv": "sunspec-inverter", "wind": "sunspec-inverter", "battery": "sunspec-battery"}


@dataclass(frozen=True, slots=True)
class Wish:
    """A resource of the fleet that stands at an address.

    Attributes:
        resource: its id.
        where: the address; its options are ``map`` (a device map) and ``emulated`` (yes or no).
        map: what its registers mean.
        emulated: a model is behind it; writing needs no arming.
    """

    resource: str
    where: Where
    map: DeviceMap
    emulated: bool


@dataclass(frozen=True, slots=True)
class Connected:
    """What came of connecting.

    Attributes:
        wired: the links, not connected: their sessions do that.
        findings: what devices lack of their maps, and what is not safe about them.
        found: resource -> what it stands at.
    """

    wired: tuple[Wired, ...]
    findings: tuple[Finding, ...]
    found: dict[str, str] = field(default_factory=dict)


def wish(text: str, kinds: dict[str, str]) -> Wish:
    """Read ``resource=protocol://host:port/unit?map=…&emulated=yes``. Raises `ScenarioError` or `LinkError`.

    ``kinds`` are the resources that there are, with their kinds.
    """
    resource, equals, address = text.partition("=")
    if not equals or resource not in kinds:
        hint = "" if equals else "; it is resource=protocol://host:port/unit?map=…"
        raise ScenarioError([Finding(f"there is no such resource{hint}", path="--map", value=resource)])
    where = Where.of(address)
    unknown = sorted(set(where.options) - {"map", "emulated"})
    if unknown:
        raise LinkError(str(where), f"there is no option {unknown[0]!r}; there are map and emulated")
    name = where.options.get("map") or (DEFAULT_MAPS.get(kinds[resource], "") if where.protocol == "sunspec" else "")
    if not name:
        raise ScenarioError([Finding("needs a device map: …?map=NAME", path="--map", value=text)])
    made = load_map(name)
    if made.protocol != where.protocol:
        raise LinkError(str(where), f"the device map {made.name} is for {made.protocol}")
    if made.kind and kinds[resource] not in made.kind:
        raise LinkError(
            str(where), f"the device map {made.name} is for {', '.join(made.kind)}, {resource} is a {kinds[resource]}"
        )
    return Wish(resource, where, made, where.options.get("emulated", "no") in ("yes", "true", "1"))


async def connect(
    wishes: Sequence[Wish], arming: Arming | None = None, policy: Policy | None = None, clock: WallClock = wall_ns
) -> Connected:
    """Look at every device, and make its link.

    A device that is not emulated and does not fall back by itself is not written to, armed or not: it is a finding.

    Raises:
        LinkError: a device is not there or does not speak its protocol.
    """
    groups: dict[tuple[str, int, bool], list[Wish]] = {}
    for one in wishes:
        groups.setdefault((one.where.host, one.where.port, one.emulated), []).append(one)
    wired: list[Wired] = []
    findings: list[Finding] = []
    found: dict[str, str] = {}
    for (host, port, emulated), members in groups.items():
        points: list[Point] = []
        for one in members:
            table, missing, what = await _look(one)
            points += _safe(table, one, findings)
            findings += missing
            found[one.resource] = f"{one.where} {what}"
        lease_s = min((one.map.lease_s for one in members if one.map.lease_s > 0), default=0.0)
        channel = TcpChannel(host, port, in_flight=16 if emulated else 1)
        link = ModbusLink(PointTable(tuple(points)), channel, clock=clock, name=f"{host}:{port}")
        wired.append(Wired(link, emulated, lease_s, arming, policy or Policy()))
    return Connected(tuple(wired), tuple(findings), found)


def _safe(table: PointTable, one: Wish, findings: list[Finding]) -> list[Point]:
    """The points of a device; read only where it would go on for ever with what we asked last."""
    writes = any("w" in point.access for point in table.points)
    if not writes or one.emulated or one.map.fallback != "none":
        return list(table.points)
    text = "does not fall back by itself when we stop (its map says fallback: none): it is only read"
    findings.append(Finding(text, path=one.resource, severity="warning"))
    return [replace(p, access="r") if p.access == "rw" else p for p in table.points if p.access != "w"]


async def _look(one: Wish) -> tuple[PointTable, list[Finding], str]:
    """The point table of a device: for SunSpec, from what it says of itself."""
    if one.where.protocol == "modbus":
        return one.map.on_modbus(one.resource, one.where.unit), [], one.map.name
    from vpp.wire.sunspec.discover import discover

    channel = TcpChannel(one.where.host, one.where.port)
    await channel.open(LOOK_S, lambda reason: None)
    try:
        found = await discover(channel, one.where.unit)
    finally:
        await channel.close()
    table, missing = one.map.on_sunspec(one.resource, found)
    return table, missing, f"{one.map.name}, models {', '.join(map(str, sorted(found.models)))}"
