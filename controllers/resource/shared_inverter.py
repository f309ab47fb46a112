"""Keep what stands behind one inverter inside that inverter's nameplate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vpp.kernel.envelope import Envelope
from vpp.kernel.fleet import Fleet
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, Seen
from vpp.kernel.signals import FloatArray, IntArray


@dataclass(slots=True, eq=False)
class SharedInverterGuard:
    """Guard: the sum of the active power of a PV and a battery behind one inverter stays within its apparent power.

    It stands behind all other guards wherever a scenario has such inverters: it is a rating, not a choice.

    Attributes:
        fleet: the resources.
        group: (g,) groups that stand for an inverter each.
        s_mva: (g,) their nameplates.
        name: the name that stands as cause.
    """

    fleet: Fleet
    group: IntArray
    s_mva: FloatArray
    name: str = "inverter"
    safe: Safe = Safe.STOP

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Limit each group both ways."""
        for group, s_mva in zip(self.group.tolist(), self.s_mva.tolist(), strict=True):
            allowed.limit_group(group, -s_mva, s_mva)
        return ()

    def state(self) -> State:
        """Nothing is remembered."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing is remembered."""
