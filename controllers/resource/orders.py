"""Do what operators, grid operators and markets order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from vpp.kernel.envelope import WANT_P, Envelope
from vpp.kernel.fleet import Fleet
from vpp.kernel.orders import Order
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, Seen
from vpp.kernel.signals import FloatArray, IntArray


@dataclass(slots=True, eq=False)
class OperatorOrders:
    """Proposer: replaces the want of every resource that an order in force concerns; a later order wins.

    A limit lowers the want to at most the limit: a resource that takes setpoints is asked for no more, one
    that takes limits gets it as its limit.

    Attributes:
        fleet: the resources.
        name: the name that stands as cause.
    """

    fleet: Fleet
    name: str = "orders"
    safe: Safe = Safe.WITHDRAW
    _active: npt.NDArray[Any] = field(init=False, repr=False)
    _p: FloatArray = field(init=False, repr=False)
    _q: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin without orders."""
        self._active = np.array([], np.str_)
        self._p, self._q = np.empty(self.fleet.n), np.empty(self.fleet.n)

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Propose what the orders in force at ``allowed.acts_ns`` ask."""
        active = [order for order in seen.news.orders if order.from_ns <= allowed.acts_ns < order.until_ns]
        if not active and not self._active.size:
            return ()
        if active:
            self._propose(active, allowed)
        ids, before = [order.id for order in active], set(self._active.tolist())
        events = [self._begins(now_ns, order) for order in active if order.id not in before]
        over = sorted(before - set(ids))
        events += [Event(now_ns, self.name, "order-end", f"order {name} is over", name) for name in over]
        if events:
            self._active = np.array(ids, np.str_)
        return events

    def _propose(self, active: list[Order], allowed: Envelope) -> None:
        want_p, want_q = self._p, self._q
        want_step = np.full(self.fleet.n if any(order.step is not None for order in active) else 0, np.nan)
        asks_q = any(order.q_mvar is not None for order in active)
        want_p.fill(np.nan)
        if asks_q:
            want_q.fill(np.nan)
        for order in active:
            who = self._known(order.resource)
            if order.p_mw is not None:
                want_p[who] = order.p_mw
            if order.limit_mw is not None:
                _limit(who, order.limit_mw, allowed.block[WANT_P], want_p)
            if order.q_mvar is not None:
                want_q[who] = order.q_mvar
            if order.step is not None:
                want_step[who] = order.step
        allowed.propose_p(want_p)
        if asks_q:
            allowed.propose_q(want_q)
        if want_step.size:
            allowed.propose_step(want_step)

    def _known(self, resource: IntArray) -> IntArray:
        """Columns that exist: one wrong column must not cost the others their order."""
        return resource[(resource >= 0) & (resource < self.fleet.n)]

    def _begins(self, now_ns: int, order: Order) -> Event:
        asks = {"p_mw": order.p_mw, "limit_mw": order.limit_mw, "q_mvar": order.q_mvar, "step": order.step}
        said = ", ".join(f"{name} {value:g}" for name, value in asks.items() if value is not None)
        known, given = len(self._known(order.resource)), len(order.resource)
        text = f"order {order.id} of {order.author} begins for {known} resources: {said or 'nothing'}"
        if known < given:
            text += f"; {given - known} of its columns do not exist"
        return Event(now_ns, self.name, "order", text, order.id)

    def state(self) -> State:
        """The orders in force."""
        return {"active": self._active.copy()}

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        self._active = state["active"].copy()


@njit(cache=True)
def _limit(who: IntArray, limit_mw: float, present: FloatArray, want: FloatArray) -> None:
    """Lower the want to at most the limit; one that does not bite leaves the want, and its owner, as they are."""
    for i in who:
        if (present[i] if np.isnan(want[i]) else want[i]) > limit_mw:
            want[i] = limit_mw
