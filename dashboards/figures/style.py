"""How charts look: calm greys after ISA-101, colour only for what is abnormal."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

INK: Final = "#2f3b45"
MUTED: Final = "#6d7a86"
GRID: Final = "#e3e7ea"
PAPER: Final = "#ffffff"
STEEL: Final = "#35617f"  # the one that matters in a panel
SAND: Final = "#a3896a"  # its companion
BAND: Final = "rgba(109,122,134,0.18)"
LIMIT: Final = "#b9714a"
ALARM: Final = "#c62828"
SERIES: Final = (STEEL, SAND, "#5f7f6a", "#7a6a94", "#4f8f95", "#94785f")  # quiet hues, told apart by lightness too
BELOW: Final[dict[str, Any]] = {
    "orientation": "h", "x": 0, "y": 0.005, "yref": "container", "yanchor": "bottom", "font": {"size": 10}, "itemwidth": 30,
}  # fmt: skip
BESIDE: Final = {"l": 54, "r": 10, "t": 22, "b": 74}  # margins of the charts beside the diagram
FONT: Final = "Inter, 'Segoe UI', Roboto, 'Liberation Sans', 'DejaVu Sans', sans-serif"


def layout(**more: Any) -> dict[str, Any]:
    """What all charts have in common."""
    return {
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "font": {"family": FONT, "size": 11, "color": INK},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverlabel": {"bgcolor": "rgba(255,255,255,0.96)", "bordercolor": GRID, "font": {"size": 11}},
        "showlegend": False,
        "margin": {"l": 62, "r": 14, "t": 6, "b": 42},
        "uirevision": "keep",
        **more,
    }


def x_axis(**more: Any) -> dict[str, Any]:
    """A time axis with a line that follows the pointer through all panels."""
    return {
        "showgrid": True,
        "gridcolor": GRID,
        "zeroline": False,
        "showline": True,
        "linecolor": GRID,
        "ticks": "outside",
        "tickcolor": GRID,
        "showspikes": True,
        "spikemode": "across",
        "spikesnap": "cursor",
        "spikethickness": 1,
        "spikedash": "solid",
        "spikecolor": MUTED,
        **more,
    }


def y_axis(title: str, domain: tuple[float, float], **more: Any) -> dict[str, Any]:
    """The axis of one panel."""
    return {
        "title": {"text": title, "font": {"size": 11, "color": MUTED}},
        "domain": list(domain),
        "gridcolor": GRID,
        "zeroline": False,
        "nticks": 5,
        "tickfont": {"size": 10},
        "automargin": False,
        **more,
    }


def stacked(heights: list[float], gap: float) -> list[tuple[float, float]]:
    """Domains of panels from top to bottom, heights in relation to one another."""
    free = 1 - gap * (len(heights) - 1)
    domains, top = [], 1.0
    for height in heights:
        bottom = top - free * height / sum(heights)
        domains.append((max(0.0, bottom), top))
        top = bottom - gap
    return domains


def limit_line(value: float, axis: str) -> dict[str, Any]:
    """A dashed line across the panel of a y axis."""
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": axis, "y0": value, "y1": value, "layer": "below",
        "line": {"color": LIMIT, "width": 1, "dash": "4px,4px"},
    }  # fmt: skip


def near(values: npt.NDArray[np.floating], limit: float) -> bool:
    """Whether a voltage limit [pu] is close enough to what is shown to be worth its place."""
    known = values[np.isfinite(values)]
    return bool(len(known) and known.min() - 0.05 < limit < known.max() + 0.05)


def heading(text: str, top: float) -> dict[str, Any]:
    """The name of a panel, above its upper left corner."""
    return {
        "text": text, "x": 0, "y": top, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom",
        "showarrow": False, "font": {"size": 11.5, "color": INK}, "yshift": 1,
    }  # fmt: skip


def note(text: str, domain: tuple[float, float]) -> dict[str, Any]:
    """A word in the middle of a panel that has nothing to show."""
    return {
        "text": text, "x": 0.5, "y": sum(domain) / 2, "xref": "paper", "yref": "paper", "showarrow": False,
        "font": {"size": 12, "color": MUTED},
    }  # fmt: skip


def nothing_yet() -> dict[str, Any]:
    """Layout of a chart before the first step: axes without any value have no scale to draw."""
    hidden = {"visible": False}
    return layout(xaxis=hidden, yaxis=hidden, annotations=[note("no step yet", (0.0, 1.0))])
