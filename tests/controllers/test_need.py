"""Energy by a deadline: at once where nobody wants anything, else no later than it must be."""

import numpy as np
import pytest

from controllers.resource.need import NeedProposer
from tests.controllers.ticks import tick, wants
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE, simple_fleet

FLEET = simple_fleet(
    [-0.011] * 4, [0.0] * 4, control=np.array([CONTROL_FOLLOW] * 3 + [CONTROL_NONE]), p_gap_mw=np.full(4, 0.004)
)  # fmt: skip


@pytest.mark.parametrize(
    ("need", "left_h", "planned", "expected"),
    [
        (0.01, 8.0, None, -0.011),  # nobody leads: at once
        (0.01, 8.0, 0.0, None),  # a plan leads, and there is time
        (0.022, 2.0, 0.0, -0.011),  # two hours of full power are left: now
        (0.022, 2.0, -0.011, None),  # as the plan has it
        (0.0, 2.0, None, None),
        (np.nan, np.nan, None, None),
        (0.0145, 2.0, 0.0, -0.004),  # a little must be had now: no less than the smallest current
    ],
)
def test_wants(need, left_h, planned, expected):
    from vpp.kernel import envelope as e

    controller = NeedProposer(FLEET, reserve=0.15)
    sees = {"e_need_mwh": need, "t_depart_s": left_h * 3600, "p_avail_min_mw": -0.011, "p_avail_max_mw": 0.0}

    class Planned(NeedProposer):
        """The same, after a plan."""

        def step(self, now_ns, seen, allowed):
            if planned is not None:
                allowed.block[e.WANT_P], allowed.owner[e.WANT_P] = planned, 7
            return NeedProposer.step(self, now_ns, seen, allowed)

    allowed, events = tick(Planned(FLEET, reserve=0.15), FLEET, dt_s=900.0, **sees)
    found = wants(allowed)
    assert found[:3] == [expected if expected is None else pytest.approx(expected)] * 3
    assert found[3] is None  # nobody leads an uncontrolled one
    assert not events
    controller.restore(controller.state())


def test_reserve_is_checked():
    with pytest.raises(ValueError, match="reserve"):
        NeedProposer(FLEET, reserve=1.0)
