"""The weather over the area of a network: made by seed, or read from files; one time series for each cell of a grid."""

from __future__ import annotations

from twin.weather.data import Cells, Weather

__all__ = ["Cells", "Weather"]
