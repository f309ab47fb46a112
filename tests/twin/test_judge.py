"""How good an estimate is, counted by hand on a network of three buses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from twin.grid_meters import MeterErrors
from twin.judge import ROW, EstimateJudge
from vpp.kernel import quality as q
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.grid_state import GridState

S = 10**9
LAYOUT = PointLayout(
    ("pcc_p_mw", "vm bus 1", "p line 7 from"), ("p_mw", "vm_pu", "p_mw"), ("pcc", "", ""), ("", "bus 1", "line 7"),
    ("", "", "from"), (0.0, 0.003, 0.01),
)  # fmt: skip
BUSES, BRANCHES = ("A", "B", "C"), ("A-B", "B-C")
ERRORS = MeterErrors(np.array([0, 1]), np.array([2 * S, 90 * S]), np.array([50 * S, 99 * S]), np.array([0.1, -3.0]))


def judge(errors: MeterErrors = ERRORS, remembered: int = 2) -> EstimateJudge:
    return EstimateJudge(LAYOUT, BUSES, BRANCHES, ("line 7", "line 8"), errors, remembered)


def state(
    second: int, vm: Any = (1.0, 1.0, 1.0), sigma: Any = (0.01, 0.01, 0.01), quality: Any = (0, 0, 0), **more: Any
) -> GridState:
    loading = np.array([0.5, 0.25])
    return GridState(
        second * S, np.array(vm, float), np.zeros(3), np.array(sigma, float), loading, np.array(quality, np.uint8),
        loading_sigma=0.1 * loading, point_value=np.array([np.nan, 1.0, 0.2]), point_sigma=np.array([np.nan, 0.002, 0.01]),
        **more,
    )  # fmt: skip


def step(of: EstimateJudge, second: int, true: Any, found: GridState | None, late: int = 0) -> tuple[Any, Any]:
    """One step: a tick at a second whose points were measured ``late`` seconds earlier."""
    points = GridPoints.of(LAYOUT, np.array([5.0, 1.01, 0.21]), (second - late) * S)
    record: Any = SimpleNamespace(time_ns=second * S, seen=SimpleNamespace(points=points, news=SimpleNamespace(grid_state=found)))
    truth: Any = SimpleNamespace(vm_pu=np.array(true, float), points_true=np.array([1.0, 0.2]))
    of(record, truth)
    return record, truth


def test_an_estimate_is_compared_with_the_truth_of_its_moment_once() -> None:
    one = judge()
    step(one, 1, (1.01, 1.03, 1.0), None)
    assert np.isnan(one.row).all()
    found = state(1, (1.0, 1.0, 1.0), (0.01, 0.01, 0.02), (0, 0, q.SUBSTITUTED))
    step(one, 2, (0.5, 0.5, 0.5), found)
    step(one, 3, (0.5, 0.5, 0.5), found)
    told = one.told()
    assert (told["estimates"], told["judged"], told["diverged"], told["unobservable"]) == (1, 1, 0, 0)
    assert told["all"]["rmse_pu"] == pytest.approx(np.sqrt((0.01**2 + 0.03**2) / 3))
    assert told["all"]["inside_95"] == pytest.approx(2 / 3)  # 0.03 is three sigma
    assert told["all"]["sigma_pu"] == pytest.approx(np.sqrt((2 * 0.01**2 + 0.02**2) / 3))
    assert (told["measured"]["voltages"], told["expected"]["voltages"], told["expected"]["rmse_pu"]) == (2, 1, 0.0)
    assert told["worst"] == {"error_pu": pytest.approx(0.03), "bus": "B", "time_ns": S}
    values = dict(zip((name for name, *_ in ROW), one.row.tolist(), strict=True))
    assert values["age_s"] == 2.0
    assert values["rmse_pu"] == pytest.approx(told["all"]["rmse_pu"])
    assert (values["unknown"], values["suspects"], values["doubted"]) == (0.0, 0.0, 0.0)


def test_what_is_not_known_is_counted_and_not_compared() -> None:
    one = judge()
    step(one, 1, (1.0, 1.0, np.nan), None)
    step(one, 2, (1.0, 1.0, np.nan), state(1, (1.0, np.nan, np.nan), quality=(0, 2, 2), wanted=("bus B", "bus C")))
    nothing = state(2, (np.nan,) * 3, wanted=("measurements that agree",), converged=False)
    step(one, 3, (1.0, 1.0, np.nan), nothing)
    told = one.told()
    assert (told["estimates"], told["unobservable"], told["diverged"], told["unknown_voltages"]) == (2, 1, 1, 3)
    assert told["all"]["voltages"] == 1
    assert [text["text"] for text in told["wanted"]] == ["bus B", "bus C", "measurements that agree"]


def test_an_estimate_of_a_moment_too_long_ago_is_not_judged() -> None:
    one = judge(remembered=1)
    for second in (1, 2, 3):
        step(one, second, (1.0, 1.0, 1.0), None)
    step(one, 4, (1.0, 1.0, 1.0), state(1))
    assert (one.told()["estimates"], one.told()["judged"], one.told()["all"]["rmse_pu"]) == (1, 0, None)


def test_a_suspicion_is_right_where_the_value_had_a_gross_error() -> None:
    """The value counts by the moment of its measurement: told 3 s late, that of second 4 is from before the error."""
    one = judge()
    step(one, 4, (1.0, 1.0, 1.0), None, late=3)
    step(one, 5, (1.0, 1.0, 1.0), state(4, suspects=("vm bus 1",)))
    step(one, 6, (1.0, 1.0, 1.0), state(5, suspects=("vm bus 1", "p line 7 from"), doubted=("line 8",)))
    told = one.told()
    assert told["suspects"] == [
        {"point": "vm bus 1", "estimates": 2, "first_ns": 4 * S, "last_ns": 5 * S, "right": 1},
        {"point": "p line 7 from", "estimates": 1, "first_ns": 5 * S, "last_ns": 5 * S, "right": 0},
    ]
    assert told["doubted"] == [{"branch": "B-C", "estimates": 1, "first_ns": 5 * S, "last_ns": 5 * S, "right": 0}]
    assert told["stale"] == []
    assert [(e["point"], e["found_ns"]) for e in told["gross_errors"]] == [("vm bus 1", 6 * S), ("p line 7 from", None)]


def test_a_doubt_is_right_where_a_state_is_stale() -> None:
    one = EstimateJudge(LAYOUT, BUSES, BRANCHES, ("line 7", "line 8"), ERRORS, 2, ("line 8", "line 7"))
    step(one, 1, (1.0, 1.0, 1.0), None)
    step(one, 2, (1.0, 1.0, 1.0), state(1, doubted=("line 8",)))
    assert one.told()["doubted"][0]["right"] == 1
    assert one.told()["stale"] == [{"branch": "B-C", "found_ns": S}, {"branch": "A-B", "found_ns": None}]


def test_the_series_say_what_is_in_force() -> None:
    one = judge()
    step(one, 1, (1.0, 1.0, 1.0), None)
    record, truth = step(one, 2, (1.0, 1.0, 1.0), None)
    series = one.series()

    def values() -> dict[str, list[float]]:
        found = {f"{s.group}/{s.name}": of(record, truth, None) for s, of in series}  # type: ignore[arg-type]
        return {name: np.asarray(value, float).tolist() for name, value in found.items()}

    before = values()
    assert np.isnan(before["buses/est_vm_pu"]).all()
    assert before["buses/est_quality"] == [q.INVALID] * 3
    assert before["branches/est_doubted"] == [0.0, 0.0]
    record, truth = step(one, 3, (1.0, 1.0, 1.0), state(2, suspects=("p line 7 from",), doubted=("line 7",)), late=1)
    after = values()
    assert after["buses/est_vm_pu"] == [1.0, 1.0, 1.0]
    assert after["branches/est_loading_sigma"] == pytest.approx([0.05, 0.025])
    assert after["branches/est_doubted"] == [1.0, 0.0]
    assert after["meters/value"] == [5.0, 1.01, 0.21]
    assert after["meters/true_value"][1:] == [1.0, 0.2]
    assert np.isnan(after["meters/true_value"][0])
    assert after["meters/est_value"][1:] == [1.0, 0.2]
    assert after["meters/suspect"] == [0.0, 0.0, 1.0]
    assert after["meters/age_s"] == [1.0] * 3
    assert after["estimate/suspects"] == [1.0]


def test_gross_errors_add_while_they_last() -> None:
    assert ERRORS.at(S, 2).tolist() == [0.0, 0.0]
    assert ERRORS.at(2 * S, 2).tolist() == [0.1, 0.0]
    assert ERRORS.at(50 * S, 2).tolist() == [0.0, 0.0]
    both = MeterErrors(np.array([0, 0]), np.array([0, 0]), np.array([9, 9]), np.array([0.5, 0.25]))
    assert both.at(3, 1).tolist() == [0.75]
