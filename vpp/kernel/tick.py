"""The tick: read, decide, write. `decide` is the only place where measurements become setpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numba import njit

from vpp.kernel.envelope import OWNERS, WANT_P, WANT_Q, Envelope, OwnerArray
from vpp.kernel.fleet import Fleet
from vpp.kernel.ports import Clock, Controller, Inbox, Plant, Safe, State
from vpp.kernel.resolve import TOLERANCE_MW, resolve
from vpp.kernel.seen import Decision, Event, News, Observation, Seen
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.signals import ByteArray, FloatArray

_WANTS = slice(WANT_P, WANT_Q + 1)


@dataclass(slots=True)
class Chain:
    """The controllers of one site, in the order in which they speak.

    Attributes:
        fleet: what they control.
        proposers: lowest priority first; a later one replaces or shifts the want.
        guards: they only narrow.
        dt_ns: time from one tick to the next.
        hold_ns: how long a silent resource is held at what was asked last.
        budget_ns: time that one controller may take; only the wall-clock loop looks at it.
        off: controllers that overran, with the reason; they stay off until taken out here.
    """

    fleet: Fleet
    proposers: Sequence[Controller]
    guards: Sequence[Controller]
    dt_ns: int
    hold_ns: int = 900_000_000_000
    budget_ns: int = 100_000_000
    off: dict[str, str] = field(default_factory=dict)
    owners: tuple[str, ...] = ()
    _allowed: Envelope = field(init=False)
    _wants: FloatArray = field(init=False)
    _want_owners: OwnerArray = field(init=False)

    def __post_init__(self) -> None:
        """Number the owners and make room for the envelope."""
        names = [c.name for c in self.controllers]
        if len(set(names)) != len(names):
            raise ValueError(f"two controllers share a name: {', '.join(names)}")
        self.owners = (*OWNERS, *names)
        self._allowed = Envelope(self.fleet)
        self._wants = np.zeros((2, self.fleet.n))
        self._want_owners = np.zeros((2, self.fleet.n), np.int16)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """All controllers, proposers first."""
        return (*self.proposers, *self.guards)

    def state(self) -> dict[str, State]:
        """The state of every controller, by name."""
        return {c.name: c.state() for c in self.controllers}

    def restore(self, state: dict[str, State]) -> None:
        """Take every controller back to a remembered state."""
        for controller in self.controllers:
            controller.restore(state[controller.name])


@dataclass(slots=True)
class Record:
    """One tick: what was seen, what was decided and what was said."""

    time_ns: int
    seen: Seen
    decision: Decision


def decide(now_ns: int, seen: Seen, chain: Chain, clock: Clock | None = None) -> Decision:
    """Turn what is seen into setpoints. Pure but for the chain's state.

    Args:
        now_ns: the tick's scheduled time.
        seen: everything that the decision may depend on.
        chain: the controllers.
        clock: a monotonic clock, passed only by a loop on the wall clock: it measures overruns, which
            switch a controller off from the *next* tick on.
    """
    allowed = chain._allowed
    allowed.reset(now_ns, chain.dt_ns, seen, chain.hold_ns)
    events: list[Event] = list(seen.news.events)
    first_guard = len(chain.proposers)
    for number, controller in enumerate(chain.controllers):
        if number == first_guard:
            allowed.freeze_want()
        allowed.speaker = len(OWNERS) + number
        proposes = number < first_guard
        reason = seen.news.off.get(controller.name) or chain.off.get(controller.name)
        if reason is None:
            _step(now_ns, seen, chain, controller, proposes, events, clock)
        else:
            _safe_action(controller, allowed, seen)
    allowed.freeze_want()
    asked, shortfall = resolve(allowed, seen, now_ns)
    _report_shortfalls(now_ns, chain, shortfall, events)
    return Decision(asked, tuple(events))


def _step(
    now_ns: int, seen: Seen, chain: Chain, controller: Controller, proposes: bool, events: list[Event], clock: Clock | None
) -> None:
    """One controller's turn. Nothing that it raises goes further."""
    allowed = chain._allowed
    if proposes:
        chain._want_owners[:] = allowed.owner[_WANTS]
        chain._wants[:] = allowed.block[_WANTS]
        steps = allowed.step.copy()
    begin = clock() if clock else 0
    try:
        events.extend(controller.step(now_ns, seen, allowed))
    except Exception as error:  # noqa: BLE001 - the tick goes on, whatever a controller does; the alarm says what it was
        if proposes:
            allowed.block[_WANTS] = chain._wants
            allowed.owner[_WANTS] = chain._want_owners
            allowed.step[:] = steps
        _safe_action(controller, allowed, seen)
        text = f"{controller.name} failed ({type(error).__name__}: {error}); safe action: {controller.safe.name.lower()}"
        events.append(Event(now_ns, controller.name, "alarm", text))
    took = clock() - begin if clock else 0
    if took > chain.budget_ns:
        chain.off[controller.name] = f"took {took / 1e6:.1f} ms of {chain.budget_ns / 1e6:.1f} ms"
        text = f"{controller.name} {chain.off[controller.name]}; off from the next tick"
        events.append(Event(now_ns, controller.name, "overrun", text, value=took / 1e9))


def _safe_action(controller: Controller, allowed: Envelope, seen: Seen) -> None:
    if controller.safe is Safe.HOLD:
        allowed.hold(seen.last.setpoints)
    elif controller.safe is Safe.STOP:
        allowed.stop()


def _report_shortfalls(now_ns: int, chain: Chain, shortfall: FloatArray, events: list[Event]) -> None:
    for g in np.flatnonzero(np.abs(shortfall) > TOLERANCE_MW):
        name, missing = chain.fleet.groups.names[g], float(shortfall[g])
        side = "above its upper" if missing > 0 else "below its lower"
        by = chain._allowed.group_hi_by[g] if missing > 0 else chain._allowed.group_lo_by[g]
        text = f"group {name} stays {abs(missing):.6f} MW {side} limit: its members cannot give more"
        events.append(Event(now_ns, chain.owners[by], "shortfall", text, name, missing))


def tick(now_ns: int, plant: Plant, inbox: Inbox, chain: Chain, last: Asked, clock: Clock | None = None) -> Record:
    """Read the plant, decide, write. What is asked here acts from the next tick on, in every wiring."""
    image = plant.read(now_ns)
    news = inbox.take(now_ns)
    if chain.off:
        # Only the record can tell a replay what the clock switched off.
        news = replace(news, off={**news.off, **chain.off})
    seen = Seen(image.telemetry, image.points, image.applied, last, news)
    decision = decide(now_ns, seen, chain, clock)
    plant.write(now_ns, decision.asked)
    inbox.note(now_ns, seen)
    return Record(now_ns, seen, decision)


def only_watch(now_ns: int, image: Observation, nothing: Asked) -> Record:
    """Stand in for the tick of a site without controllers: it is seen, and nothing is asked."""
    seen = Seen(image.telemetry, image.points, image.applied, nothing, News())
    return Record(now_ns, seen, Decision(nothing, ()))


class DecisionHash:
    """SHA-256 over all setpoints of all ticks, in order.

    A row that is equal to the tick before goes in as a mark, so that only what changes costs anything; the
    digest still stands for every byte. Setpoints hold one zero and no NaN, so equal numbers are equal bytes.
    """

    def __init__(self, n: int) -> None:
        """Begin for ``n`` resources."""
        self._sha = hashlib.sha256()
        self._before = np.full((len(Setpoints.signals), n), np.nan)
        self._same = np.zeros(len(Setpoints.signals), np.uint8)

    def add(self, asked: Asked) -> None:
        """Take in one tick; the block must not change until the next one."""
        block = asked.setpoints.block
        if block is self._before:
            self._same[:] = 1
        else:
            _same_rows(self._before, block, self._same)
        self._sha.update(self._same.tobytes())
        for row in np.flatnonzero(self._same == 0):
            self._sha.update(block[row].data)
        self._before = block

    def hexdigest(self) -> str:
        """The digest so far."""
        return self._sha.hexdigest()


@njit(cache=True)
def _same_rows(before: FloatArray, now: FloatArray, same: ByteArray) -> None:
    for row in range(now.shape[0]):
        same[row] = 1
        for i in range(now.shape[1]):
            if before[row, i] != now[row, i]:
                same[row] = 0
                break
