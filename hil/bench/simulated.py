"""A laboratory in virtual time around the model of a device: its sources, meter and clock are one world of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hil.bench.laboratory import Laboratory
from hil.bench.ports import Limits, Nameplate, Reading


class Model(Protocol):
    """A device as a model that is stepped; handed in by whoever has one."""

    nameplate: Nameplate

    def identity(self) -> Mapping[str, str]:
        """Its name and version."""
        ...

    def limits(self) -> Mapping[str, Limits]:
        """The settings that it has."""
        ...

    def write(self, values: Mapping[str, float]) -> None:
        """Set them; raises `hil.bench.ports.Refused`."""
        ...

    def read(self, names: Iterable[str]) -> dict[str, float]:
        """What it holds."""
        ...

    def step(self, dt_s: float, vm_pu: float, f_hz: float, p_mw: float, permit: bool) -> tuple[float, float]:
        """One step at this voltage and frequency with this power available: active and reactive power [MW, Mvar]."""
        ...


@dataclass
class World:
    """What is applied to the model and what it delivers."""

    model: Model
    vm_pu: float = 1.0
    f_hz: float = 60.0
    p_avail_mw: float = 0.0
    permit: bool = True
    now: float = 0.0
    p_mw: float = 0.0
    q_mvar: float = 0.0

    def __post_init__(self) -> None:
        """Begin at nominal, with all the power that there is."""
        self.f_hz, self.p_avail_mw = self.model.nameplate.f_nom_hz, self.model.nameplate.p_max_mw

    def now_s(self) -> float:
        """Virtual time."""
        return self.now

    def advance(self, dt_s: float) -> None:
        """One step of the model."""
        self.now += dt_s
        self.p_mw, self.q_mvar = self.model.step(dt_s, self.vm_pu, self.f_hz, self.p_avail_mw, self.permit)

    def measure(self) -> Reading:
        """The truth at the terminals."""
        return Reading(self.p_mw, self.q_mvar, self.vm_pu, self.f_hz)


class SimGrid:
    """A grid source that the model sees at once. Without a phase: models are of phasors' magnitudes."""

    has_phase = False

    def __init__(self, world: World) -> None:
        """Feed this world."""
        self._world = world

    def apply(self, v_pu: float, f_hz: float, phase_degree: float = 0.0) -> None:
        """Set voltage and frequency."""
        self._world.vm_pu, self._world.f_hz = v_pu, f_hz


class SimDc:
    """A DC source of the world."""

    def __init__(self, world: World) -> None:
        """Feed this world."""
        self._world = world

    def apply(self, p_mw: float) -> None:
        """Set the power available."""
        self._world.p_avail_mw = p_mw


class SimEut:
    """The model as equipment: its own measurements are the truth."""

    def __init__(self, world: World) -> None:
        """Show this world's model."""
        self._world, self.nameplate = world, world.model.nameplate

    def identity(self) -> Mapping[str, str]:
        """The model's."""
        return self._world.model.identity()

    def raw(self) -> Mapping[str, str]:
        """A model has no registers."""
        return {}

    def limits(self) -> Mapping[str, Limits]:
        """The model's."""
        return self._world.model.limits()

    def write(self, values: Mapping[str, float]) -> None:
        """Set them."""
        self._world.model.write(values)

    def read(self, names: Iterable[str]) -> dict[str, float]:
        """What it holds."""
        return self._world.model.read(names)

    def connect(self, on: bool) -> None:
        """Permit service or forbid it."""
        self._world.permit = on

    def permitted(self) -> bool:
        """Whether service is permitted."""
        return self._world.permit

    def measure(self) -> Reading:
        """What it says of itself."""
        return self._world.measure()


def laboratory(model: Model, name: str, share: float = 1.0) -> Laboratory:
    """A laboratory in virtual time; ``share``: of the minimum required accuracy that it measures with."""
    world = World(model)
    return Laboratory(SimEut(world), world, SimGrid(world), SimDc(world), world, share=share, name=name)
