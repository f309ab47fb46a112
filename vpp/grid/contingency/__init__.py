"""What happens if something fails: outages solved one by one, what they cut off, and what they overload."""

from vpp.grid.contingency.analysis import Contingencies, Limits, Violation, analyse
from vpp.grid.contingency.outages import Outage, Outages, pairs, single_outages
from vpp.grid.contingency.restore import Proposal, restore

__all__ = [
    "Contingencies",
    "Limits",
    "Outage",
    "Outages",
    "Proposal",
    "Violation",
    "analyse",
    "pairs",
    "restore",
    "single_outages",
]
