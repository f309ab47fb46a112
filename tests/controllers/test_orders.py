import numpy as np
import pytest

from controllers.resource.orders import OperatorOrders
from tests.controllers.ticks import continues_alike, events_of, tick, wants
from tests.kernel.scene import NAN, S
from vpp.kernel import envelope as e
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, simple_fleet
from vpp.kernel.orders import Order
from vpp.kernel.seen import News

# A battery, a PV that takes limits, a load that is only watched, another battery.
FLEET = simple_fleet(
    [-1.0, 0.0, -1.0, -1.0], [1.0, 1.0, 0.0, 1.0], control=np.array([CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, CONTROL_FOLLOW])
)


def order(name="a", resource=(0,), start=0, end=99, **asks):
    return Order(name, "operator", np.array(resource, np.int64), start * 60 * S, end * 60 * S, **asks)


@pytest.mark.parametrize(
    ("orders", "p", "q"),
    [
        ([], [None] * 4, [None] * 4),
        ([order(p_mw=0.5)], [0.5, None, None, None], [None] * 4),
        ([order(resource=(0, 2, 3), q_mvar=0.1)], [None] * 4, [0.1, None, None, 0.1]),
        # later orders win, resource by resource
        ([order(p_mw=0.5, resource=(0, 3)), order("b", p_mw=-0.5)], [-0.5, None, None, 0.5], [None] * 4),
        # a limit lowers a want, that of the PV included; one that does not bite has no opinion
        ([order(resource=(0, 1), limit_mw=0.4)], [None, 0.4, None, None], [None] * 4),
        ([order(resource=(0, 1), limit_mw=-0.1)], [-0.1, -0.1, None, None], [None] * 4),
        ([order(p_mw=0.5), order("b", limit_mw=0.4)], [0.4, None, None, None], [None] * 4),
        ([order(p_mw=0.3), order("b", limit_mw=0.4)], [0.3, None, None, None], [None] * 4),
        ([order(limit_mw=0.4), order("b", p_mw=0.5)], [0.5, None, None, None], [None] * 4),
        ([order(p_mw=0.5, limit_mw=0.4)], [0.4, None, None, None], [None] * 4),
        # no opinion, columns that do not exist
        ([order(p_mw=NAN, q_mvar=float("inf"))], [None] * 4, [None] * 4),
        ([order(resource=(-1, 0, 4, 99), p_mw=0.5)], [0.5, None, None, None], [None] * 4),
        # not yet, no longer: the decision acts at minute 11
        ([order(start=12, p_mw=0.5)], [None] * 4, [None] * 4),
        ([order(start=11, p_mw=0.5)], [0.5, None, None, None], [None] * 4),
        ([order(end=11, p_mw=0.5)], [None] * 4, [None] * 4),
        ([order(end=12, p_mw=0.5)], [0.5, None, None, None], [None] * 4),
    ],
)  # fmt: skip
def test_orders_replace_wants(orders, p, q):
    allowed, _ = tick(OperatorOrders(FLEET), FLEET, 10, news=News(orders=tuple(orders)))
    assert wants(allowed) == p
    assert wants(allowed, e.WANT_Q) == q


def test_begin_and_end_are_said_once():
    controller = OperatorOrders(FLEET)
    a, b = order("a", end=4, p_mw=0.5), order("b", start=2, end=9, limit_mw=0.2)
    said = [events_of(tick(controller, FLEET, k, news=News(orders=(a, b)))[1]) for k in range(10)]
    expected = {0: [("order", "a")], 1: [("order", "b")], 3: [("order-end", "a")], 8: [("order-end", "b")]}
    assert said == [expected.get(k, []) for k in range(10)]


def test_the_event_says_who_asks_what():
    bad = order(resource=(0, 99), p_mw=0.5, q_mvar=-0.1)
    _, (event,) = tick(OperatorOrders(FLEET), FLEET, news=News(orders=(bad,)))
    assert event.text == "order a of operator begins for 1 resources: p_mw 0.5, q_mvar -0.1; 1 of its columns do not exist"


def test_goes_on_alike_after_a_restore():
    orders = (order("a", end=4, p_mw=0.5), order("b", (1,), 2, 6, limit_mw=0.2), order("c", (3,), 3, 5, q_mvar=0.1))
    continues_alike(lambda: OperatorOrders(FLEET), FLEET, [{"news": News(orders=orders)}] * 9)
