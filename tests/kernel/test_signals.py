import numpy as np
import pytest

from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.signals import Signal, Signals, canonical
from vpp.kernel.telemetry import Telemetry


class Base(Signals):
    __slots__ = ()
    a = Signal("MW", "first")
    b = Signal("1", "second", flags=("off", "on"))


class More(Base):
    __slots__ = ()
    c = Signal("pu", "third", resolution=1e-3)


def test_rows_are_numbered_in_order_and_inherited_first():
    assert Base.names == ("a", "b")
    assert More.names == ("a", "b", "c")
    assert [s.row for s in More.signals] == [0, 1, 2]
    assert (More.c.unit, More.c.resolution, More.b.flags) == ("pu", 1e-3, ("off", "on"))
    assert repr(More.c) == "Signal(c [pu])"


def test_a_signal_is_a_view_and_assignment_writes_into_the_block():
    sheet = More.full(3, 0.0)
    sheet.b = [1.0, 2.0, 3.0]
    sheet.c[1] = 7.0
    assert np.array_equal(sheet.block, [[0, 0, 0], [1, 2, 3], [0, 7, 0]])
    other = sheet.copy()
    other.a = 5.0
    assert not sheet.a.any()
    assert sheet.n == 3


@pytest.mark.parametrize("block", [np.zeros((2, 3)), np.zeros(3), np.zeros((3, 3), np.float32)])
def test_a_wrong_block_is_refused(block):
    with pytest.raises(ValueError, match="More needs a float64 block"):
        More(block)


def test_canonical_has_one_zero_and_one_nan():
    other_nan = np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0]
    out = canonical(np.array([-0.0, 0.0, other_nan, 1.5]))
    assert out.tobytes() == np.array([0.0, 0.0, np.nan, 1.5]).tobytes()


def test_every_signal_says_unit_and_meaning():
    for signal in (*Telemetry.signals, *Setpoints.signals):
        assert signal.unit
        assert signal.meaning


def test_telemetry_copies_quality_and_time_too():
    first = Telemetry.full(2)
    second = first.copy()
    second.quality[0, 0], second.time_ns[0, 0] = 2, 5
    assert first.quality.sum() == 0
    assert first.time_ns.sum() == 0


def test_nothing_is_asked_at_first():
    asked = Asked.nothing(2, 7)
    assert asked.time_ns == 7
    assert np.all(asked.setpoints.p_limit_mw == np.inf)
    assert not asked.setpoints.mode.any()
    assert asked.setpoints.connect.all()
