"""Plots of the network's estimate, its limits and its outages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from scenarios.report.clock import packed
from scenarios.report.figures import BLUE, GREEN, GREY, ORANGE, RED, Figure, axis_of, line
from scenarios.report.grid_data import Curve, GridData
from scenarios.report.grid_rows import QUANTITIES
from vpp.kernel.signals import FloatArray

RANKED: Final = 15
MORE: Final = 1.001  # times the highest loading before: an outage that loads no branch more than that has no bar
MARKS: Final = {"measured": (GREY, "measured"), "suspect": (RED, "measured, taken for a gross error")}
BROKEN: Final = {"vm_low": BLUE, "vm_high": ORANGE, "loading": RED, "reverse": GREEN}


def grid_figures(data: GridData, manifest: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Topic and figure of every plot for which there is something to show."""
    limits = manifest.get("scenario", {}).get("limits", {})
    band = tuple((limits[key], f"limit {limits[key]:g}") for key in ("vm_low_pu", "vm_high_pu") if key in limits)
    for curve in data.curves:
        yield "estimate", _bus(curve, band)
    topics = ("estimate", _error(data.estimate)), ("estimate", _suspicions(data.estimate)), ("limits", _broken(data.broken))
    yield from ((topic, figure) for topic, figure in topics if figure.traces)
    told = manifest.get("contingencies") or {}
    if told.get("cases"):
        for figure in _outages(told["cases"], float(limits.get("loading", 1.0)), told["loading_before"] or 0.0):
            yield "outages", figure


def _bus(curve: Curve, band: tuple[tuple[float, str], ...]) -> Figure:
    """One bus: what is true, what is estimated and how surely, what its meter shows."""
    v = curve.values
    known = np.concatenate([x[np.isfinite(x)] for x in v.values()])
    low, high = (known.min(), known.max()) if len(known) else (1.0, 1.0)
    traces = line("", v["high"], BLUE, width=0.2, showlegend=False, hoverinfo="skip")
    fill = {"fill": "tonexty", "fillcolor": f"{BLUE}2e"} if _whole(v["low"]) else {}
    traces += line("95 % interval", v["low"], BLUE, width=0.2, hoverinfo="skip", **fill)
    traces += line("estimated", v["estimated"], BLUE) + line("true", v["true"], ORANGE, dash="dot")
    for name, (colour, words) in MARKS.items():
        if name in v and np.isfinite(v[name]).any():
            y = packed(np.append(v[name], np.nan))
            marker = {"color": colour, "size": 4 if name == "measured" else 6, "symbol": "circle" if name == "measured" else "x"}
            traces.append({"type": "scatter", "mode": "markers", "name": words, "y": y, "marker": marker})
    near = tuple((value, text) for value, text in band if low - 0.01 <= value <= high + 0.01)
    return Figure(f"Voltage at {curve.name}", "true, and as estimated for the same moment", traces, axis_of("pu", ".4f"), near)


def _whole(values: FloatArray) -> bool:
    """Whether there is no gap between the first and the last known value: plotly would fill right across it."""
    known = np.flatnonzero(np.isfinite(values))
    return bool(len(known) and known[-1] - known[0] + 1 == len(known))


def _error(rows: Mapping[str, FloatArray]) -> Figure:
    traces = line("true error (RMSE)", rows.get("rmse_pu"), ORANGE) + line("stated sigma", rows.get("sigma_pu"), BLUE)
    note = "over all buses, of the estimate in force"
    return Figure("Error of the estimate", note, traces, {**axis_of("pu", ".5f"), "rangemode": "tozero"})


def _suspicions(rows: Mapping[str, FloatArray]) -> Figure:
    words = (
        ("unknown", "buses not observable", GREY),
        ("suspects", "points taken out", RED),
        ("doubted", "branches doubted", ORANGE),
    )
    some = [(rows.get(name), word, colour) for name, word, colour in words]
    traces = [
        t
        for values, word, colour in some
        if values is not None and np.nanmax(values, initial=0) > 0
        for t in line(word, values, colour)
    ]
    y = {**axis_of("number", ",.0f"), "rangemode": "tozero"}
    return Figure("Suspicions", "what the estimate could not tell, and what it did not believe", traces, y)


def _broken(rows: Mapping[str, FloatArray]) -> Figure:
    traces = [
        trace for name, values in rows.items() if np.nanmax(values, initial=0) > 0
        for trace in line(QUANTITIES.get(name, name), values, BROKEN.get(name, GREY), width=1.2)
    ]  # fmt: skip
    y = {**axis_of("buses or branches", ",.0f"), "rangemode": "tozero"}
    return Figure("Limits broken", "how many at the same time", traces, y)


def _outages(cases: list[dict[str, Any]], limit: float, before: float) -> Iterator[Figure]:
    """The worst outages by what they cut off, and those that load some branch more than any was before."""
    lost = [case for case in cases if case["lost_load_mw"] + case["lost_generation_mw"] > 0][:RANKED]
    if lost:
        traces = [
            _bars("load", lost, [case["lost_load_mw"] for case in lost], GREY),
            _bars("generation", lost, [case["lost_generation_mw"] for case in lost], ORANGE),
        ]
        note = f"the {len(lost)} worst outages"
        yield Figure("What outages cut off", note, traces, _names(), x={"title": {"text": "MW"}, "rangemode": "tozero"})
    loaded = sorted((c for c in cases if (c["loading_max"] or 0.0) > before * MORE), key=lambda c: -float(c["loading_max"]))[
        :RANKED
    ]
    if loaded:
        traces = [
            _bars("highest loading", loaded, [case["loading_max"] for case in loaded], RED, [c["loading_at"] for c in loaded])
        ]
        x = {"title": {"text": "of rated current"}, "rangemode": "tozero", "tickformat": ".0%"}
        lines = ((limit, f"limit {limit:.0%}"),) if loaded[0]["loading_max"] > 0.6 * limit else ()
        yield Figure(
            "Loading after outages", f"of the {len(cases)} worst, those that load a branch most", traces, _names(), lines, x=x
        )


def _bars(
    name: str, cases: list[dict[str, Any]], values: list[float], colour: str, text: list[str] | None = None
) -> dict[str, Any]:
    y = [case["outage"] for case in cases]
    more = {} if text is None else {"text": text, "textposition": "none", "hovertemplate": "%{y}: %{x} at %{text}<extra></extra>"}
    return {"type": "bar", "orientation": "h", "name": name, "x": values, "y": y, "marker": {"color": colour}, **more}


def _names() -> dict[str, Any]:
    """The outages from top to bottom, the worst first."""
    return {"autorange": "reversed", "type": "category", "tickfont": {"size": 10}}
