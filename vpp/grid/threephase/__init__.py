"""Unbalanced three-phase networks: description, compiled arrays, solver, results.

The names most used are re-exported here; nothing heavy is imported until a network is compiled.
"""

from vpp.grid.threephase.compile import compile_feeder
from vpp.grid.threephase.feeder import Feeder
from vpp.grid.threephase.network import BRANCH_KINDS, Legs, ThreePhaseNetwork
from vpp.grid.threephase.results import PhaseFlows, branch_flows
from vpp.grid.threephase.solver import CurrentInjection, PhaseSolution
from vpp.grid.threephase.store import load_threephase

__all__ = [
    "BRANCH_KINDS",
    "CurrentInjection",
    "Feeder",
    "Legs",
    "PhaseFlows",
    "PhaseSolution",
    "ThreePhaseNetwork",
    "branch_flows",
    "compile_feeder",
    "load_threephase",
]
