import numpy as np
import pytest

from controllers.resource.follow import ScheduleFollower
from tests.controllers.ticks import continues_alike, events_of, tick, wants
from tests.kernel.scene import NAN, S
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE, simple_fleet
from vpp.kernel.schedule import Schedule
from vpp.kernel.seen import News

FLEET = simple_fleet([-1.0] * 3, [1.0] * 3, control=np.array([CONTROL_FOLLOW] * 2 + [CONTROL_NONE]))
# Three steps of two minutes, beginning after the first minute: a decision acts one tick later than it is made.
PLAN = Schedule(60 * S, 120 * S, np.array([[0.1, NAN, 0.1], [0.2, 0.3, 0.2], [-0.4, 7.0, 0.4]]))
OTHER = Schedule(0, 120 * S, np.zeros((9, 3)), layout=2)
NARROW = Schedule(0, 120 * S, np.zeros((9, 2)))


@pytest.mark.parametrize(
    "table",
    [
        # each row: the tick, the plan in force, what is wanted, the kinds of events
        [
            (0, None, [None] * 3, []),
            (0, PLAN, [0.1, None, None], ["schedule"]),
            (1, PLAN, [0.1, None, None], []),
            (2, PLAN, [0.2, 0.3, None], []),
            (4, PLAN, [-0.4, 7.0, None], []),
            (5, PLAN, [-0.4, 7.0, None], []),
            (6, PLAN, [None] * 3, ["no-schedule"]),
            (7, PLAN, [None] * 3, []),
            (8, None, [None] * 3, []),
            (5, PLAN, [-0.4, 7.0, None], ["schedule"]),
        ],
        [(0, OTHER, [None] * 3, ["layout"]), (1, OTHER, [None] * 3, []), (2, NARROW, [None] * 3, []),
         (3, PLAN, [0.2, 0.3, None], ["schedule"])],
    ],
)  # fmt: skip
def test_follows_the_plan_at_the_moment_at_which_it_acts(table):
    follower = ScheduleFollower(FLEET)
    for k, plan, want, events in table:
        allowed, said = tick(follower, FLEET, k, news=News(schedule=plan))
        assert wants(allowed) == want, k
        assert [kind for kind, _ in events_of(said)] == events, k


def test_the_events_say_what_is_wrong():
    _, (event,) = tick(ScheduleFollower(FLEET), FLEET, news=News(schedule=OTHER))
    assert event.text == "the schedule is for layout 2 with 3 resources, the fleet is layout 1 with 3 resources; no opinion"
    _, (event,) = tick(ScheduleFollower(FLEET), FLEET, 30, news=News(schedule=PLAN))
    assert event.text == "1970-01-01T00:31:00Z is outside the schedule's horizon; no opinion"


def test_goes_on_alike_after_a_restore():
    plans = [None, PLAN, PLAN, OTHER, OTHER, PLAN, PLAN, PLAN, None]
    continues_alike(lambda: ScheduleFollower(FLEET), FLEET, [{"news": News(schedule=p)} for p in plans])
