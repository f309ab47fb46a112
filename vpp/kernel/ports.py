"""The ports of the house: what a plant, a controller, a planner and an estimator must be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from vpp.kernel.fleet import Fleet
from vpp.kernel.flex import Flex
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.grid_state import GridState
from vpp.kernel.schedule import Forecast, Schedule
from vpp.kernel.seen import Event, News, Observation, Seen
from vpp.kernel.setpoints import Asked
from vpp.kernel.signals import FloatArray
from vpp.kernel.telemetry import Telemetry

if TYPE_CHECKING:
    from vpp.kernel.envelope import Envelope

State = dict[str, npt.NDArray[Any]]


class Safe(Enum):
    """What happens in place of a controller that failed or was switched off."""

    WITHDRAW = "its wants are undone; the others go on"
    HOLD = "no controllable resource goes further from zero than it was last asked to"
    STOP = "every controllable resource is taken to zero"


class Plant(Protocol):
    """What is controlled: simulated, emulated, real, mixed, remote or replayed."""

    @property
    def fleet(self) -> Fleet:
        """The resources as columns."""
        ...

    def read(self, now_ns: int) -> Observation:
        """Give the process image of this tick. Never blocks, never raises for bad data."""
        ...

    def write(self, now_ns: int, asked: Asked) -> None:
        """Hand over what is asked. Never blocks: the latest wins."""
        ...


class Controller(Protocol):
    """One voice of the chain. It does no I/O, has no clock and no randomness of its own."""

    @property
    def name(self) -> str:
        """The name that stands as cause of what it decides."""
        ...

    @property
    def safe(self) -> Safe:
        """What to do in its place when it fails."""
        ...

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Propose (a proposer) or narrow (a guard); called every tick."""
        ...

    def state(self) -> State:
        """Everything it remembers, as arrays (copies)."""
        ...

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """A frozen picture for a planner or an estimator.

    Attributes:
        now_ns: when it was taken.
        due_ns: when the answer comes into force, in every wiring.
        fleet: the resources.
        telemetry: as measured at ``now_ns`` (a copy).
        forecast: what is expected over the horizon, beginning at ``due_ns``.
        import_limit_mw, export_limit_mw: group name -> limit of the exchange, magnitudes; inf: none.
        points: the network's meters at ``now_ns`` (a copy); None where nobody asked for them.
        held: (n,) steps that tap changers and capacitors say that they hold; None where nobody asked for them.
        flex: what the resources could do over the forecast's horizon; None: by their ratings, `Flex.of_fleet`.
    """

    now_ns: int
    due_ns: int
    fleet: Fleet
    telemetry: Telemetry
    forecast: Forecast
    import_limit_mw: Mapping[str, float]
    export_limit_mw: Mapping[str, float]
    flex: Flex | None = None
    points: GridPoints | None = None
    held: FloatArray | None = None


class Planner(Protocol):
    """Seconds of solver: a pure function of a frozen frame."""

    def plan(self, frame: Frame) -> Schedule:
        """Compute a schedule. Raises SolveError where there is none."""
        ...


class Estimator(Protocol):
    """Network state from measurements: a function of a frozen frame and of where the last estimate ended."""

    def estimate(self, frame: Frame) -> GridState:
        """Estimate; what is not observable is NaN with its quality, never an exception."""
        ...

    def state(self) -> State:
        """Everything that the next estimate depends on, as arrays (copies)."""
        ...

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        ...


class Inbox(Protocol):
    """Where news waits until the tick takes it."""

    def take(self, now_ns: int) -> News:
        """Give what is in force at this tick."""
        ...

    def note(self, now_ns: int, seen: Seen) -> None:
        """Look at what the tick saw; frames for planners and estimators are frozen here."""
        ...


class Clock(Protocol):
    """A monotonic clock, passed only by a loop that runs on the wall clock."""

    def __call__(self) -> int:
        """Nanoseconds; only differences count."""
        ...
