"""A lossless journal of what every decision saw, and the replay of a run from it.

``record: [seen]`` in a scenario keeps it. Replay runs today's controllers over the recorded ``Seen``: the same
controllers give the recorded decision hash, changed ones show where they differ.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vpp.historian.journal import Journal
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.orders import Order
from vpp.kernel.schedule import Schedule
from vpp.kernel.seen import Event, News, Seen
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.telemetry import Telemetry
from vpp.kernel.tick import Chain, DecisionHash, Record, decide


class SeenJournal:
    """Keeps every tick's `Seen`, lossless."""

    def __init__(self, path: Path, n: int, points: int, steps: int) -> None:
        """Make the journal in a run directory, for ``n`` resources and ``points`` meters."""
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
        self._journal = Journal.create(path, shapes, steps)
        self._news: News | None = None

    def __call__(self, k: int, record: Record) -> None:
        """Keep tick ``k``."""
        seen = record.seen
        if seen.news is not self._news:
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
            },
        )

    def close(self) -> None:
        """Release the files; what is recorded stays."""
        self._journal.close()


def replay(path: Path, chain: Chain) -> str:
    """Decide again over a recorded run; returns the decision hash.

    Raises:
        RunError: the run has no journal, or it cannot be read.
    """
    journal = Journal(path)
    changes = dict(journal.read_news())
    last, digest = Asked.nothing(chain.fleet.n), DecisionHash(chain.fleet.n)
    news, layout = News(), PointLayout()
    for k in range(journal.rows):
        if k in changes:
            news = _news_from_json(changes[k])
            layout = PointLayout(**{name: tuple(value) for name, value in changes[k]["layout"].items()})
        row = journal.read(k)
        telemetry = Telemetry(np.array(row["telemetry"]), np.array(row["quality"]), np.array(row["source_ns"]))
        points = GridPoints(layout, np.array(row["points"]), np.array(row["points_quality"]), np.array(row["points_ns"]))
        seen = Seen(telemetry, points, Setpoints(np.array(row["applied"])), last, news)
        last = decide(int(row["time_ns"]), seen, chain).asked
        digest.add(last)
    return digest.hexdigest()


def _news_to_json(news: News) -> dict[str, Any]:
    schedule = news.schedule
    return {
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
