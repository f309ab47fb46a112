"""Addresses, the model that the server makes of a table, and how quality and time are told."""

import datetime as dt

import numpy as np
import pytest
from open61850.data import BitStringData, FloatData, TimestampData, decode_data_at, encode_data

from tests.wire.iec61850.bench import DER
from vpp.kernel import quality as q
from vpp.kernel.errors import PointError
from vpp.testing.link_bench import SOURCE_NS
from vpp.wire.clock import wall_ns
from vpp.wire.iec61850.address import check_addresses, parse
from vpp.wire.iec61850.quality import ADD_CAUSES, CAUSES, FROM_BITS, TO_BITS, TO_DATA, carried, quality_of, time_of, time_to
from vpp.wire.iec61850.scl import Options, generate
from vpp.wire.iec61850.server import Iec61850Served
from vpp.wire.iec61850.values import raw_of
from vpp.wire.link import Status
from vpp.wire.points import Point, PointTable


@pytest.mark.parametrize(
    ("address", "wire", "access"),
    [
        ("MMXU1.TotW.mag.f[MX]", "float32", "r"),  # no logical device
        ("DER1/MMXU1.TotW.mag.f", "float32", "r"),  # no functional constraint
        ("DER1/MMXU1.TotW[MX]", "float32", "r"),  # an object, no attribute
        ("DER1/MMXU.TotW.mag.f[MX]", "float32", "r"),  # a node without a number
        ("DER1/mmxu1.TotW.mag.f[MX]", "float32", "r"),  # no class
        ("DER1/MMXU1.TotW.mag.f[MX]", "int32", "r"),
        ("DER1/MMXU1.TotW.mag.f[MX]", "float32", "rw"),  # a measurand cannot be written
        ("DER1/MMXU1.TotW.mag.f[XX]", "float32", "r"),
        ("DER1/DWMX1.WLimSpt.Oper.ctlVal.f[CO]", "float32", "rw"),  # a control is not read
        ("DER1/DWMX1.WLimSpt.ctlVal.f[CO]", "float32", "w"),
        ("DER1/MMXU1.TotW.mag.f[MX]", "uint64", "r"),
    ],
)
def test_addresses_that_cannot_be(address, wire, access):
    point = Point("a", "p_mw", address, wire=wire, access=access)
    with pytest.raises(PointError):
        parse(point)
    assert len(check_addresses([point])) == 1


def test_the_model_of_a_der():
    """Nodes, classes and control models follow from the device map alone."""
    server = Iec61850Served(DER, ("127.0.0.1", 0), clock=wall_ns, options=Options(4))
    model = server.model
    assert sorted(model.logical_devices["DER1"]) == ["DCTE1", "DSTO1", "DVAR1", "DWGC1", "DWMX1", "LLN0", "LPHD1", "MMXU1"]
    classes = {f'<DO name="{do}" type="{cdc}_' for do, cdc in (("TotW", "MV"), ("WLimSpt", "APC"), ("CeaEgzReqCtl", "SPC"))}
    classes |= {f'<DO name="{do}" type="{cdc}_' for do, cdc in (("Mod", "ENC"), ("RvrtTms", "ING"), ("Beh", "ENS"))}
    assert all(one in server.scl for one in classes)
    assert model.get("DER1/DWMX1.WLimSpt.ctlModel[CF]").value == 4
    assert model.get("DER1/LLN0.Mod.ctlModel[CF]").value == 0
    (members,) = model.data_sets.values()
    assert [member.item for member in members][:3] == ["MMXU1$MX$TotW", "MMXU1$MX$TotVAr", "MMXU1$MX$AvPPVPhs"]
    quality = model.get("DER1/MMXU1.TotW.q[MX]")
    assert quality_of(quality) == q.INVALID  # nothing was published


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("DER1/MMXU1.TotW.mag[MX]", "DER1/MMXU1.TotW.mag.f[MX]"),
        ("DER1/MMXU1.TotW.mag.f[MX]", "DER1/MMXU1.TotW.mag[MX]"),
    ],
)
def test_rows_that_stand_in_each_others_way(first, second):
    table = PointTable((Point("a", "p_mw", first), Point("a", "q_mvar", second)))
    with pytest.raises(PointError):
        generate(table, Options())


def test_qualities_survive():
    """What comes back is never better than what went, and every detail with a name on both sides survives."""
    for quality in range(128):
        back = int(FROM_BITS[TO_BITS[quality]])
        validity = quality & q.VALIDITY_MASK
        assert back & q.VALIDITY_MASK >= (q.INVALID if validity == 3 else validity)
        assert q.usable(back) == q.usable(quality)
        same = q.SUBSTITUTED | q.BLOCKED | q.OVERFLOW | q.STALE
        assert back & same == quality & same | (q.STALE if quality & q.COMM_LOST else 0)
        assert quality_of(TO_DATA[quality]) == back
    assert FROM_BITS[1 << 1] == q.INVALID  # a test value is not for operation, 7-3, 6.2
    assert FROM_BITS[0b11 << 11 | 1 << 5] == q.QUESTIONABLE | q.STALE
    assert quality_of(BitStringData(b"\x00", 0)) == q.INVALID


def test_what_arrives_of_a_quality():
    table = PointTable((Point("a", "p_mw", "D/MMXU1.TotW.mag.f[MX]"), Point("a", "p_mw", "D/DWMX1.W.setMag.f[SP]", "setpoints")))
    told = np.array([q.OVERFLOW, q.OVERFLOW], np.uint8)
    assert carried(table, table.all, told).tolist() == [q.QUESTIONABLE | q.OVERFLOW, q.GOOD]


def test_times_survive():
    for time_ns in (SOURCE_NS, 946_684_800_000_001_000, 4_102_444_799_999_999_000):
        assert time_of(time_to(time_ns)) == time_ns
    assert time_of(time_to(0)) == 0
    assert time_of(TimestampData(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 0x40)) == 0  # its clock failed


@pytest.mark.parametrize("value", [0.1, -0.0, 3.4028234663852886e38, -3.4028234663852886e38, 1e-45, 1e39, np.inf])
def test_a_float_is_the_float32_that_was_sent(value):
    """The library would decode the shortest decimal, 0.1 for what is not, and fail at the largest numbers."""
    table = PointTable((Point("a", "p_mw", "DER1/MMXU1.TotW.mag.f[MX]"),))
    sent = float(table.encode(table.all, np.array([value]))[0][0])
    assert raw_of(decode_data_at(encode_data(FloatData(sent)))[0]) == sent == float(np.float32(sent))


def test_every_cause_has_a_status():
    assert sorted(ADD_CAUSES) == list(range(28))
    assert Status.ACCEPTED not in ADD_CAUSES.values()
    told = (Status.REJECTED, Status.NOT_SELECTED, Status.BUSY, Status.NOT_SUPPORTED, Status.DEVICE_FAILED)
    assert all(ADD_CAUSES[CAUSES[status]] == status for status in told)
