"""The network's part of a summary: how good its estimate was, which limits broke, what outages would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Row = tuple[str, str, bool]  # what, how much, whether it is bad
Clock = Callable[[int], str]  # tells a moment in local time

QUANTITIES: Final = {"vm_low": "low voltage", "vm_high": "high voltage", "loading": "loading", "reverse": "reverse power"}
GOOD_COVERAGE: Final = 0.9  # part of the truth in the 95 % interval below which something is wrong with the stated sigmas


def estimate_rows(told: Mapping[str, Any]) -> Iterator[Row]:
    """How good the estimates were."""
    n, everything = told["estimates"], told["all"]
    yield "estimates", f"{n:,d}", n == 0
    yield "voltage error (RMSE)", _number(everything["rmse_pu"], ".5f", "pu"), False
    for name, word in (("measured", "where measured"), ("expected", "where only expected")):
        if told[name]["voltages"]:
            yield f"  {word}", _number(told[name]["rmse_pu"], ".5f", "pu"), False
    yield "stated sigma", _number(everything["sigma_pu"], ".5f", "pu"), False
    inside = everything["inside_95"]
    yield "truth in the 95 % interval", _share(inside), inside is not None and inside < GOOD_COVERAGE
    if worst := told["worst"]:
        yield "largest error", f"{worst['error_pu']:.5f} pu at {worst['bus']}", False
    yield "not observable", f"{told['unobservable']:,d} of {n:,d}", bool(told["unobservable"])
    yield "diverged", f"{told['diverged']:,d} of {n:,d}", bool(told["diverged"])
    yield "points taken for gross errors", f"{len(told['suspects']):,d}", bool(told["suspects"])
    if told["gross_errors"]:
        found = sum(error["found_ns"] is not None for error in told["gross_errors"])
        yield "gross errors found", f"{found} of {len(told['gross_errors'])}", found < len(told["gross_errors"])
    yield "branches doubted", f"{len(told['doubted']):,d}", bool(told["doubted"])
    if stale := told.get("stale"):
        found = sum(branch["found_ns"] is not None for branch in stale)
        yield "stale switches found", f"{found} of {len(stale)}", found < len(stale)


def limit_rows(told: Mapping[str, Any]) -> Iterator[Row]:
    """The nearest or worst value of every quantity, and how long limits were broken."""
    for name, row in told["worst"].items():
        broken = told["counts"][name]
        over = f", {broken['elements']} broken for {broken['element_hours']:,.4g} h" if broken["elements"] else ""
        value = f"{shown(row['value'], row['unit'])} of {shown(row['limit'], row['unit'])}"
        yield QUANTITIES[name], f"{value} at {row['element']}{over}", bool(broken["elements"])


def outage_rows(told: Mapping[str, Any], clock: Clock) -> Iterator[Row]:
    """What outages would do."""
    if trouble := told.get("trouble"):
        yield "not analysed", str(trouble), True
        return
    yield "moment", f"{clock(told['at_ns'])} ({told['why']})", False
    yield "outages solved", f"{told['outages'] - told['unsolved']:,d} of {told['outages']:,d}", bool(told["unsolved"])
    yield "cut something off", f"{told['cut_off']:,d}", False
    yield "leave islands that live on", f"{told['parted']:,d}", False
    yield "break limits", f"{told['harmful']:,d}, {told['caused']:,d} limits in all", bool(told["harmful"])
    if told["cases"]:
        worst = told["cases"][0]
        yield "worst", f"{worst['outage']}: {case_words(worst)}", False


def case_words(case: Mapping[str, Any]) -> str:
    """An outage in words."""
    if case["state"] == "no solution":
        return "no solution"
    parts = []
    if case["lost_buses"]:
        parts.append(
            f"{case['lost_buses']} buses off, {case['lost_load_mw']:.3g} MW of load, "
            f"{case['lost_generation_mw']:.3g} MW of generation"
        )
    if "parted" in case["state"]:
        parts.append("leaves an island that lives on")
    if case["violations"]:
        parts.append(f"{case['violations']} limits broken")
    if case["restored_by"]:
        parts.append(f"{'' if case['restored_allowed'] else 'against limits: '}close {case['restored_by']}")
    return "; ".join(parts) or "nothing breaks"


def shown(value: float, unit: str) -> str:
    """A value of a limit, with its unit."""
    if unit == "1":
        return f"{100 * value:.1f} %"
    return f"{value:.4f} pu" if unit == "pu" else f"{value:.4g} {unit}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, form: str, unit: str) -> str:
    return "–" if value is None else f"{value:{form}} {unit}".rstrip()
