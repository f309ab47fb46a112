"""From addresses and device maps to links: devices behind one host and port share a connection, where the protocol can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from hil import plain
from hil.assemble import Wired
from hil.devicemap import DeviceMap, load_map
from hil.links import OPTIONS, Where, link
from hil.watchdog import Arming
from vpp.kernel.errors import Finding, LinkError, ScenarioError
from vpp.wire.clock import WallClock, wall_ns
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.points import Point, PointTable, check
from vpp.wire.supervisor import Policy

LOOK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A resource of the fleet that stands at an address.

    Attributes:
        resource: its id.
        where: the address; its options are those of `hil.links.OPTIONS`, and ratings of the map.
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


def map_at(where: Where, kind: str = "") -> DeviceMap | None:
    """The device map of an address: the one that it names, or the shipped one for the kind of resource; None: neither.

    Raises:
        LinkError: the map is for another protocol or another kind, or an option is neither known nor a rating of the map.
        ScenarioError: there is no such map.
    """
    name = where.options.get("map") or where.scheme.maps.get(kind, "")
    if not name:
        return None
    made = plain.plain_map(where.protocol) if name == plain.NAME and where.protocol in plain.PLAIN else load_map(name)
    if made.protocol != where.protocol:
        raise LinkError(str(where), f"the device map {made.name} is for {made.protocol}")
    if made.kind and kind and kind not in made.kind:
        raise LinkError(str(where), f"the device map {made.name} is for {', '.join(made.kind)}, not for {kind}")
    known = {*OPTIONS, *made.ratings}
    unknown = sorted(set(where.options) - known)
    if unknown:
        raise LinkError(str(where), f"there is no option {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return made


def ratings_at(where: Where, made: DeviceMap) -> Mapping[str, float]:
    """What an address says of the device, where it differs from its map. Raises `LinkError`."""
    try:
        told = {key: float(where.options[key]) for key in made.ratings if key in where.options}
    except ValueError as error:
        raise LinkError(str(where), str(error)) from None
    if not all(0.0 < value < float("inf") for value in told.values()):
        raise LinkError(str(where), f"{', '.join(told)} must be above 0")
    return told


def wish(text: str, kinds: Mapping[str, str]) -> Wish:
    """Read ``resource=protocol://host:port/unit?map=…&emulated=yes``. Raises `ScenarioError` or `LinkError`.

    ``kinds`` are the resources that there are, with their kinds.
    """
    resource, equals, address = text.partition("=")
    if not equals or resource not in kinds:
        hint = "" if equals else "; it is resource=protocol://host:port/unit?map=…"
        raise ScenarioError([Finding(f"there is no such resource{hint}", path="--map", value=resource)])
    where = Where.of(address)
    made = map_at(where, kinds[resource])
    if made is None:
        raise ScenarioError([Finding("needs a device map: …?map=NAME", path="--map", value=text)])
    ratings_at(where, made)
    return Wish(resource, where, made, where.emulated)


async def connect(
    wishes: Sequence[Wish], arming: Arming | None = None, policy: Policy | None = None, clock: WallClock = wall_ns
) -> Connected:
    """Look at every device that says what it is, and make the links.

    A device that is not emulated and does not fall back by itself is not written to, armed or not: it is a finding.

    Raises:
        LinkError: a device is not there or does not speak its protocol.
        ScenarioError: two resources stand at one address.
    """
    groups: dict[tuple[object, ...], list[Wish]] = {}
    for one in wishes:
        groups.setdefault(one.where.peers, []).append(one)
    wired: list[Wired] = []
    findings: list[Finding] = []
    found: dict[str, str] = {}
    for members in groups.values():
        points: list[Point] = []
        for one in members:
            table, missing, what = await _look(one)
            points += _safe(table, one, findings)
            findings += missing
            found[one.resource] = f"{one.where} {what}"
        twice = check(points)
        if twice:
            raise ScenarioError(twice)
        lease_s = min((one.map.lease_s for one in members if one.map.lease_s > 0), default=0.0)
        where = members[0].where
        name = f"{where.host}:{where.port}" + ("" if where.scheme.shared else f"/{where.unit}")
        made = link(PointTable(tuple(points)), where, name, clock)
        wired.append(Wired(made, where.emulated, lease_s, arming, policy or Policy(), where.scheme.reports))
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
    if one.where.protocol != "sunspec":
        return one.map.on_wire(one.resource, one.where.unit, ratings_at(one.where, one.map)), [], one.map.name
    from vpp.wire.sunspec.discover import discover

    channel = TcpChannel(one.where.host, one.where.port, tls=one.where.tls)
    await channel.open(LOOK_S, lambda reason: None)
    try:
        found = await discover(channel, one.where.unit)
    finally:
        await channel.close()
    table, missing = one.map.on_sunspec(one.resource, found)
    return table, missing, f"{one.map.name}, models {', '.join(map(str, sorted(found.models)))}"
