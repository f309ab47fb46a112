"""The points of the application note, and addresses that cannot be."""

import pytest

from vpp.kernel.errors import PointError
from vpp.wire.dnp3.address import Kind, check_addresses, parse
from vpp.wire.dnp3.mesa import mesa_der, standard_points
from vpp.wire.points import Point

BATTERY = mesa_der("bat1", p_max_mw=1.0, q_max_mvar=0.5, v_base_v=400.0, storage=True)


def test_the_application_note():
    points = standard_points()
    counts = [sum(kind == want for kind, _ in points) for want in (Kind.BO, Kind.BI, Kind.AO, Kind.AI)]
    assert counts == [50, 329, 670, 1009]
    assert points[Kind.AI, 537].name == "System Meter Active Power"
    assert points[Kind.AO, 88].read_back == 149
    read_back = {p.signal: p.address for p in BATTERY.points if p.sheet == "applied"}
    for p in BATTERY.points:
        if p.sheet == "setpoints":
            kind, index = parse(p)
            told = points[kind, index].read_back
            assert told in (-1, int(read_back[p.signal].split(":")[1]))
    row = BATTERY.find("bat1", "p_limit_mw", "setpoints")
    assert (BATTERY.points[row].low, BATTERY.points[row].high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("address", "wire", "access"),
    [
        ("AI:537", "float32", "r"),
        ("XX:1", "int32", "r"),
        ("AI:65536", "int32", "r"),
        ("AI:1", "int32", "rw"),
        ("AI", "int32", "r"),
    ],
)
def test_addresses_that_cannot_be(address, wire, access):
    point = Point("a", "p_mw", address, wire=wire, access=access)
    with pytest.raises(PointError):
        parse(point)
    assert len(check_addresses([point])) == 1
