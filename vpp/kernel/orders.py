"""Orders: what an operator, a grid operator or a market asks of us. They enter the chain as a proposer."""

from __future__ import annotations

from dataclasses import dataclass

from vpp.kernel.signals import IntArray


@dataclass(frozen=True, slots=True)
class Order:
    """One order over some resources for some time.

    Attributes:
        id: the order's own identification, unique.
        author: who gave it.
        resource: (m,) columns it concerns.
        from_ns, until_ns: it holds for from_ns <= t < until_ns.
        p_mw: active power asked of each of these resources, injection positive; None: not asked.
        limit_mw: highest active power allowed for each; None: not asked.
        q_mvar: reactive power asked of each, injection positive; None: not asked.
        step: position asked of each that is controlled by steps; None: not asked.
    """

    id: str
    author: str
    resource: IntArray
    from_ns: int
    until_ns: int
    p_mw: float | None = None
    limit_mw: float | None = None
    q_mvar: float | None = None
    step: int | None = None
