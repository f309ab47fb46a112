"""What the HIL page tells of a run: links, clock, latencies, devices outside, raw points, and results of the test bench.

All of it comes from ``<run>/hil``, the record that a run with devices outside keeps beside its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dashboards.view import FloatArray, RunView
from vpp.kernel.errors import RunError
from vpp.kernel.quality import describe

FOLDER: Final = "hil"
STATES: Final = ("down", "connecting", "up", "stale")
UP: Final = 2
WATCHES: Final = ("heartbeat", "command", "reading", "age")
FATES: Final = (
    "accepted", "rejected", "out of range", "unknown point", "not writable", "not selected", "busy", "not supported",
    "device failed", "timeout", "not sent", "",
)  # fmt: skip
UNREAD: Final = "written only"  # a point that cannot be read has no quality
AUTONOMOUS, FOLLOW = 0, 1


@dataclass(frozen=True)
class Link:
    """A link at one row: where it stands, and what it counted so far."""

    name: str
    resources: str
    state: str
    emulated: bool
    open: bool
    lease_s: float
    rtt_s: float
    count: dict[str, int]

    @property
    def reconnects(self) -> int:
        """How often it was connected again."""
        return max(self.count["connects"] - 1, 0)

    @property
    def completeness(self) -> float:
        """Part of the expected points that first pictures brought; NaN before the first."""
        expected = self.count["expected"]
        return 1.0 - self.count["missing"] / expected if expected else float("nan")


@dataclass(frozen=True)
class Point:
    """A raw point at one row; times in seconds since 1970, NaN where there is none."""

    resource: str
    name: str
    address: str
    wire: str
    raw: float
    value: float
    unit: str
    quality: str
    source_s: float
    received_s: float
    command: str


@dataclass(frozen=True)
class Histogram:
    """Counts up to each edge [s]; the last edge is infinite."""

    edges: FloatArray
    counts: FloatArray

    def quantile(self, part: float) -> float:
        """Upper edge of the class in which this part of all ends; NaN where there is nothing."""
        total = float(self.counts.sum())
        return float(self.edges[int(np.searchsorted(np.cumsum(self.counts), part * total))]) if total else float("nan")


class Book:
    """The record of links and devices of a run; it may not be there, or not yet."""

    def __init__(self, run: Path) -> None:
        """Remember where it would lie."""
        self._path = run / FOLDER
        self._view: RunView | None = None

    def look(self) -> RunView | None:
        """The record as it stands now; None where there is none."""
        try:
            if self._view is None:
                self._view = RunView(self._path)
            else:
                self._view.refresh()
        except RunError:  # not there, not yet whole, or just being replaced
            self._view = None
        return self._view


def newest(view: RunView | None) -> int:
    """The newest row, -1 for none."""
    return -1 if view is None else view.rows - 1


def links(view: RunView, k: int) -> list[Link]:
    """Every link at a row."""
    names = view.ids("links")
    about = {name: _texts(view, "links", name) for name in ("resources", "emulated", "lease_s")}
    counted = (
        "connects", "failed_connects", "breaks", "muted", "samples", "expected", "missing", "incomplete", "commands", "refused",
        "unanswered", "not_sent", "sent", "accepted", "withheld", "unlike", "safe",
    )  # fmt: skip
    rows = {name: np.nan_to_num(view.exact(f"links/{name}", k)) for name in counted}
    state, rtt, open_ = (view.exact(f"links/{name}", k) for name in ("state", "rtt_s", "open"))
    return [
        Link(
            str(name),
            str(about["resources"][i]),
            STATES[int(state[i])] if 0 <= state[i] < len(STATES) else "unknown",
            bool(about["emulated"][i]),
            open_[i] == 1,
            float(about["lease_s"][i]),
            float(rtt[i]),
            {key: int(values[i]) for key, values in rows.items()},
        )
        for i, name in enumerate(names)
    ]


def states(view: RunView, most: int) -> dict[str, list[str]]:
    """The state of the first links over all rows."""
    which = np.arange(min(len(view.ids("links")), most))
    codes = view.columns("links/state", which)
    return {
        str(view.ids("links")[i]): [STATES[int(c)] if 0 <= c < len(STATES) else "unknown" for c in codes[:, i]] for i in which
    }


def jitter(view: RunView, name: str, k: int) -> Histogram:
    """How late ticks began ("late"), or how long they took ("took")."""
    return Histogram(_numbers(view, "jitter", "edge_s"), np.nan_to_num(view.exact(f"jitter/{name}", k)))


def latency(view: RunView, what: str, k: int) -> Histogram:
    """Durations of one of `WATCHES`."""
    at = _texts(view, "latency", "what") == what
    return Histogram(_numbers(view, "latency", "edge_s")[at], np.nan_to_num(view.exact("latency/count", k))[at])


def clock(view: RunView, k: int) -> dict[str, float]:
    """Ticks, misses and worst times so far."""
    return {name: float(view.exact(f"clock/{name}", k)[0]) for name in ("ticks", "missed", "slips", "late_s", "took_s")}


def points(view: RunView, k: int, resource: str = "") -> list[Point]:
    """The raw points of a resource, or all, at a row."""
    texts = {name: _texts(view, "points", name) for name in ("resource", "sheet", "signal", "address", "wire", "unit", "access")}
    chosen = np.flatnonzero(texts["resource"] == resource) if resource else np.arange(len(texts["resource"]))
    names = ("raw", "value", "quality", "source_s", "received_s", "command")
    raw, value, quality, source, received, fate = (view.exact(f"points/{name}", k) for name in names)
    return [
        Point(
            str(texts["resource"][i]),
            f"{texts['sheet'][i]}.{texts['signal'][i]}",
            str(texts["address"][i]),
            str(texts["wire"][i]),
            float(raw[i]),
            float(value[i]),
            str(texts["unit"][i]),
            _quality(quality[i]) if "r" in str(texts["access"][i]) else UNREAD,
            float(source[i]),
            float(received[i]),
            FATES[int(fate[i])] if 0 <= fate[i] < len(FATES) else "",
        )
        for i in chosen
    ]


def _quality(code: float) -> str:
    return describe(int(code)) if 0 <= code < 128 else "unknown"


def owners(view: RunView) -> list[str]:
    """Resources (and meters) that have points, in their order."""
    return list(dict.fromkeys(str(name) for name in _texts(view, "points", "resource")))


@dataclass(frozen=True)
class Device:
    """A device outside over time, powers in the network's size."""

    name: str
    standing: str
    address: str
    source: str
    scale: float
    lines: dict[str, FloatArray]


def device(view: RunView, i: int) -> Device:
    """A device outside over all rows.

    What is asked is the power that it shall follow, or the limit; what is applied is the same as the device tells it. Where
    nothing is asked there is neither: the register of a setpoint that is switched off means nothing.
    """
    which = np.array([i])
    names = (
        "asked_mode", "asked_p_mw", "asked_p_limit_mw", "applied_p_mw", "applied_p_limit_mw", "p_mw", "q_mvar", "vm_pu", "f_hz",
        "held_vm_pu", "held_f_hz",
    )  # fmt: skip
    v = {name: view.columns(f"outside/{name}", which)[:, 0].astype(np.float64) for name in names}
    mode = v["asked_mode"]
    asked = np.where(mode == FOLLOW, v["asked_p_mw"], np.where(mode == AUTONOMOUS, np.nan, v["asked_p_limit_mw"]))
    applied = np.where(mode == FOLLOW, v["applied_p_mw"], np.where(mode == AUTONOMOUS, np.nan, v["applied_p_limit_mw"]))
    lines = {"asked": _finite(asked), "applied": _finite(applied), "delivered": v["p_mw"]}
    lines |= {name: v[name] for name in ("q_mvar", "vm_pu", "f_hz", "held_vm_pu", "held_f_hz")}
    text = {name: str(_texts(view, "outside", name)[i]) for name in ("standing", "address", "source")}
    scale = float(_texts(view, "outside", "scale")[i])
    return Device(str(view.ids("outside")[i]), text["standing"], text["address"], text["source"], scale, lines)


def _finite(values: FloatArray) -> FloatArray:
    out: FloatArray = np.where(np.isfinite(values), values, np.nan)
    return out


def _texts(view: RunView, group: str, name: str) -> npt.NDArray[Any]:
    found = view.coordinate(group, name)
    return np.full(len(view.ids(group)), "") if found is None else found


def _numbers(view: RunView, group: str, name: str) -> FloatArray:
    return np.asarray(_texts(view, group, name), np.float64)


def benches(run: Path, given: Sequence[Path] = ()) -> list[Path]:
    """Directories of the test bench: those given, then those in the run directory and beside it."""
    near = [*sorted(run.glob("*/verdicts.json")), *sorted(run.parent.glob("*/verdicts.json"))]
    return list(dict.fromkeys(path.resolve() for path in [*given, *(p.parent for p in near)]))


def bench(path: Path) -> dict[str, Any]:
    """The manifest of a test bench's directory. Raises `RunError` where it is none."""
    try:
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text("utf-8"))
        if not isinstance(manifest, dict) or not isinstance(manifest["clauses"], list):
            raise ValueError("it has no clauses")
    except (OSError, ValueError, KeyError) as error:
        raise RunError(str(path), f"is no directory of the test bench: {error}") from error
    return manifest
