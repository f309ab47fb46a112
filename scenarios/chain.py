"""From a scenario's control to the chain of controllers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from controllers import GUARDS, NETWORK_GUARDS, NETWORK_PROPOSERS, PROPOSERS
from controllers.resource.shared_inverter import SharedInverterGuard
from scenarios.expand import FleetPlan
from scenarios.fleet import shared_inverters
from vpp.fields import Part
from vpp.grid.network import Network
from vpp.grid.stepping import StepDevices
from vpp.kernel.fleet import Fleet
from vpp.kernel.ports import Controller
from vpp.kernel.tick import Chain

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario

Table = Mapping[str, Callable[..., Controller]]
HOLD_NS = 900_000_000_000


def chain_of(scenario: Scenario, plan: FleetPlan, fleet: Fleet, network: Network, steps: StepDevices) -> Chain:
    """Build every controller of a scenario, in its order; ``steps`` are the network's devices that resources hold."""
    dt_ns, known = scenario.time.step_ns, (network, steps)
    proposers = [_controller(scenario, c, fleet, known, PROPOSERS, NETWORK_PROPOSERS) for c in scenario.control.proposers]
    return Chain(fleet, proposers, [*_guards(scenario, plan, fleet, known)], dt_ns, hold_ns=max(HOLD_NS, 4 * dt_ns))


def _controller(
    scenario: Scenario, part: Part, fleet: Fleet, known: tuple[Network, StepDevices], table: Table, of_network: Table
) -> Controller:
    """Build one; what knows the network takes from ``limits`` what it does not state itself."""
    keys = part.model_dump()
    use = keys.pop("use")
    if use not in of_network:
        return table[use](fleet, **keys)
    stated = scenario.limits.model_dump()
    return of_network[use](fleet, *known, **{k: stated[k] if x is None and k in stated else x for k, x in keys.items()})


def _guards(scenario: Scenario, plan: FleetPlan, fleet: Fleet, known: tuple[Network, StepDevices]) -> Iterator[Controller]:
    for c in scenario.control.guards:
        yield _controller(scenario, c, fleet, known, GUARDS, NETWORK_GUARDS)
    group, s_mva = shared_inverters(plan)
    if group.size:
        yield SharedInverterGuard(fleet, group, s_mva)
