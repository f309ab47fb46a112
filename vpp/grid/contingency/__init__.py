"""What happens if something fails: outages solved one by one, what they cut off, what they overload, what supplies again."""

from vpp.grid.contingency.analysis import Contingencies, Violations, analyse
from vpp.grid.contingency.outages import Outage, Outages, outages_named, pairs, single_outages
from vpp.grid.contingency.restore import Proposal, restore

__all__ = [
    "Contingencies",
    "Outage",
    "Outages",
    "Proposal",
    "Violations",
    "analyse",
    "outages_named",
    "pairs",
    "restore",
    "single_outages",
]
