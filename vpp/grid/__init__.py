"""The network model and its computations: loading, compiling, power flow.

The names most used are re-exported here; nothing heavy is imported until a network has to be compiled.
"""

from vpp.grid.network import BRANCH_KINDS, BranchFlows, Network
from vpp.grid.profiles import Profiles, load_profiles
from vpp.grid.store import load_network, to_pandapower

__all__ = [
    "BRANCH_KINDS",
    "BranchFlows",
    "Network",
    "Profiles",
    "load_network",
    "load_profiles",
    "to_pandapower",
]
