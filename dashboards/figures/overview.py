"""The chart of the overview: panels above one another on one time axis."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboards.figures import clock, style
from dashboards.totals import Band, Curves
from dashboards.view import FloatArray

PANELS = (
    ("<b>Active power at the PCC</b>   export positive", "MW"),
    ("<b>Reactive power at the PCC</b>   export positive", "Mvar"),
    ("<b>Schedule</b>   planned (dashed) and delivered, injection positive", "MW"),
    ("<b>Bus voltage</b>   lowest, median and highest, limits dashed", "pu"),
    ("<b>State of charge</b>   mean and range of each kind", "%"),
    ("<b>Price</b>   import and export (dashed)", "€/MWh"),
)
HEIGHTS = [1.35, 0.8, 1.15, 1.2, 1.0, 0.8]


def overview(curves: Curves, zone: str, limits: tuple[float, float]) -> go.Figure:
    """Draw all panels.

    Args:
        curves: what to draw.
        zone: time zone of the axis.
        limits: lowest and highest allowed voltage [pu].
    """
    chart = Chart(clock.abscissae(curves.time_ns, zone))
    s = curves.system
    chart.line(0, s["exchange_p_mw"], "P at PCC", "MW", style.STEEL, fill=True)
    chart.line(1, s["exchange_q_mvar"], "Q at PCC", "Mvar", style.STEEL)
    chart.line(2, s["scheduled_delivered_p_mw"], "delivered", "MW", style.STEEL)
    chart.line(2, s["scheduled_p_mw"], "scheduled", "MW", style.SAND, dash="6px,3px")
    _voltage(chart, curves.voltage, limits)
    for i, (kind, band) in enumerate(curves.soc.items()):
        percent = Band(100 * band.low, 100 * band.mid, 100 * band.high)
        chart.band(4, percent, f"SoC of {kind}", "%", style.SERIES[i % len(style.SERIES)], 1)
    for i, (name, values) in enumerate(curves.single_soc.items(), start=1):
        chart.line(4, 100 * values, f"SoC of {name}", "%", style.SERIES[i % len(style.SERIES)], width=1.1, digits=1)
    chart.line(5, s["price_import_eur_per_mwh"], "import price", "€/MWh", style.STEEL, digits=2)
    chart.line(5, s["price_export_eur_per_mwh"], "export price", "€/MWh", style.SAND, dash="6px,3px", digits=2)
    return chart.figure(curves, zone)


def _voltage(chart: Chart, band: Band, limits: tuple[float, float]) -> None:
    chart.band(3, band, "voltage", "pu", style.STEEL, 4)
    low, high = limits
    shown = np.array(chart.known.get(3, []))
    for limit in limits:
        if style.near(shown, limit):
            chart.limit(3, limit)
    chart.mark(3, np.where(band.low < low, band.low, np.nan), "below the limit", "pu")
    chart.mark(3, np.where(band.high > high, band.high, np.nan), "above the limit", "pu")


class Chart:
    """Panels that share one time axis: one pointer, one zoom, one box with all values."""

    def __init__(self, x: list[str]) -> None:
        """Start an empty chart over these times."""
        self.x = x
        self.traces: list[go.Scatter] = []
        self.shapes: list[dict[str, Any]] = []
        self.known: dict[int, list[float]] = {}

    def line(
        self, panel: int, values: FloatArray, name: str, unit: str, color: str, *,
        dash: str = "solid", width: float = 1.5, digits: int = 3, fill: bool = False,
    ) -> None:  # fmt: skip
        """A value that holds during its step."""
        self._add(
            panel, values, name, unit, digits, fill="tozeroy" if fill else None, fillcolor="rgba(53,97,127,0.10)",
            line={"color": color, "width": width, "dash": dash, "shape": "hv"},
        )  # fmt: skip

    def band(self, panel: int, band: Band, name: str, unit: str, color: str, digits: int) -> None:
        """The range of many columns with its middle."""
        edge = {"color": color, "width": 0.4}
        self._add(panel, band.high, f"{name}, highest", unit, digits, line=edge)
        self._add(panel, band.low, f"{name}, lowest", unit, digits, line=edge, fill="tonexty", fillcolor=style.BAND)
        self._add(panel, band.mid, f"{name}, middle", unit, digits, line={"color": color, "width": 1.5})

    def mark(self, panel: int, values: FloatArray, name: str, unit: str) -> None:
        """Points where something is abnormal."""
        if np.isfinite(values).any():
            self._add(panel, values, name, unit, 4, mode="markers", marker={"color": style.ALARM, "size": 4}, hoverinfo="skip")

    def limit(self, panel: int, value: float) -> None:
        """A dashed line across a panel."""
        self.shapes.append(style.limit_line(value, f"y{panel + 1}"))
        self.known.setdefault(panel, []).append(value)

    def _add(self, panel: int, values: FloatArray, name: str, unit: str, digits: int, **look: Any) -> None:
        finite = values[np.isfinite(values)]
        if not len(finite):
            return
        self.known.setdefault(panel, []).extend((float(finite.min()), float(finite.max())))
        look.setdefault("mode", "lines")
        if "hoverinfo" not in look:
            look["hovertemplate"] = f"%{{y:.{digits}f}} {unit}"
        # Lists, not arrays: what is drawn stays readable in the browser.
        y = [None if value != value else round(value, 5) for value in values.tolist()]
        self.traces.append(
            go.Scatter(x=self.x, y=y, name=escape(name), xaxis="x", yaxis="y" if panel == 0 else f"y{panel + 1}", **look)
        )

    def figure(self, curves: Curves, zone: str) -> go.Figure:
        """Put the panels together."""
        if not self.x:
            return go.Figure(layout=style.nothing_yet())
        domains = style.stacked(HEIGHTS, 0.042)
        axes: dict[str, Any] = {}
        words = []
        for i, ((title, unit), domain) in enumerate(zip(PANELS, domains, strict=True)):
            empty = i not in self.known
            name = "yaxis" if i == 0 else f"yaxis{i + 1}"
            axes[name] = style.y_axis(unit, domain, showticklabels=not empty, anchor="x")
            if i in (0, 1, 2):
                axes[name] |= {"zeroline": True, "zerolinecolor": style.MUTED, "zerolinewidth": 0.8}
            if unit == "%":
                axes[name] |= {"range": [-4, 108], "tickvals": [0, 50, 100]}
            words.append(style.heading(title, domain[1]))
            if empty:
                words.append(style.note("nothing recorded", domain))
        time = style.x_axis(**clock.axis(curves.time_ns, zone), anchor="y6")
        if curves.merged > 1:
            time["title"]["text"] += f" · {curves.merged} steps a point"
        if clock.changes(curves.time_ns, zone):
            texts = [clock.label(int(t), zone) for t in curves.time_ns]
            for trace in self.traces:
                trace.customdata = texts
            time["unifiedhovertitle"] = {"text": "%{customdata}"}
        margin = {"l": 58, "r": 12, "t": 22, "b": 40}
        return go.Figure(self.traces, style.layout(xaxis=time, **axes, annotations=words, shapes=self.shapes, margin=margin))
