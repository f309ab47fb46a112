"""Which row of a record tells of which moment: what is estimated comes into force later than what it describes."""

from __future__ import annotations

import numpy as np

from vpp.kernel.signals import FloatArray, IntArray


def described(time_ns: IntArray, age_s: FloatArray) -> IntArray:
    """(T,) row in which the estimate of each moment is in force; -1 where there is none.

    An estimate stands in the record from the tick on at which it came into force, with its age. One that is made only now
    and then describes the time until the next.

    Args:
        time_ns: (T,) time of every row.
        age_s: (T,) time since the moment that the estimate in force describes; NaN: none is in force.
    """
    known = np.flatnonzero(np.isfinite(age_s))
    out = np.full(len(time_ns), -1)
    if not len(known):
        return out
    moment = time_ns[known] - np.round(age_s[known] * 1e9).astype(np.int64)
    moments = np.unique(moment)
    gap = int(np.diff(moments).min()) if len(moments) > 1 else 1
    last = np.searchsorted(moment, time_ns, side="right") - 1
    found = (last >= 0) & (time_ns - moment[np.maximum(last, 0)] < gap)
    out[found] = known[last[found]]
    return out
