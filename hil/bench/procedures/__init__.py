"""The procedures: a module for each suite, one line in `SUITES` for each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hil.bench.ports import Eut
from hil.bench.procedure import Procedure
from hil.bench.procedures import (
    droop,
    interoperability,
    limit,
    priority,
    reactive,
    ride_through,
    service,
    trip,
    volt_var,
    volt_watt,
    watt_var,
)

Held = Mapping[str, float]

# Name of a module's suites -> its procedures for this equipment, which came with these settings.
SUITES: Final[Mapping[str, Callable[[Eut, Held], list[Procedure]]]] = {
    "interoperability": lambda eut, held: interoperability.procedures(eut.nameplate, eut.limits()),
    "limit-active-power": lambda eut, held: limit.procedures(eut.nameplate),
    "constant-power-factor": lambda eut, held: reactive.power_factors(eut.nameplate, eut.limits()),
    "constant-reactive-power": lambda eut, held: reactive.reactive_powers(eut.nameplate),
    "volt-var": lambda eut, held: volt_var.procedures(eut.nameplate),
    "volt-watt": lambda eut, held: volt_watt.procedures(eut.nameplate),
    "watt-var": lambda eut, held: watt_var.procedures(eut.nameplate, eut.limits()),
    "frequency-droop": lambda eut, held: droop.procedures(eut.nameplate),
    "enter-service": lambda eut, held: service.procedures(eut.nameplate, held),
    "trip": lambda eut, held: trip.procedures(eut.nameplate, held),
    "priority": lambda eut, held: priority.procedures(eut.nameplate),
    "ride-through": lambda eut, held: ride_through.procedures(eut.nameplate, held),
}


def procedures_for(eut: Eut, suites: tuple[str, ...] = ()) -> list[Procedure]:
    """The procedures of these suites (all: none named) for this equipment; only reads from it.

    Raises:
        KeyError: there is no such suite.
    """
    held = eut.read(sorted(eut.limits()))
    return [procedure for name in suites or SUITES for procedure in SUITES[name](eut, held)]
