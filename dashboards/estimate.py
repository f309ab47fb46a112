"""What was measured, estimated and true at each step: the estimate that describes a step, not the one in force at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from dashboards.view import RunView, Values
from vpp.historian.moments import described

Marks = npt.NDArray[np.uint8]
SUSPECT: Final = 1  # a meter there was taken out as a gross error
DOUBTED: Final = 2  # the measurements speak against the branch's believed state
HALF: Final = 1.959963984540054  # of the 95 % interval, in standard deviations
NAMES: Final = {"vm_pu": "Voltage", "p_mw": "P", "q_mvar": "Q", "loading": "Loading"}


@dataclass(frozen=True)
class Compared:
    """One quantity at one moment; NaN where it is not known.

    Attributes:
        name: what it is, with the end of a branch.
        unit: its unit.
        measured, true, estimated, sigma: in that unit.
        late_s: how old the measured value is.
        suspect: whether it was taken for a gross error.
    """

    name: str
    unit: str
    measured: float
    true: float
    estimated: float
    sigma: float
    late_s: float = 0.0
    suspect: bool = False


class Estimates:
    """The estimates and meters of one run; ``present`` is False where none were recorded."""

    def __init__(self, view: RunView) -> None:
        """Find the meters."""
        self.view = view
        self.present = view.has("buses/est_vm_pu") and view.has("estimate/age_s")
        self.points = view.ids("meters")
        m = len(self.points)
        bus, branch, quantity, unit, side = (view.coordinate("meters", c) for c in ("bus", "branch", "quantity", "unit", "side"))
        self.bus = np.full(m, -1) if bus is None else bus.astype(np.intp)
        self.branch = np.full(m, -1) if branch is None else branch.astype(np.intp)
        self.quantity, self.unit, self.side = (np.full(m, "") if c is None else c.astype(str) for c in (quantity, unit, side))
        self._rows: tuple[int, npt.NDArray[np.intp]] = (-1, np.zeros(0, np.intp))

    def rows(self) -> npt.NDArray[np.intp]:
        """(T,) row of the record in which the estimate of each step stands; -1: there is none."""
        if self._rows[0] != self.view.rows:
            n = self.view.rows
            self._rows = n, described(self.view.time_ns[:n], self.view.line("estimate/age_s")[:n]).astype(np.intp)
        return self._rows[1]

    def row(self, k: int) -> int:
        """Row of the estimate of step ``k``, or of the newest before it; -1: there is none."""
        before = np.flatnonzero(self.rows()[: k + 1] >= 0)
        return int(self.rows()[before[-1]]) if len(before) else -1

    def behind_s(self, k: int) -> float:
        """How much older than step ``k`` the moment is that its estimate describes; NaN where there is none."""
        row = self.row(k)
        if row < 0:
            return float("nan")
        moment = self.view.time_ns[row] - round(float(self.view.line("estimate/age_s")[row]) * 1e9)
        return float(self.view.time_ns[k] - moment) / 1e9

    def of(self, name: str, k: int) -> Values:
        """A series of the estimate as it describes step ``k``."""
        row = self.row(k)
        if row < 0:
            return np.full(len(self.view.ids(name.split("/")[0])), np.nan, np.float32)
        return self.view.row(name, row)

    def measured(self, k: int) -> Values:
        """(buses,) voltage that a meter shows, as seen at step ``k`` [pu]."""
        out = np.full(len(self.view.ids("buses")), np.nan, np.float32)
        here = np.flatnonzero((self.quantity == "vm_pu") & (self.bus >= 0))
        out[self.bus[here]] = self.view.row("meters/value", k)[here]
        return out

    def marks(self, k: int) -> tuple[Marks, Marks]:
        """Suspicions at buses and branches."""
        buses = np.zeros(len(self.view.ids("buses")), np.uint8)
        branches = np.zeros(len(self.view.ids("branches")), np.uint8)
        branches[self.of("branches/est_doubted", k) == 1] |= DOUBTED
        suspect = self.of("meters/suspect", k) == 1
        for at, marks in ((self.bus, buses), (self.branch, branches)):
            marks[at[suspect & (at >= 0)]] |= SUSPECT
        return buses, branches

    def columns(self, name: str, which: int) -> Values:
        """One column of an estimate's series over the steps that it describes, (T,)."""
        rows = self.rows()
        values = self.view.columns(name, np.array([which]))[:, 0]
        return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan).astype(np.float32)

    def at_source(self, point: int) -> tuple[Values, npt.NDArray[np.bool_]]:
        """(T,) what a point measured at each step, however late it told, and whether it was taken for a gross error."""
        view, n = self.view, self.view.rows
        value, age = (view.columns(f"meters/{name}", np.array([point]))[:, 0] for name in ("value", "age_s"))
        heard = np.isfinite(value) & np.isfinite(age)
        age_ns = np.round(np.nan_to_num(age).astype(np.float64) * 1e9).astype(np.int64)
        source = np.searchsorted(view.time_ns[:n], view.time_ns[:n] - age_ns)
        out = np.full(n, np.nan, np.float32)
        out[source[heard]] = value[heard]
        return out, self.columns("meters/suspect", point) == 1

    def at_bus(self, bus: int, k: int) -> list[Compared]:
        """Everything that is known of a bus at a step: its voltage first."""
        points = self._points(self.bus == bus, k)
        volts = [c for c in points if c.name == NAMES["vm_pu"]]
        measured, late, suspect = (volts[0].measured, volts[0].late_s, volts[0].suspect) if volts else (np.nan, 0.0, False)
        estimated, sigma = (float(self.of(f"buses/{name}", k)[bus]) for name in ("est_vm_pu", "est_sigma_pu"))
        true = float(self.view.row("buses/vm_pu", k)[bus])
        first = Compared(NAMES["vm_pu"], "pu", measured, true, estimated, sigma, late, suspect)
        return [first, *(c for c in points if c.name != NAMES["vm_pu"])]

    def at_branch(self, branch: int, k: int) -> list[Compared]:
        """Everything that is known of a branch at a step: its loading first."""
        estimated, sigma = (float(self.of(f"branches/{name}", k)[branch]) for name in ("est_loading", "est_loading_sigma"))
        true = float(self.view.row("branches/loading", k)[branch])
        first = Compared(NAMES["loading"], "%", np.nan, 100 * true, 100 * estimated, 100 * sigma)
        return [first, *self._points(self.branch == branch, k)]

    def doubted(self, branch: int, k: int) -> bool:
        """Whether the measurements speak against a branch's believed state."""
        return bool(self.marks(k)[1][branch] & DOUBTED)

    def _points(self, which: npt.NDArray[np.bool_], k: int) -> list[Compared]:
        value, age, true = (self.view.row(f"meters/{name}", k) for name in ("value", "age_s", "true_value"))
        estimated, sigma, suspect = (self.of(f"meters/{name}", k) for name in ("est_value", "est_sigma", "suspect"))
        return [
            Compared(
                " ".join(filter(None, (NAMES.get(self.quantity[i], self.quantity[i]), self.side[i]))), self.unit[i],
                float(value[i]), float(true[i]), float(estimated[i]), float(sigma[i]), float(np.nan_to_num(age[i])),
                bool(suspect[i] == 1),
            )
            for i in np.flatnonzero(which).tolist()
        ]  # fmt: skip
