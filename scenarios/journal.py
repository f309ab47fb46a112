"""A lossless journal of what every decision saw, and the replay of a run from it.

``record: [seen]`` in a scenario keeps it. Replay runs today's controllers over the recorded ``Seen``: the same
controllers give the recorded decision hash, changed ones show where they differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from vpp.historian.journal import Journal
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.grid_state import GridState
from vpp.kernel.orders import Order
from vpp.kernel.schedule import Schedule
from vpp.kernel.seen import Event, News, Seen
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.telemetry import Telemetry
from vpp.kernel.tick import Chain, DecisionHash, Record, decide

# Arrays of a `GridState`: how many numbers each has, and its type. What is not named here goes with the news.
STATE: Final = {
    "vm_pu": ("buses", "<f8"), "va_degree": ("buses", "<f8"), "vm_sigma_pu": ("buses", "<f8"), "quality": ("buses", "|u1"),
    "loading": ("branches", "<f8"), "loading_sigma": ("branches", "<f8"),
    "point_value": ("points", "<f8"), "point_sigma": ("points", "<f8"),
}  # fmt: skip
NO_STATE: Final = -(2**63)


class SeenJournal:
    """Keeps every tick's `Seen`, lossless."""

    def __init__(self, path: Path, n: int, points: int, steps: int, buses: int = 0, branches: int = 0) -> None:
        """Make the journal in a run directory, for ``n`` resources and ``points`` meters.

        Where the network's state is estimated, ``buses`` and ``branches`` say how large a state is.
        """
        signals, setpoints = len(Telemetry.signals), len(Setpoints.signals)
        shapes: dict[str, Any] = {
            "time_ns": ("<i8", ()),
            "telemetry": ("<f8", (signals, n)),
            "quality": ("|u1", (signals, n)),
            "source_ns": ("<i8", (signals, n)),
            "points": ("<f8", (points,)),
            "points_quality": ("|u1", (points,)),
            "points_ns": ("<i8", (points,)),
            "applied": ("<f8", (setpoints, n)),
        }
        size = {"buses": buses, "branches": branches, "points": points}
        if buses:
            shapes["state_ns"] = ("<i8", ())
            shapes |= {f"state_{name}": (dtype, (size[of],)) for name, (of, dtype) in STATE.items()}
        self._estimates = buses > 0
        self._unknown = {f"state_{name}": _unknown(size[of], dtype) for name, (of, dtype) in STATE.items()}
        self._journal = Journal.create(path, shapes, steps)
        self._news: News | None = None

    def __call__(self, k: int, record: Record) -> None:
        """Keep tick ``k``."""
        seen = record.seen
        if self._news is None or not _same(seen.news, self._news):
            self._journal.news(k, {**_news_to_json(seen.news), "layout": asdict(seen.points.layout)})
        self._news = seen.news
        self._journal.put(
            k,
            {
                "time_ns": np.array(record.time_ns, np.int64),
                "telemetry": seen.telemetry.block,
                "quality": seen.telemetry.quality,
                "source_ns": seen.telemetry.time_ns,
                "points": seen.points.value,
                "points_quality": seen.points.quality,
                "points_ns": seen.points.time_ns,
                "applied": seen.applied.block,
                **self._state(seen.news.grid_state),
            },
        )

    def _state(self, state: GridState | None) -> dict[str, Any]:
        """The arrays of a state."""
        if not self._estimates:
            return {}
        if state is None:
            return {"state_ns": np.array(NO_STATE, np.int64), **self._unknown}
        told = {f"state_{name}": getattr(state, name) for name in STATE}
        known = {name: value for name, value in told.items() if value.size}  # an estimator may leave some of them empty
        return {"state_ns": np.array(state.time_ns, np.int64), **self._unknown, **known}

    def close(self) -> None:
        """Release the files; what is recorded stays."""
        self._journal.close()


def replay(path: Path, chain: Chain) -> str:
    """Decide again over a recorded run; returns the decision hash.

    Raises:
        RunError: the run has no journal, or it cannot be read.
    """
    last, digest = Asked.nothing(chain.fleet.n), DecisionHash(chain.fleet.n)
    for now_ns, seen in recorded(path):
        last = decide(now_ns, replace(seen, last=last), chain).asked
        digest.add(last)
    return digest.hexdigest()


def recorded(path: Path) -> Iterator[tuple[int, Seen]]:
    """Every tick's time and what it saw, but for what was asked before it: deciding again tells that.

    Raises:
        RunError: the run has no journal, or it cannot be read.
    """
    journal = Journal(path)
    changes = dict(journal.read_news())
    news, layout, rest = News(), PointLayout(), dict[str, Any]()
    for k in range(journal.rows):
        if k in changes:
            news = _news_from_json(changes[k])
            layout = PointLayout(**{name: tuple(value) for name, value in changes[k]["layout"].items()})
            rest = changes[k].get("state") or {}
        row = journal.read(k)
        if "state_ns" in row and int(row["state_ns"]) != NO_STATE:
            news = replace(news, grid_state=_state_of(row, rest))
        telemetry = Telemetry(row["telemetry"], row["quality"], row["source_ns"])
        points = GridPoints(layout, row["points"], row["points_quality"], row["points_ns"])
        yield (
            int(row["time_ns"]),
            Seen(telemetry, points, Setpoints(row["applied"]), Asked.nothing(row["applied"].shape[1]), news),
        )


def _unknown(size: int, dtype: str) -> Any:
    """An array of nothing known."""
    return np.zeros(size, dtype) if dtype == "|u1" else np.full(size, np.nan)


def _same(a: News, b: News) -> bool:
    """Whether two news differ in nothing but the arrays of the estimate."""
    same = a.orders is b.orders and a.schedule is b.schedule and a.events == b.events == () and a.off == b.off
    return same and _rest_of(a.grid_state) == _rest_of(b.grid_state)


def _rest_of(state: GridState | None) -> dict[str, Any] | None:
    """What a state holds beside its large arrays, as JSON can say it."""
    if state is None:
        return None
    rest = {name: getattr(state, name) for name in GridState.__slots__ if name not in STATE and name != "time_ns"}
    return {
        name: [_number(x) for x in value.tolist()] if isinstance(value, np.ndarray) else value for name, value in rest.items()
    }


def _state_of(row: dict[str, Any], rest: dict[str, Any]) -> GridState:
    """A state from its arrays and the rest."""
    arrays: dict[str, Any] = {name: row[f"state_{name}"] for name in STATE}
    types = {"island": np.int32, "f_hz": np.float64, "forming": np.int64}
    more: dict[str, Any] = {
        name: np.array(value, types[name]) if name in types else tuple(value) if isinstance(value, list) else value
        for name, value in rest.items()
    }
    return GridState(int(row["state_ns"]), **arrays, **more)


def _news_to_json(news: News) -> dict[str, Any]:
    schedule = news.schedule
    return {
        "state": _rest_of(news.grid_state),
        "orders": [{**asdict(o), "resource": o.resource.tolist()} for o in news.orders],
        "off": dict(news.off),
        "events": [{**asdict(e), "value": _number(e.value)} for e in news.events],
        "schedule": None
        if schedule is None
        else {
            "start_ns": schedule.start_ns,
            "step_ns": schedule.step_ns,
            "layout": schedule.layout,
            "p_mw": [[_number(x) for x in row] for row in schedule.p_mw.tolist()],
        },
    }


def _number(value: float) -> float | None:
    """NaN as JSON's null."""
    return None if value != value else value


def _news_from_json(entry: dict[str, Any]) -> News:
    s = entry["schedule"]
    schedule = None
    if s is not None:
        p_mw = np.array([[np.nan if x is None else x for x in row] for row in s["p_mw"]], np.float64)
        schedule = Schedule(s["start_ns"], s["step_ns"], p_mw, s["layout"])
    orders = tuple(Order(**{**o, "resource": np.array(o["resource"], np.int64)}) for o in entry["orders"])
    events = tuple(Event(**{**e, "value": float("nan") if e["value"] is None else e["value"]}) for e in entry["events"])
    return News(orders=orders, schedule=schedule, off=entry["off"], events=events)
