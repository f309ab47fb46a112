"""The plots of a report, as plotly's JSON. Their x values are shared, so the page puts them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from scenarios.report.clock import packed
from scenarios.report.data import Band, RunData
from vpp.kernel.signals import FloatArray

BLUE, ORANGE, GREEN, RED, SKY, PINK, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#5f6b7a"
COLOURS: Final = (BLUE, ORANGE, GREEN, PINK, SKY, RED, "#8c6d31", "#7b4fa3", GREY, "#b3a100", "#1b9e9e", "#a33b5c")
KINDS: Final = {"pv": ORANGE, "battery": GREEN, "load": GREY}
PHYSICAL: Final = {"rating": "#9aa5b1", "availability": "#c3cbd3", "capability": "#7b8794", "step": "#dde2e7"}  # owners


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot: its traces without x, its y axis, and horizontal lines (value, text)."""

    title: str
    note: str
    traces: list[dict[str, Any]]
    y: dict[str, Any]
    lines: tuple[tuple[float, str], ...] = ()
    aside: bool = False  # many traces: the legend stands beside the plot
    x: dict[str, Any] | None = None  # an axis of its own in place of the time axis: traces bring their x, lines stand upright

    def layout(self) -> dict[str, Any]:
        """What differs from the layout that all plots share."""
        a, b = ("x", "y") if self.x is None else ("y", "x")
        stroke = {"color": RED, "width": 1.2, "dash": "dash"}
        across = {"type": "line", f"{a}ref": "paper", f"{a}0": 0, f"{a}1": 1, "line": stroke}
        at = {f"{a}ref": "paper", a: 1, "xanchor": "right", "yanchor": "bottom", "showarrow": False}
        legend = {"orientation": "v", "x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top", "font": {"size": 11}}
        return {
            "yaxis": self.y,
            **({"xaxis": self.x, "hovermode": "closest"} if self.x is not None else {}),
            **({"legend": legend} if self.aside else {}),
            "shapes": [{**across, f"{b}0": value, f"{b}1": value} for value, _ in self.lines],
            "annotations": [{**at, b: value, "text": text, "font": {"size": 11, "color": RED}} for value, text in self.lines],
        }


def figures(data: RunData) -> Iterator[Figure]:
    """Every plot for which the run has something to show."""
    s, scenario = data.system, data.manifest.get("scenario", {})
    yield from _some(_exchange(s, scenario))
    yield from _some(_schedule(s))
    yield from _some(_kinds(data.power))
    limits = scenario.get("limits", {})
    voltage = tuple((limits[key], f"limit {limits[key]:g}") for key in ("vm_low_pu", "vm_high_pu") if key in limits)
    yield from _some(_band(data.voltage, "Voltage", "all buses: lowest, middle, highest", BLUE, axis_of("pu", ".3f"), voltage))
    share = {**axis_of("of capacity", ".0%"), "range": [0, 1], "tickformat": ".0%"}
    yield from _some(_band(data.soc, "State of charge", "all batteries: lowest, middle, highest", GREEN, share, ()))
    yield from _some(_loading(data.loading, limits.get("loading")))
    yield from _some(_curtailment(s))
    yield from _some(_causes(data.causes))
    yield from _some(_prices(s))


def _some(figure: Figure) -> Iterator[Figure]:
    """The figure, if there is anything in it."""
    if figure.traces:
        yield figure


def axis_of(unit: str, form: str = ",.4~g") -> dict[str, Any]:
    """A y axis with its unit."""
    return {"title": {"text": unit}, "hoverformat": form}


def line(name: str, values: FloatArray | None, colour: str, **more: Any) -> list[dict[str, Any]]:
    """A trace whose values hold until the next; nothing where there are none."""
    if values is None or not np.isfinite(values).any():
        return []
    shape = {"color": colour, "width": more.pop("width", 1.6), "shape": "hv", "dash": more.pop("dash", "solid")}
    y = packed(np.append(values, values[-1]))
    return [{"type": "scatter", "mode": "lines", "name": name, "y": y, "line": shape, **more}]


def _exchange(s: Mapping[str, FloatArray], scenario: Mapping[str, Any]) -> Figure:
    guards = [g for g in scenario.get("control", {}).get("guards", ()) if g.get("use") == "pcc" and g.get("group") == "pcc"]
    lines = [(g["export_mw"], "export limit") for g in guards if g.get("export_mw") is not None]
    lines += [(-g["import_mw"], "import limit") for g in guards if g.get("import_mw") is not None]
    traces = line("P [MW]", s.get("exchange_p_mw"), BLUE) + line("Q [Mvar]", s.get("exchange_q_mvar"), ORANGE)
    return Figure("Exchange with the public grid", "export positive", traces, axis_of("MW, Mvar"), tuple(lines))


def _schedule(s: Mapping[str, FloatArray]) -> Figure:
    traces = line("scheduled", s.get("scheduled_p_mw"), GREY, dash="dash")
    if traces:
        traces += line("delivered", s.get("scheduled_delivered_p_mw"), GREEN)
    return Figure("Schedule and delivery", "the resources that have a schedule; injection positive", traces, axis_of("MW"))


def _kinds(power: Mapping[str, FloatArray]) -> Figure:
    traces = [
        trace for i, (kind, values) in enumerate(power.items()) for trace in line(kind, values, KINDS.get(kind, COLOURS[i % 12]))
    ]
    return Figure("Power by kind", "delivered, injection positive", traces, axis_of("MW"))


def _band(
    band: Band | None, title: str, note: str, colour: str, y: dict[str, Any], lines: tuple[tuple[float, str], ...]
) -> Figure:
    if band is None:
        return Figure(title, note, [], y)
    # plotly would fill right across a gap.
    fill = {"fill": "tonexty", "fillcolor": f"{colour}2e"} if np.isfinite(band.low).all() else {}
    traces = line("highest", band.high, colour, width=0.8)
    traces += line("lowest", band.low, colour, width=0.8, **fill)
    return Figure(title, note, traces + line("middle", band.middle, colour), y, lines)


def _loading(loading: Mapping[str, FloatArray], limit: float | None) -> Figure:
    traces = [t for i, (name, values) in enumerate(loading.items()) for t in line(name, values, COLOURS[i % 12], width=1.2)]
    y = {**axis_of("of rated current", ".1%"), "tickformat": ".0%", "rangemode": "tozero"}
    peak = max((float(np.nanmax(v)) for v in loading.values()), default=0.0)
    lines = ((limit, f"limit {limit:.0%}"),) if limit and peak > 0.6 * limit else ()
    return Figure("Branch loading", f"the {len(traces)} branches with the highest peak", traces, y, lines, aside=True)


def _curtailment(s: Mapping[str, FloatArray]) -> Figure:
    curtailed = s.get("curtailed_mw")
    some = curtailed is not None and np.nanmax(curtailed, initial=0.0) > 0
    traces = line("curtailed", curtailed, RED, **_filled(RED)) if some else []
    return Figure("Curtailment", "available power that was not let in", traces, {**axis_of("MW"), "rangemode": "tozero"})


def _causes(causes: Mapping[str, FloatArray]) -> Figure:
    """Physical bounds in grey at the bottom, those who decide in colour above them."""
    names = sorted(causes, key=lambda name: name not in PHYSICAL)
    colours = [PHYSICAL.get(name) or COLOURS[i % len(COLOURS)] for i, name in enumerate(names)]
    traces = [trace for name, colour in zip(names, colours) for trace in line(name, causes[name], colour, **_filled(colour))]
    y = {**axis_of("resources", ",.0f"), "rangemode": "tozero"}
    return Figure("Who binds", "how many setpoints each one decides", traces, y, aside=True)


def _filled(colour: str) -> dict[str, Any]:
    """Make a line the edge of an area, stacked upon those before it."""
    return {"width": 0.5, "stackgroup": "all", "fillcolor": f"{colour}b0"}


def _prices(s: Mapping[str, FloatArray]) -> Figure:
    traces = line("import", s.get("price_import_eur_per_mwh"), BLUE) + line("export", s.get("price_export_eur_per_mwh"), ORANGE)
    return Figure("Prices", "of energy at the PCC", traces, axis_of("EUR/MWh"))
