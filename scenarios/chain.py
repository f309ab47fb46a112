"""From a scenario's control to the chain of controllers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from controllers import GUARDS, NETWORK_GUARDS, PROPOSERS
from controllers.resource.shared_inverter import SharedInverterGuard
from scenarios.expand import FleetPlan
from scenarios.fleet import shared_inverters
from scenarios.schema.control import NetworkLimits
from vpp.grid.network import Network
from vpp.kernel.fleet import Fleet
from vpp.kernel.ports import Controller
from vpp.kernel.tick import Chain

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario

HOLD_NS = 900_000_000_000


def chain_of(scenario: Scenario, plan: FleetPlan, fleet: Fleet, network: Network) -> Chain:
    """Build every controller of a scenario, in its order."""
    dt_ns = scenario.time.step_ns
    proposers = [PROPOSERS[c.use](fleet, **c.model_dump(exclude={"use"})) for c in scenario.control.proposers]
    return Chain(fleet, proposers, [*_guards(scenario, plan, fleet, network)], dt_ns, hold_ns=max(HOLD_NS, 4 * dt_ns))


def _guards(scenario: Scenario, plan: FleetPlan, fleet: Fleet, network: Network) -> Iterator[Controller]:
    for c in scenario.control.guards:
        keys = c.model_dump(exclude={"use"})
        if isinstance(c, NetworkLimits):
            stated = scenario.limits.model_dump()
            yield NETWORK_GUARDS[c.use](fleet, network, **{k: stated[k] if x is None else x for k, x in keys.items()})
        else:
            yield GUARDS[c.use](fleet, **keys)
    group, s_mva = shared_inverters(plan)
    if group.size:
        yield SharedInverterGuard(fleet, group, s_mva)
