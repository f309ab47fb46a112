"""Guards of the voltage at the resources' terminals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numba import njit

from vpp.kernel.envelope import Envelope, heard
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE, Fleet
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, Seen
from vpp.kernel.signals import ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

_T_P, _T_VM = Telemetry.p_mw.row, Telemetry.vm_pu.row
_FREE: Final = -(2**63)  # no time: the latch is open


@dataclass(slots=True, eq=False)
class OverVoltageGuard:
    """Guard: caps injection where the voltage is high, as an integrating share of rated power.

    Above ``vm_high_pu`` each step takes away ``gain`` of rated power times the excess over the band
    ``vm_high_pu``…``vm_max_pu``, beginning at the present power; at ``vm_max_pu`` nothing is injected any more.
    Below ``vm_high_pu - deadband_pu`` it comes back by the same law, but no faster than ``recovery_per_s``.
    The loop is stable while rated power moves the voltage by less than about half the band over ``gain``.
    An unknown voltage holds the cap.

    Attributes:
        fleet: the resources.
        vm_high_pu: voltage where capping begins.
        vm_max_pu: voltage where nothing may be injected any more.
        deadband_pu: width beneath ``vm_high_pu`` where the cap stays.
        gain: share of rated power that one step takes away at ``vm_max_pu``.
        recovery_per_s: share of rated power that comes back in a second at most.
        name: the name that stands as cause.
    """

    fleet: Fleet
    vm_high_pu: float = 1.05
    vm_max_pu: float = 1.10
    deadband_pu: float = 0.005
    gain: float = 0.25
    recovery_per_s: float = 1e-3
    name: str = "over_voltage"
    safe: Safe = Safe.HOLD
    _share: FloatArray = field(init=False, repr=False)
    _guarded: IntArray = field(init=False, repr=False)
    _cap: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin with nothing capped."""
        fleet, n = self.fleet, self.fleet.n
        self._share = np.ones(n)
        self._guarded = np.flatnonzero((fleet.p_max_mw > 0.0) & (fleet.control != CONTROL_NONE))
        self._cap = np.full(n, np.inf)

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Cap injection at terminals with a high voltage."""
        telemetry = seen.telemetry
        newly, worst, capped, before = _curtail(
            self._guarded, self.fleet.p_max_mw, telemetry.block, telemetry.quality, self.vm_high_pu, self.vm_max_pu,
            self.vm_high_pu - self.deadband_pu, self.gain, self.recovery_per_s * allowed.dt_s, self._share, self._cap,
        )  # fmt: skip
        if capped:
            allowed.cap_p(self._cap)
        if newly:
            who, vm = self.fleet.id[worst], float(telemetry.vm_pu[worst])
            text = f"injection of {newly} more resources is capped; highest voltage {vm:.4f} pu at {who}"
            return (Event(now_ns, self.name, "over-voltage", text, who, vm),)
        if before and not capped:
            return (Event(now_ns, self.name, "over-voltage-end", "no injection is capped any more"),)
        return ()

    def state(self) -> State:
        """The share of rated power that each may inject."""
        return {"share": self._share.copy()}

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        self._share[:] = state["share"]
        self._cap.fill(np.inf)


@dataclass(slots=True, eq=False)
class UnderVoltageGuard:
    """Guard: stops consumption where the voltage is low.

    A latch: set below ``vm_low_pu``, released above ``vm_low_pu + deadband_pu`` when ``hold_s`` has passed since
    the voltage was last too low. An unknown voltage holds it. Only resources that take setpoints can be stopped.

    Attributes:
        fleet: the resources.
        vm_low_pu: voltage beneath which nothing may be consumed.
        deadband_pu: how far above it consumption may begin again.
        hold_s: how long consumption stays stopped at least.
        name: the name that stands as cause.
    """

    fleet: Fleet
    vm_low_pu: float = 0.95
    deadband_pu: float = 0.01
    hold_s: float = 300.0
    name: str = "under_voltage"
    safe: Safe = Safe.HOLD
    _until_ns: IntArray = field(init=False, repr=False)
    _guarded: IntArray = field(init=False, repr=False)
    _floor: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin with nothing stopped."""
        fleet, n = self.fleet, self.fleet.n
        self._until_ns = np.full(n, _FREE)
        self._guarded = np.flatnonzero((fleet.p_min_mw < 0.0) & (fleet.control == CONTROL_FOLLOW))
        self._floor = np.full(n, -np.inf)

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Stop consumption at terminals with a low voltage."""
        vm, quality = seen.telemetry.block[_T_VM], seen.telemetry.quality[_T_VM]
        newly, worst, stopped, before = _stop(
            self._guarded, vm, quality, self.vm_low_pu, self.vm_low_pu + self.deadband_pu, now_ns, round(self.hold_s * 1e9),
            self._until_ns, self._floor,
        )  # fmt: skip
        if stopped:
            allowed.floor_p(self._floor)
        if newly:
            who = self.fleet.id[worst]
            text = f"consumption of {newly} more resources is stopped; lowest voltage {vm[worst]:.4f} pu at {who}"
            return (Event(now_ns, self.name, "under-voltage", text, who, float(vm[worst])),)
        if before and not stopped:
            return (Event(now_ns, self.name, "under-voltage-end", "no consumption is stopped any more"),)
        return ()

    def state(self) -> State:
        """Until when consumption stays stopped at least."""
        return {"until_ns": self._until_ns.copy()}

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        self._until_ns[:] = state["until_ns"]
        self._floor.fill(-np.inf)


@njit(cache=True)
def _curtail(
    guarded: IntArray, p_max: FloatArray, tele: FloatArray, quality: ByteArray, high: float, top: float, release: float,
    gain: float, recovery: float, share: FloatArray, cap: FloatArray,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Move the shares by one step; returns newly capped, the one with the highest voltage, capped now, capped before."""
    newly, worst, capped, before = 0, -1, 0, 0
    scale = gain / (top - high)
    for i in guarded:
        vm, old = tele[_T_VM, i], share[i]
        if old >= 1.0 and not vm > high:
            continue  # the usual case: nothing to cap, and ``cap`` says so since the last change
        new = old
        if heard(vm, quality[_T_VM, i]):
            if vm > high:
                present = tele[_T_P, i] / p_max[i]
                # Begin at what is injected now: a cap far above it would protect only many steps later.
                begin = min(old, max(present, 0.0)) if heard(present, quality[_T_P, i]) else old
                new = max(begin - scale * (vm - high), 0.0) if vm < top else 0.0
            elif vm < release and old < 1.0:
                new = min(old + min(scale * (release - vm), recovery), 1.0)
        share[i] = new
        cap[i] = new * p_max[i] if new < 1.0 else np.inf
        before += old < 1.0
        if new < 1.0:
            capped += 1
            if old >= 1.0:
                newly += 1
                if worst < 0 or vm > tele[_T_VM, worst]:
                    worst = i
    return newly, worst, capped, before


@njit(cache=True)
def _stop(
    guarded: IntArray, vm: FloatArray, quality: ByteArray, low: float, release: float, now_ns: int, hold_ns: int,
    until_ns: IntArray, floor: FloatArray,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Move the latches by one step; returns newly stopped, the one with the lowest voltage, stopped now, stopped before."""
    newly, worst, stopped, before = 0, -1, 0, 0
    for i in guarded:
        was = until_ns[i] != _FREE
        if not was and not vm[i] < low:
            continue  # the usual case: nothing to stop, and ``floor`` says so since the last change
        before += was
        if heard(vm[i], quality[i]):
            if vm[i] < low:
                until_ns[i] = now_ns + hold_ns
                if not was:
                    newly += 1
                    if worst < 0 or vm[i] < vm[worst]:
                        worst = i
            elif was and vm[i] > release and now_ns >= until_ns[i]:
                until_ns[i] = _FREE
        latched = until_ns[i] != _FREE
        floor[i] = 0.0 if latched else -np.inf
        stopped += latched
    return newly, worst, stopped, before
