"""Everything that a decision may depend on, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vpp.kernel.grid_points import GridPoints
from vpp.kernel.grid_state import GridState
from vpp.kernel.orders import Order
from vpp.kernel.schedule import Forecast, Schedule
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Event:
    """Something that somebody may want to know: an alarm, a shortfall, a transition.

    Attributes:
        time_ns: the tick.
        source: who says it (a controller, "plant", "planner", "host").
        kind: a short word that can be searched for ("alarm", "shortfall", "late", "diverged", …).
        text: one sentence for a person.
        subject: the resource, group or bus it is about, "" for none.
        value: a number that belongs to it, NaN for none.
    """

    time_ns: int
    source: str
    kind: str
    text: str
    subject: str = ""
    value: float = float("nan")


@dataclass(frozen=True, slots=True)
class News:
    """What reached us since the last tick and what still holds.

    Attributes:
        orders: orders in force, oldest first.
        schedule: the plan in force, None before the first.
        forecast: the forecast in force.
        grid_state: the newest estimate of the network.
        off: controllers that the host switched off, with the reason.
        events: what happened to plans, estimates and links (for example "late").
    """

    orders: tuple[Order, ...] = ()
    schedule: Schedule | None = None
    forecast: Forecast | None = None
    grid_state: GridState | None = None
    off: Mapping[str, str] = field(default_factory=dict)
    events: tuple[Event, ...] = ()


@dataclass(slots=True)
class Observation:
    """What a plant can tell: telemetry, the network's meters and what each device holds now."""

    telemetry: Telemetry
    points: GridPoints
    applied: Setpoints


@dataclass(slots=True)
class Seen:
    """EVERYTHING that a decision may depend on, recorded as one.

    Attributes:
        telemetry: resources as measured.
        points: the network's meters.
        applied: read-back, what each device holds now.
        last: what we asked one tick ago.
        news: orders, schedule, forecast, grid state, controllers switched off.
    """

    telemetry: Telemetry
    points: GridPoints
    applied: Setpoints
    last: Asked
    news: News


@dataclass(slots=True)
class Decision:
    """The outcome of one tick."""

    asked: Asked
    events: tuple[Event, ...]
