import numpy as np
import pytest

from controllers.grid.pcc import PccGuard
from tests.controllers.ticks import continues_alike, events_of, tick
from tests.kernel.scene import INF, NAN, opened, see
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE, simple_fleet
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.groups import Groups
from vpp.kernel.quality import INVALID, STALE, VALIDITY_MASK
from vpp.kernel.resolve import resolve

GROUPS = Groups.from_names({"pcc": None, "site": "pcc"}, ["site", "site", "pcc", None])
FLEET = simple_fleet([-1.0] * 4, [1.0] * 4, groups=GROUPS, control=np.array([CONTROL_FOLLOW] * 3 + [CONTROL_NONE]))
LAYOUT = PointLayout(("v", "m1", "m2"), ("vm_pu", "p_mw", "p_mw"), ("pcc", "pcc", "site"))


def meters(pcc=0.0, site=0.0, quality=0):
    points = GridPoints.of(LAYOUT, np.array([1.0, pcc, site]), 0)
    points.quality[1] = quality
    return points


@pytest.mark.parametrize(
    "table",
    [
        # (meter, its quality, members' power, lowest and highest sum); import 2, export 1, the members measured at 0.3 in all
        [(0.3, 0, 0.1, -2, 1), (0.1, 0, 0.1, -1.8, 1.2), (0.5, STALE, 0.1, -2.2, 0.8)],
        # a bad meter: the last residual stays
        [(0.1, 0, 0.1, -1.8, 1.2), (NAN, 0, 0.1, -1.8, 1.2), (9.0, INVALID, 0.2, -1.8, 1.2)],
        [(0.1, 0, 0.1, -1.8, 1.2), (INF, 0, 0.1, -1.8, 1.2), (0.3, 0, 0.1, -2, 1)],
        [(NAN, 0, 0.1, -2, 1), (9.0, VALIDITY_MASK, 0.1, -2, 1)],
        # a member that is not heard counts as what it was asked for, here 0.2
        [(0.4, 0, [0.1, 0.1, NAN, 5.0], -2, 1)],
    ],
)  # fmt: skip
def test_the_group_gets_its_limits_less_what_no_resource_stands_for(table):
    guard = PccGuard(FLEET, import_mw=2.0, export_mw=1.0)
    for k, (meter, quality, p, low, high) in enumerate(table):
        allowed, _ = tick(guard, FLEET, k, points=meters(meter, 7.0, quality), p_mw=p, last_p=0.2)
        assert allowed.group_lo.tolist() == pytest.approx([low, -INF]), k
        assert allowed.group_hi.tolist() == pytest.approx([high, INF]), k


@pytest.mark.parametrize(
    ("parameters", "low", "high"),
    [
        ({"import_mw": 2.0}, -2, INF), ({"export_mw": 1.0}, -INF, 1),
        ({"import_mw": 2.0, "export_mw": 1.0, "margin_mw": 0.1}, -1.9, 0.9),
        ({"import_mw": 0.0, "export_mw": 0.0}, 0, 0), ({}, -INF, INF),
    ],
)  # fmt: skip
def test_limits_are_magnitudes_with_a_margin_and_without_a_meter_nothing_is_added(parameters, low, high):
    allowed, events = tick(PccGuard(FLEET, group="site", **parameters), FLEET, p_mw=0.5)
    assert (allowed.group_lo[1], allowed.group_hi[1]) == (low, high)
    assert events == []


def test_an_inner_group_has_its_own_meter_and_name():
    guard = PccGuard(FLEET, group="site", export_mw=1.0)
    allowed, _ = tick(guard, FLEET, points=meters(9.0, 0.1), p_mw=0.2)
    assert allowed.group_hi[1] == pytest.approx(1.3)
    assert guard.name == "pcc:site"
    assert PccGuard(FLEET).name == "pcc"
    assert PccGuard(FLEET, name="border").name == "border"
    with pytest.raises(ValueError, match="nowhere"):
        PccGuard(FLEET, group="nowhere")


def test_losing_the_meter_is_said_once_and_its_return_too():
    guard = PccGuard(FLEET, export_mw=1.0)
    said = [events_of(tick(guard, FLEET, points=meters(v))[1]) for v in (0.1, NAN, NAN, 0.2, 0.2)]
    assert said == [[], [("meter-lost", "pcc")], [], [("meter-back", "pcc")], []]


def test_the_exchange_is_inside_the_limit_when_the_decision_acts():
    guard, seen = PccGuard(FLEET, export_mw=1.0), see(FLEET, p_mw=0.5, points=meters(1.3))
    allowed = opened(FLEET, seen)
    allowed.propose_p(np.array([0.8, 0.8, 0.8, 0.8]))
    guard.step(0, seen, allowed)
    asked, shortfall = resolve(allowed, seen, 0)
    residual = 1.3 - 1.5
    assert asked.setpoints.p_mw[:3].sum() + residual == pytest.approx(1.0)
    assert asked.cause_p[:3].tolist() == [9, 9, 9]
    assert not shortfall.any()


def test_goes_on_alike_after_a_restore():
    ticks = [{"points": meters(v, quality=q), "p_mw": 0.1} for v, q in ((0.5, 0), (NAN, 0), (0.1, INVALID), (0.2, 0), (0.4, 0))]
    continues_alike(lambda: PccGuard(FLEET, import_mw=1.0, export_mw=1.0), FLEET, ticks)
