"""What a row of a procedure comes to: checks with their bands, a verdict, and the verdicts of a clause together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from vpp.kernel.signals import FloatArray


class Outcome(StrEnum):
    """How a row, or a clause, ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


class Basis(StrEnum):
    """Whose measurements a verdict rests on: an instrument's, or the equipment's own."""

    INSTRUMENTED = "instrumented"
    SELF_REPORTED = "self-reported"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One value and what it may be.

    Attributes:
        what: in words.
        value, low, high: measured, and its band.
        unit: of all three.
        quantity: "p" or "q" where it is drawn over time, else "".
        t_s: laboratory time at which it was measured.
    """

    what: str
    value: float
    low: float
    high: float
    unit: str = "pu"
    quantity: str = ""
    t_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the value lies within; one that is not known does not."""
        slack = 1e-9 * max(abs(self.low), abs(self.high), 1.0)
        return bool(self.low - slack <= self.value <= self.high + slack)

    def __str__(self) -> str:
        """In one line."""
        return f"{self.what}: {self.value:.4g} {self.unit}, allowed {self.low:.4g} to {self.high:.4g}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The band to draw: from what was before to where it may settle, with a first-order response."""

    quantity: str
    begin_s: float
    end_s: float
    before: float
    low: float
    high: float
    margin: float
    tr_s: float


@dataclass(frozen=True, slots=True)
class Trace:
    """What was measured: laboratory time, voltage, frequency, active power of rated, reactive power of nameplate."""

    t_s: FloatArray
    v_pu: FloatArray
    f_hz: FloatArray
    p_pu: FloatArray
    q_pu: FloatArray

    @classmethod
    def of(cls, samples: Sequence[tuple[float, float, float, float, float]]) -> Trace:
        """Samples as columns."""
        return cls(*np.array(samples, float).reshape(-1, 5).T)

    @classmethod
    def joined(cls, parts: Sequence[Trace]) -> Trace:
        """One after the other."""
        if not parts:
            return cls.of(())
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__slots__))

    def column(self, name: str) -> FloatArray:
        """By one letter: v, f, p or q."""
        found: dict[str, FloatArray] = {"v": self.v_pu, "f": self.f_hz, "p": self.p_pu, "q": self.q_pu}
        return found[name]

    def at(self, name: str, t_s: float) -> float:
        """A column's value at a time, straight between samples."""
        return float(np.interp(t_s, self.t_s, self.column(name)))

    def settled(self, name: str) -> float:
        """Mean of the last twentieth."""
        return float(self.column(name)[-max(1, self.t_s.size // 20) :].mean())


@dataclass(frozen=True, slots=True)
class Finding:
    """What came out of doing a row."""

    checks: tuple[Check, ...] = ()
    trace: Trace = field(default_factory=lambda: Trace.of(()))
    envelopes: tuple[Envelope, ...] = ()
    instrumented: bool = True  # False: rests on what the equipment says, whatever instruments there are
    reason: str = ""  # not run after all, and why


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row's verdict."""

    suite: str
    procedure: str
    row: str
    clause: str
    outcome: Outcome
    basis: Basis
    reason: str
    finding: Finding = field(repr=False)

    @property
    def name(self) -> str:
        """Suite, procedure and row."""
        return f"{self.suite} / {self.procedure} / {self.row}"

    @property
    def spoken(self) -> str:
        """Outcome and basis in words."""
        return f"{self.outcome}, {self.basis}" if self.basis else str(self.outcome)

    def as_data(self) -> dict[str, Any]:
        """As plain data, without the trace."""
        checks = [
            {
                "what": c.what,
                "value": c.value if math.isfinite(c.value) else str(c.value),
                "low": c.low,
                "high": c.high,
                "unit": c.unit,
                "ok": c.ok,
            }
            for c in self.finding.checks
        ]
        return {
            "suite": self.suite,
            "procedure": self.procedure,
            "row": self.row,
            "clause": self.clause,
            "outcome": str(self.outcome),
            "basis": str(self.basis),
            "reason": self.reason,
            "checks": checks,
        }


@dataclass(frozen=True, slots=True)
class ClauseVerdict:
    """The verdicts of one clause together: failed if a row failed, passed if one passed and none failed."""

    suite: str
    clause: str
    outcome: Outcome
    basis: Basis
    passed: int
    failed: int
    not_run: int
    reason: str

    @property
    def spoken(self) -> str:
        """Outcome and basis in words."""
        return f"{self.outcome}, {self.basis}" if self.basis else str(self.outcome)


def by_clause(verdicts: Sequence[Verdict]) -> list[ClauseVerdict]:
    """Sum the rows up, in the order in which their clauses were met."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.suite, verdict.clause), []).append(verdict)
    return [_together(suite, clause, rows) for (suite, clause), rows in groups.items()]


def _together(suite: str, clause: str, rows: list[Verdict]) -> ClauseVerdict:
    count = {outcome: sum(v.outcome == outcome for v in rows) for outcome in Outcome}
    outcome = next((o for o in (Outcome.FAILED, Outcome.PASSED) if count[o]), Outcome.NOT_RUN)
    bases = {v.basis for v in rows if v.basis}
    weakest = Basis.SELF_REPORTED if Basis.SELF_REPORTED in bases else next(iter(bases), Basis.NONE)
    reason = next((v.reason for v in rows if v.outcome == outcome and v.reason), "")
    return ClauseVerdict(
        suite, clause, outcome, weakest, count[Outcome.PASSED], count[Outcome.FAILED], count[Outcome.NOT_RUN], reason
    )
