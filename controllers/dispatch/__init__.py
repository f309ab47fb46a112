"""Dispatch: what the fleet shall do over the next hours."""

from __future__ import annotations

from typing import Final

from controllers.dispatch.day_ahead import DayAheadPlanner

PLANNERS: Final = {"day_ahead": DayAheadPlanner}
"""Every planner by the name that a scenario gives it."""
