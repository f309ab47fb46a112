"""DNP3 on the conformance suite: yadnp3 as the master against dnp3py as the outstation, over real sockets."""

from vpp.testing.link import LinkSuite
from vpp.wire.clock import wall_ns
from vpp.wire.dnp3.client import Dnp3Link
from vpp.wire.dnp3.server import Dnp3Served
from vpp.wire.points import Point, PointTable


def analogue(resource: str, signal: str, index: int, **more) -> Point:
    return Point(resource, signal, f"AI:{index}", wire="int32", scale=1e-6, **more)


POINTS = (
    analogue("pv1", "p_mw", 537, sign=-1),
    analogue("pv1", "q_mvar", 541),
    analogue("pv1", "soc", 47),
    Point("pv1", "connect", "BI:16", sheet="applied", wire="bool"),
    Point("pv1", "e_need_mwh", "CT:3", wire="uint32", scale=1e-3),
    Point("pv1", "p_mw", "AO:93", sheet="setpoints", wire="int32", scale=1e-6, access="w"),
)


class TestDnp3(LinkSuite):
    knows_strangers = False  # status 4 says "not supported" of a point and of an operation alike

    def table(self):
        return PointTable(POINTS)

    def many(self):
        return PointTable(tuple(analogue(f"pv{i}", "p_mw", i) for i in range(3000)))

    def stranger(self):
        return PointTable((*POINTS, Point("x", "p_mw", "AO:999", sheet="setpoints", wire="int32", access="rw")))

    def served(self, table, port):
        return Dnp3Served(table, ("127.0.0.1", port), clock=wall_ns)

    def link(self, table, address):
        return Dnp3Link(table, address, clock=wall_ns)
