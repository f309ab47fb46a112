"""Where a scenario plays: its network and profiles, with what is to be said about the scenario there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scenarios.check import check
from scenarios.frequency import forming_buses
from vpp.grid import Profiles, load_network, load_profiles
from vpp.grid.network import Network
from vpp.kernel.errors import Finding, NetworkError, ScenarioError

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Site:
    """A scenario's surroundings, checked.

    Attributes:
        network: the compiled network.
        profiles: the profiles at hand, None where there are none.
        warnings: what is odd about the scenario here, but no error.
    """

    network: Network
    profiles: Profiles | None
    warnings: Sequence[Finding]


def site_of(scenario: Scenario) -> Site:
    """Load and check, for whoever is about to run a scenario or to say what is wrong with it.

    Raises:
        ScenarioError: something is wrong with the scenario in this network; every finding, warnings too.
        NetworkError: the network cannot be had.
    """
    profiles = _profiles_of(scenario)
    try:
        network = load_network(scenario.network, forming=forming_buses(scenario))
    except NetworkError:
        if not scenario.islands:
            raise
        # A forming resource at a bus that is not there: the check names it, with its line.
        found = check(scenario, load_network(scenario.network), profiles)
        if any(finding.severity == "error" for finding in found):
            raise ScenarioError(found) from None
        raise
    findings = check(scenario, network, profiles)
    if any(finding.severity == "error" for finding in findings):
        raise ScenarioError(findings)
    return Site(network, profiles, findings)


def _profiles_of(scenario: Scenario) -> Profiles | None:
    """The profiles at hand: those of the network and of the network that the scenario names beside it."""
    specs = [spec for spec in (scenario.network, scenario.profiles) if spec is not None and spec.startswith("simbench:")]
    sets = [load_profiles(spec) for spec in specs]
    if len(sets) < 2:
        return sets[0] if sets else None
    own, other = sets
    new = [k for k, name in enumerate(other.names) if name not in own.names]
    names = (*own.names, *(other.names[k] for k in new))
    return Profiles(names, np.concatenate([own.factor, other.factor[new]]), own.start_ns, own.step_s)
