"""Procedures and their rows: what is written, applied and waited for, and what is expected then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from hil.bench import expected
from hil.bench.expected import Curve
from hil.bench.laboratory import Laboratory
from hil.bench.results import Check, Envelope, Finding, Trace
from hil.bench.tables import table

SAMPLES = 50  # in a response time
SLOWEST = 5  # fewer samples in a response time do not show a response
# Settings that procedures write where there are any; equipment without them has a value of its own (the models of SunSpec
# have no registers for them), and is judged by what the standard leaves to it.
OWN_VALUE = frozenset({"ap_rt_s", "const_pf_rt_s", "const_q_rt_s", "qp_rt_s", "es_enable", "mc_enable"})
UNITS = {"p": "pu of rated", "q": "pu of VA"}
WORDS = {"p": "active power", "q": "reactive power"}


class Act(Protocol):
    """What is done in a row."""

    def enter(self, lab: Laboratory) -> None:
        """Only bring the equipment to where it stands after this row."""
        ...

    def run(self, lab: Laboratory) -> Finding:
        """Do it and judge it."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """A test case.

    Attributes:
        name: in words.
        clause: of the standard.
        act: what is done.
        needs: sources that it takes, "grid" and "dc".
        response_s: the shortest time that measurements must resolve; 0: none.
        skip: why it cannot be run on this equipment, or "".
    """

    name: str
    clause: str
    act: Act
    needs: frozenset[str] = frozenset({"grid"})
    response_s: float = 0.0
    skip: str = ""


@dataclass(frozen=True, slots=True)
class Procedure:
    """Rows that share their settings.

    Attributes:
        suite: family of procedures.
        name: in words.
        settings: what is written first, on top of everything switched off.
        rows: the test cases.
        chained: each row begins where the one before ended.
        ready_s: how long the equipment needs after its settings are written.
        skip: why none of it can be run, or "".
    """

    suite: str
    name: str
    settings: Mapping[str, float]
    rows: tuple[Row, ...]
    chained: bool = True
    ready_s: float = 60.0
    skip: str = ""


@dataclass(frozen=True, slots=True)
class Expect:
    """What a quantity must do after a step.

    Attributes:
        y: "p" or "q".
        law: its value by ``x``.
        x: "v", "f" or "p", or "" for a law that is constant.
        tr_s: response time; the response itself is judged at it, unless it is 0.
        sided: "both", "due" (90 % is due at tr_s, more is allowed) or "upper" (no more than the law).
        bare: judged by the accuracy without its coverage (constant reactive power).
    """

    y: Literal["p", "q"]
    law: Curve
    x: Literal["v", "f", "p", ""] = ""
    tr_s: float = 0.0
    sided: Literal["both", "due", "upper"] = "both"
    bare: bool = False

    def judge(self, lab: Laboratory, before: float, trace: Trace) -> tuple[list[Check], Envelope]:
        """Judge a trace that begins with the step."""
        u = lab.u
        u_x = {"v": u.v_pu, "f": u.f_hz, "p": u.p_pu, "": 0.0}[self.x]
        u_y = (u.p_pu if self.y == "p" else u.q_pu) / (u.coverage if self.bare else 1.0)
        x = trace.settled(self.x) if self.x else 0.0
        low, high = expected.steady_band(self.law, x, u_x, u_y)
        low = -2.0 if self.sided == "upper" else low
        begin, end, after, checks = float(trace.t_s[0]), float(trace.t_s[-1]), self.law(x), []
        unit, word = UNITS[self.y], WORDS[self.y]
        if self.tr_s > 0.0:
            if self.sided == "both":
                band = expected.transient_band(before, after, self.tr_s, self.tr_s, u.t, u_y)
            elif self.sided == "due":
                band = expected.one_sided_band(before, after, 0.9, u_y)
            else:
                band = -2.0, high
            at = begin + self.tr_s
            checks.append(Check(f"{word} after {self.tr_s:g} s", trace.at(self.y, at), *band, unit, self.y, at))
        checks.append(Check(f"{word}, settled", trace.settled(self.y), low, high, unit, self.y, end))
        return checks, Envelope(self.y, begin, end, before, low, high, u_y, self.tr_s if self.sided == "both" else 0.0)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of voltage, frequency, power or settings, waited for until it has settled.

    Attributes:
        v_pu, f_hz, p_pu: what is applied; None: stays.
        writes: settings that change with it.
        expects: what must come of it.
        hold_s: how long it is watched.
    """

    expects: tuple[Expect, ...]
    hold_s: float
    v_pu: float | None = None
    f_hz: float | None = None
    p_pu: float | None = None
    writes: Mapping[str, float] = field(default_factory=dict)

    def enter(self, lab: Laboratory) -> None:
        """Apply and wait."""
        self._apply(lab)
        lab.settle(self.hold_s)

    def _apply(self, lab: Laboratory) -> None:
        if self.writes:
            lab.eut.write(self.writes)
        lab.apply(self.v_pu, self.f_hz, self.p_pu)

    def run(self, lab: Laboratory) -> Finding:
        """Apply, watch, judge."""
        _, _, _, p, q = lab.look()
        self._apply(lab)
        shortest = min([e.tr_s for e in self.expects if e.tr_s > 0.0], default=self.hold_s / 2.0)
        trace = lab.watch(self.hold_s, max(shortest / SAMPLES, self.hold_s / 2000.0))
        judged = [e.judge(lab, p if e.y == "p" else q, trace) for e in self.expects]
        checks = [check for found, _ in judged for check in found]
        return Finding(tuple(checks), trace, tuple(envelope for _, envelope in judged))


def step_row(
    name: str,
    clause: str,
    step: Step,
    needs: frozenset[str] = frozenset({"grid"}),
    skip: str = "",
) -> Row:
    """A row of one step; what it must resolve is the fastest response that it judges."""
    return Row(name, clause, step, needs, min([e.tr_s for e in step.expects if e.tr_s > 0.0], default=0.0), skip)


def settled_after(tr_s: float) -> float:
    """How long to wait until a response of this time counts as settled."""
    return float(table("settled_after_response_times")) * tr_s


def switched_off(names: Mapping[str, object]) -> dict[str, float]:
    """Every function off, trips included, and service entered at once: what procedures start from."""
    wanted = {"qv_vref_auto": 0.0, "qv_vref_pu": 1.0, "set_exe_time_s": 0.0}
    if "es_enable" not in names:
        wanted |= {"es_delay_s": 0.0, "es_randomized_delay_s": 0.0, "es_ramp_s": 0.0}
    off = {name: 0.0 for name in names if name.endswith("_enable")}
    return off | {name: value for name, value in wanted.items() if name in names}


def sided(time: str, limits: Mapping[str, object]) -> Literal["both", "due"]:
    """How a response is judged: on both sides where its time can be set, else by what is due when the standard's is over."""
    return "both" if time in limits else "due"
