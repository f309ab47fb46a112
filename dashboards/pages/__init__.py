"""The pages, in the order of the navigation. A new page is a file here and a line in the table."""

from __future__ import annotations

from dashboards.page import Page
from dashboards.pages import hil, network, overview

PAGES: tuple[Page, ...] = (overview.PAGE, network.PAGE, hil.PAGE)
