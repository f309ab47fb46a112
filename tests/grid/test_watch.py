"""Limits over time: counted by hand, and the same as checking every state by itself."""

from __future__ import annotations

import numpy as np
import pytest

from vpp.grid import load_network
from vpp.grid.limits import LOADING, QUANTITIES, REVERSE, VM_HIGH, VM_LOW, Limits, check
from vpp.grid.powerflow import choose
from vpp.grid.watch import LimitWatch

NAN = float("nan")


def of(watch: LimitWatch, quantity: int, element: int) -> dict[str, float]:
    """What was found of one limit."""
    found = watch.found()
    (at,) = np.flatnonzero((found.quantity == quantity) & (found.element == element))
    return {name: float(getattr(found, name)[at]) for name in found._fields}


def test_the_worst_value_and_how_long() -> None:
    watch = LimitWatch(np.array([1.0, NAN]), np.array([0.9, 0.9]), np.array([1.1, 1.1]), np.array([0.0, NAN]))
    told = []
    for vm, loading, reverse in (
        ((1.0, 0.89), (0.5, 9.0), (-1.0, 5.0)),
        ((1.12, 0.88), (1.2, 9.0), (2.0, 5.0)),
        ((1.11, NAN), (1.1, 9.0), (NAN, 5.0)),
        ((1.0, 0.85), (0.5, 9.0), (0.5, 5.0)),
        ((1.13, 1.0), (1.0, 9.0), (0.0, 5.0)),
    ):
        told.append(watch(np.array(vm), np.array(loading), np.array(reverse)).tolist())
    assert told == [[0, 1, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    low = of(watch, VM_LOW, 1)
    assert (low["value"], low["limit"], low["margin"]) == (0.85, 0.9, pytest.approx(-0.05))
    assert (low["at"], low["first"], low["steps"], low["longest"]) == (3, 0, 3, 2)  # what is not known is no violation
    assert low["severity"] == pytest.approx(0.05 / 0.9)
    high = of(watch, VM_HIGH, 0)
    assert (high["value"], high["at"], high["first"], high["steps"], high["longest"]) == (1.13, 4, 1, 3, 2)
    full = of(watch, LOADING, 0)
    assert (full["value"], full["at"], full["steps"], full["longest"]) == (1.2, 1, 2, 2)
    back = of(watch, REVERSE, 0)
    assert (back["value"], back["margin"], back["severity"], back["steps"]) == (2.0, -2.0, 2.0, 2)
    kept = of(watch, VM_LOW, 0)
    assert (kept["value"], kept["first"], kept["steps"]) == (1.0, -1, 0)
    found = watch.found()
    assert not ((found.quantity == LOADING) & (found.element == 1)).any()  # an unrated branch has no limit
    assert [QUANTITIES[q] for q in found.quantity[found.worst()]] == ["reverse", "loading", "vm_low", "vm_high"]


def test_nothing_seen_is_nothing_found() -> None:
    watch = LimitWatch(np.ones(2), np.full(3, 0.9), np.full(3, 1.1), np.full(2, NAN))
    assert len(watch.found().value) == 0
    watch(np.full(3, NAN), np.full(2, NAN), np.zeros(0))
    assert len(watch.found().value) == 0
    assert watch.steps == 1


def test_the_same_as_a_check_of_every_state() -> None:
    network = load_network("simbench:1-MV-rural--0-sw")
    limits = Limits(1.015, 1.03, rating=0.3, reverse_mw=0.0)
    watch, engine = LimitWatch.of(network, limits), choose(network)[0]
    p, q = network.rated_injections()
    worst: dict[tuple[int, int], float] = {}
    steps: dict[tuple[int, int], int] = {}
    for scale in (0.2, 2.0, -1.0, 0.5):
        v = engine.solve(scale * p, scale * q).v
        checks = check(network, v, limits)
        for k, margin in enumerate(checks.margin.tolist()):
            key = int(checks.quantity[k]), int(checks.element[k])
            worst[key] = min(margin, worst.get(key, np.inf))
            steps[key] = steps.get(key, 0) + (margin < 0)
        back = np.full(network.n_branch, NAN)
        of_back = checks.quantity == REVERSE
        back[checks.element[of_back]] = checks.value[of_back]
        loading = np.where(network.branch_on, network.branch_flows(v).loading, NAN)
        counts = watch(network.bus_values(np.abs(v)), loading, back)
        assert counts.tolist() == np.bincount(checks.quantity[checks.violated], minlength=4).tolist()
    found = watch.found()
    keys = list(zip(found.quantity.tolist(), found.element.tolist(), strict=True))
    assert sorted(keys) == sorted(worst)
    assert found.margin.tolist() == [worst[key] for key in keys]
    assert found.steps.tolist() == [steps[key] for key in keys]
    assert set(found.quantity[found.violated].tolist()) == {LOADING, VM_LOW, VM_HIGH, REVERSE}
