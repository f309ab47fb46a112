"""A session on the bench: does rows in any order, judges them, and puts everything back in the end, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from hil.bench.laboratory import Laboratory
from hil.bench.procedure import OWN_VALUE, SLOWEST, Procedure, Row, switched_off
from hil.bench.results import Basis, Finding, Outcome, Verdict
from vpp.kernel.errors import VppError

SAME = 1e-9
ENTERS_S = 5.0  # without criteria and ramp service is entered within this


@dataclass
class Session:
    """A context: on entering it notes what the equipment holds, on leaving it writes that back and reads it.

    Attributes:
        lab: the laboratory.
        verdicts: of the rows done so far.
        identity: what the equipment says of itself.
        before, after: settings before and after, read from the equipment.
        permitted: whether service was permitted before.
        raw: its registers before and after, where it has any.
        troubles: what went wrong while putting things back.
    """

    lab: Laboratory
    verdicts: list[Verdict] = field(default_factory=list)
    identity: dict[str, str] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    permitted: bool = True
    raw: dict[str, dict[str, str]] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    _at: tuple[Procedure, int] | None = None

    def __enter__(self) -> Self:
        """Note who it is and what it holds."""
        self.identity = dict(self.lab.eut.identity())
        self.before = self.lab.eut.read(sorted(self.lab.eut.limits()))
        self.permitted = self.lab.eut.permitted()
        self.raw["before"] = dict(self.lab.eut.raw())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Sources to nominal, settings and permission of service as they were; each tried whatever becomes of the others."""
        eut = self.lab.eut
        for what, act in (
            ("sources", self.lab.nominal),
            ("settings", lambda: self.hold(self.before)),
            ("service", lambda: eut.connect(self.permitted)),
            ("reading back", lambda: self.after.update(eut.read(sorted(self.before)))),
            ("registers", lambda: self.raw.update(after=dict(eut.raw()))),
        ):
            try:
                act()
            except (VppError, OSError) as trouble:
                self.troubles.append(f"{what}: {trouble}")
        limits = self.lab.eut.limits()
        self.troubles += [
            f"{name} is {self.after.get(name)} and was {value}"
            for name, value in self.before.items()
            if not abs(self.after.get(name, float("nan")) - value) <= SAME + limits[name].step
        ]

    def verdict(self, procedure: Procedure, number: int) -> Verdict:
        """Do one row and judge it. Rows before it that it builds on are entered first if they have not just been done."""
        row = procedure.rows[number]
        reason = self._obstacle(procedure, row)
        finding, outcome = Finding(reason=reason), Outcome.NOT_RUN
        if not reason:
            try:
                self._stand(procedure, number)
                finding = row.act.run(self.lab)
                self._at = (procedure, number)
            except (VppError, OSError) as error:
                self._at = None
                finding = Finding(reason=str(error))
            if not finding.reason and finding.checks:
                outcome = Outcome.PASSED if all(c.ok for c in finding.checks) else Outcome.FAILED
        basis = Basis.NONE if outcome is Outcome.NOT_RUN else self.lab.basis if finding.instrumented else Basis.SELF_REPORTED
        failed = "; ".join(str(c) for c in finding.checks if not c.ok)
        verdict = Verdict(
            procedure.suite, procedure.name, row.name, row.clause, outcome, basis, finding.reason or failed, finding
        )
        self.verdicts.append(verdict)
        return verdict

    def _obstacle(self, procedure: Procedure, row: Row) -> str:
        """Why a row cannot be run, or ""."""
        if procedure.skip or row.skip:
            return procedure.skip or row.skip
        there = {"grid": self.lab.grid, "dc": self.lab.dc}
        missing = [name for name in sorted(row.needs) if there[name] is None]
        if missing:
            return "no source: " + " and ".join({"grid": "AC (GridSource)", "dc": "DC (DcSource)"}[name] for name in missing)
        if row.response_s > 0.0 and self.lab.fastest_s > row.response_s / SLOWEST:
            return f"sampled every {self.lab.fastest_s:g} s, too slowly for a response time of {row.response_s:g} s"
        lacking = sorted(set(procedure.settings) - set(self.lab.eut.limits()) - OWN_VALUE)
        return f"the equipment has no setting {', '.join(lacking)}" if lacking else ""

    def _stand(self, procedure: Procedure, number: int) -> None:
        """Bring the equipment to where the row begins."""
        runnable = [k for k in range(number) if not self._obstacle(procedure, procedure.rows[k])] if procedure.chained else []
        if self._at is not None and self._at[0] is procedure and runnable and self._at[1] == runnable[-1]:
            return
        self.ready(procedure)
        for k in runnable:
            procedure.rows[k].act.enter(self.lab)

    def ready(self, procedure: Procedure) -> None:
        """Everything switched off, sources nominal, so that service is entered; then the procedure's settings, and time."""
        lab = self.lab
        off = {**self.before, **switched_off(lab.eut.limits())}
        self._at = None
        lab.nominal()
        lab.eut.connect(True)
        if procedure.ready_s > 0.0:
            self.hold(off)
            lab.settle(ENTERS_S)
            there = self.lab.eut.limits()
            self.hold({**off, **{name: value for name, value in procedure.settings.items() if name in there}})
            lab.settle(procedure.ready_s)

    def hold(self, values: Mapping[str, float]) -> None:
        """Have the equipment hold these settings; only those that differ are written, memory wears by writing."""
        eut, limits = self.lab.eut, self.lab.eut.limits()
        held = eut.read(values)
        other = {
            name: value
            for name, value in values.items()
            if name not in held or not abs(held[name] - value) <= SAME + limits[name].step / 2.0
        }
        if other:
            eut.write(other)


def run_all(
    session: Session,
    procedures: Sequence[Procedure],
    told: Callable[[int, int, Verdict], Any] = lambda done, total, verdict: None,
) -> list[Verdict]:
    """All rows of these procedures in order; ``told`` hears of each."""
    rows = [(procedure, k) for procedure in procedures for k in range(len(procedure.rows))]
    for done, (procedure, k) in enumerate(rows, start=1):
        told(done, len(rows), session.verdict(procedure, k))
    return session.verdicts
