"""What a page of the dashboard is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboards.view import RunView

if TYPE_CHECKING:
    from dash import Dash
    from dash.development.base_component import Component
    from fastapi import FastAPI


@dataclass(frozen=True)
class Page:
    """One page: a file in ``dashboards/pages`` and a line in its table.

    Attributes:
        path: where it lies, for example "/network".
        title: its name in the navigation.
        layout: gives what is on the page; called whenever it is opened.
        connect: registers its callbacks and routes; called once. The store "rows" changes when the run grows.
    """

    path: str
    title: str
    layout: Callable[[RunView], Component]
    connect: Callable[[FastAPI, Dash, RunView], None]
