"""Near misses, for the scenarios' messages."""

from vpp.kernel.near import did_you_mean as did_you_mean
