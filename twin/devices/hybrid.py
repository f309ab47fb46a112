"""Several resources behind one inverter: a PV and its battery, coupled on the DC side.

The inverter is the *host*'s, with its nameplate and its functions; a *guest* has none of its own. To the network they
are one inverter: it sees their sum, its curves and its circle act on that, and what they take away is taken back from
the resources: first from the guests' discharging (or charging), then from the host. Between them DC power flows
freely: a battery takes what the inverter could not carry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from twin.devices.model import Delivered, Offer
from twin.spec import FleetSpec
from vpp.kernel.signals import FloatArray, IntArray

_O_P, _O_Q, _O_FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_D_P, _D_Q, _D_VM = Delivered.p_mw.row, Delivered.q_mvar.row, Delivered.vm_pu.row


@dataclass(slots=True)
class SharedInverters:
    """The guests of a fleet, and whose inverters they use.

    Attributes:
        guest, host: (g,) resources, ascending by guest.
    """

    spec: FleetSpec
    guest: IntArray = field(init=False)
    host: IntArray = field(init=False)

    def __post_init__(self) -> None:
        """Find the guests."""
        inverter = self.spec.inverter
        self.guest = np.flatnonzero(inverter >= 0)
        self.host = np.asarray(inverter[self.guest], np.int64)

    def joined(self, offer: FloatArray) -> FloatArray:
        """The `Offer` block as the network sees it: each host offers the sum. The same block where there are no guests."""
        if not self.guest.size:
            return offer
        block = offer.copy()
        _join(self.guest, self.host, block)
        return block

    def part(self, offer: FloatArray, delivered: FloatArray) -> None:
        """Give every resource its own part of what was delivered, in place; ``offer`` is the block before `joined`."""
        if self.guest.size:
            _part(self.guest, self.host, offer, delivered)


@njit(cache=True, nogil=True)
def _join(guest: IntArray, host: IntArray, block: FloatArray) -> None:
    for c in range(guest.size):
        g, h = guest[c], host[c]
        block[_O_P, h] += block[_O_P, g]
        block[_O_P, g], block[_O_Q, g], block[_O_FOLLOW, g] = 0.0, 0.0, 1.0


@njit(cache=True, nogil=True)
def _part(guest: IntArray, host: IntArray, offer: FloatArray, out: FloatArray) -> None:
    for c in range(guest.size):
        g, h = guest[c], host[c]
        out[_D_P, g], out[_D_Q, g] = offer[_O_P, g], 0.0
    # What the inverter took away: of the sum, so it is known only once all guests are known.
    for c in range(guest.size):
        out[_D_P, host[c]] -= offer[_O_P, guest[c]]
    for c in range(guest.size):
        g, h = guest[c], host[c]
        if math.isnan(out[_D_P, h]) or math.isnan(out[_D_VM, h]):
            out[_D_P, g] = out[_D_P, h] if math.isnan(out[_D_P, h]) else 0.0
            continue
        change = out[_D_P, h] - offer[_O_P, h]
        p = out[_D_P, g]
        back = max(change, -max(p, 0.0)) if change < 0.0 else min(change, max(-p, 0.0))
        out[_D_P, g] += back
        out[_D_P, h] -= back
    for c in range(guest.size):
        if math.isnan(out[_D_VM, host[c]]) and not math.isnan(out[_D_P, host[c]]):
            out[_D_P, host[c]] = 0.0
