"""IEC 61850 on the conformance suite, over real sockets: controls that are direct, and controls that must be selected."""

from vpp.testing.link import LinkSuite
from vpp.wire.clock import wall_ns
from vpp.wire.iec61850.client import Iec61850Link
from vpp.wire.iec61850.control import DIRECT, SELECT_ENHANCED
from vpp.wire.iec61850.scl import Options
from vpp.wire.iec61850.server import Iec61850Served
from vpp.wire.points import Point, PointTable

POINTS = (
    Point("pv1", "p_mw", "DER1/MMXU1.TotW.mag.f[MX]", sign=-1),
    Point("pv1", "q_mvar", "DER1/MMXU1.TotVAr.mag.i[MX]", wire="int32", scale=1e-3),
    Point("pv1", "vm_pu", "DER1/MMXU1.PhV.phsA.cVal.mag.f[MX]"),
    Point("pv1", "connect", "DER1/CSWI1.Loc.stVal[ST]", sheet="applied", wire="bool"),
    Point("pv1", "step", "DER2/XCBR1.Pos.stVal[ST]", sheet="applied", wire="double_point"),
    Point("pv1", "soc", "DER2/DSTO1.SocPct.mag.f[MX]", unit="%"),
    Point("pv1", "p_mw", "DER1/DWGC1.GnWSpt.Oper.ctlVal.f[CO]", sheet="setpoints", access="w"),
)


class TestDirect(LinkSuite):
    selects = False
    model = DIRECT

    def table(self):
        return PointTable(POINTS)

    def many(self):
        return PointTable(tuple(Point(f"pv{i}", "p_mw", f"DER1/MMXU{i + 1}.TotW.mag.f[MX]") for i in range(1000)))

    def stranger(self):
        return PointTable((*POINTS, Point("x", "p_mw", "DER1/DWGC9.WSet.setMag.f[SP]", sheet="setpoints", access="rw")))

    def served(self, table, port):
        return Iec61850Served(table, ("127.0.0.1", port), clock=wall_ns, options=Options(self.model))

    def link(self, table, address):
        return Iec61850Link(table, address, clock=wall_ns)


class TestSelected(TestDirect):
    selects = True
    model = SELECT_ENHANCED

    def many(self):
        return self.table()
