"""The frequency of every electrical island: a profile, or a swing model with governors, droop and load shedding."""

from __future__ import annotations

from twin.frequency.profile import FrequencyProfile
from twin.frequency.swing import Droop, Forming, Island, Outcome, Stage, Swing, Unit

__all__ = ["Droop", "Forming", "FrequencyProfile", "Island", "Outcome", "Stage", "Swing", "Unit"]
