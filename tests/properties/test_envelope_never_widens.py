import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.kernel.scene import opened, see
from tests.properties.strategies import ANY, SETTINGS, column, fleets
from vpp.kernel import envelope as e

NARROWINGS = ["cap_p", "floor_p", "cap_q", "floor_q", "band_p", "limit_group", "hold", "stop"]


def bounds(allowed):
    """Everything of which more means tighter."""
    lows = (allowed.block[[e.LO_P, e.LO_Q]].copy(), allowed.group_lo.copy())
    highs = (allowed.block[[e.HI_P, e.HI_Q]].copy(), allowed.group_hi.copy())
    return lows, highs


@SETTINGS
@given(st.data())
def test_whatever_guards_do_the_envelope_never_widens_nor_turns(data):
    fleet = data.draw(fleets())
    n, g = fleet.n, fleet.groups.n
    seen = see(fleet, p_mw=data.draw(column(n, ANY)), p_avail_max_mw=data.draw(column(n, ANY)), last_p=data.draw(column(n, ANY)))
    allowed = opened(fleet, seen)
    allowed.freeze_want()
    want = allowed.block[[e.WANT_P, e.WANT_Q]].copy()
    lows, highs = bounds(allowed)
    for name in data.draw(st.lists(st.sampled_from(NARROWINGS), max_size=6)):
        if name == "limit_group":
            if g:
                allowed.limit_group(data.draw(st.integers(0, g - 1)), data.draw(ANY), data.draw(ANY))
        elif name == "band_p":
            allowed.band_p(data.draw(column(n, ANY)), data.draw(column(n, ANY)))
        elif name == "hold":
            allowed.hold(seen.last.setpoints)
        elif name == "stop":
            allowed.stop()
        else:
            getattr(allowed, name)(data.draw(column(n, ANY)))
        lows_now, highs_now = bounds(allowed)
        for before, now in zip(lows, lows_now, strict=True):
            assert np.all(now >= before), name
        for before, now in zip(highs, highs_now, strict=True):
            assert np.all(now <= before), name
        for low, high in zip(lows_now, highs_now, strict=True):
            assert np.all(low <= high), name
        lows, highs = lows_now, highs_now
    np.testing.assert_array_equal(allowed.block[[e.WANT_P, e.WANT_Q]], want)
