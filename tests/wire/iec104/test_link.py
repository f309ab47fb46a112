"""IEC 60870-5-104 on the conformance suite, over real sockets; ten thousand points over four stations."""

from vpp.testing.link import LinkSuite
from vpp.wire.clock import wall_ns
from vpp.wire.iec104.client import Iec104Link
from vpp.wire.iec104.server import Iec104Served
from vpp.wire.points import Point, PointTable

POINTS = (
    Point("pv1", "p_mw", "1:100", sign=-1),
    Point("pv1", "q_mvar", "1:101", wire="int16", scale=1e-3),
    Point("pv1", "soc", "1:102:n", wire="int16", scale=2**-15),
    Point("pv1", "connect", "2:1", sheet="applied", wire="bool"),
    Point("pv1", "step", "2:2", sheet="applied", wire="double_point"),
    Point("pv1", "e_need_mwh", "2:3", wire="int32", scale=1e-3),
    Point("pv1", "p_mw", "1:100", sheet="setpoints", access="w"),
)


class TestIec104(LinkSuite):
    def table(self):
        return PointTable(POINTS)

    def many(self):
        return PointTable(tuple(Point(f"pv{i}", "p_mw", f"{1 + i % 4}:{1000 + i}") for i in range(10_000)))

    def stranger(self):
        return PointTable((*POINTS, Point("x", "p_mw", "1:999", sheet="setpoints", access="rw")))

    def served(self, table, port):
        return Iec104Served(table, ("127.0.0.1", port), clock=wall_ns)

    def link(self, table, address):
        return Iec104Link(table, address, clock=wall_ns)
