"""How good an estimate is: compared with the twin's truth of the moment that it describes, when it comes into force."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from twin.devices.model import Offer
from twin.grid_meters import MeterErrors
from twin.plant import GridResult
from vpp.historian.run import Series
from vpp.kernel import quality
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.grid_state import GridState
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.kernel.tick import Record

Values = Callable[[Record, GridResult, Offer], Any]
NORMAL_95: Final = 1.959963984540054  # half of the 95 % interval, in standard deviations
QUALITIES: Final = tuple(quality.describe(q) for q in range(128))

# One value a step, of the estimate in force: name, unit, meaning, resolution.
ROW: Final = (
    ("age_s", "s", "time since the moment that the estimate in force describes", 1e-3),
    ("rmse_pu", "pu", "root mean square error of its voltages", 1e-7),
    ("sigma_pu", "pu", "root mean square of their standard deviations", 1e-7),
    ("inside", "1", "part of the buses whose true voltage lies in the 95 % interval", 1e-5),
    ("unknown", "1", "energised buses without an estimated voltage", 1.0),
    ("suspects", "1", "points taken out as gross errors", 1.0),
    ("doubted", "1", "branches whose believed state the measurements speak against", 1.0),
)


class Moment(NamedTuple):
    """What was true when a frame may have been taken."""

    time_ns: int
    vm_pu: FloatArray
    source_ns: IntArray


@dataclass(slots=True)
class Named:
    """What estimates said of one point or branch: how often, and when first and last."""

    first_ns: int
    last_ns: int = 0
    estimates: int = 0
    right: int = 0

    def again(self, now_ns: int, right: bool) -> None:
        """Count one more estimate."""
        self.last_ns, self.estimates, self.right = now_ns, self.estimates + 1, self.right + right


@dataclass(slots=True)
class Sums:
    """Errors of many voltages together."""

    count: int = 0
    square: float = 0.0
    inside: int = 0
    variance: float = 0.0

    def add(self, error: FloatArray, sigma: FloatArray) -> None:
        """Take in some voltages [pu]."""
        self.count += len(error)
        self.square += float(np.sum(error**2))
        self.variance += float(np.sum(sigma**2))
        self.inside += int(np.sum(np.abs(error) <= NORMAL_95 * sigma + 1e-12))

    def told(self) -> dict[str, float | int | None]:
        """As a summary says it."""
        n = self.count
        if not n:
            return {"voltages": 0, "rmse_pu": None, "sigma_pu": None, "inside_95": None}
        return {
            "voltages": n, "rmse_pu": (self.square / n) ** 0.5, "sigma_pu": (self.variance / n) ** 0.5,
            "inside_95": self.inside / n,
        }  # fmt: skip


@dataclass(slots=True)
class EstimateJudge:
    """Judges every estimate once, when it comes into force, and gives the series that a record keeps of it.

    Attributes:
        layout: the points that controllers see.
        bus_name, branch_name: what a summary calls them; ``branch_id`` is what an estimate calls them.
        branch_id: names of the branches in `GridState.doubted`.
        errors: gross errors of meters, by number among the layout's last points.
        remembered: steps that the frame of an estimate may lie back when it comes into force.
        stale: branches whose state is believed wrongly, by their id.
        row: values of ``ROW`` for the estimate in force.
    """

    layout: PointLayout
    bus_name: tuple[str, ...]
    branch_name: tuple[str, ...]
    branch_id: tuple[str, ...]
    errors: MeterErrors
    remembered: int
    stale: tuple[str, ...] = ()
    row: FloatArray = field(init=False)
    _moments: deque[Moment] = field(init=False)
    _state: GridState | None = field(init=False, default=None)
    _counts: dict[str, int] = field(init=False)
    _sums: dict[str, Sums] = field(init=False)
    _worst: tuple[float, int, int] = field(init=False, default=(-1.0, 0, 0))
    _suspects: dict[str, Named] = field(init=False, default_factory=dict)
    _doubted: dict[str, Named] = field(init=False, default_factory=dict)
    _wanted: dict[str, int] = field(init=False, default_factory=dict)
    _found_ns: dict[int, int] = field(init=False, default_factory=dict)
    _place: dict[str, int] = field(init=False)
    _branch: dict[str, int] = field(init=False)
    _points: IntArray = field(init=False)  # (errors,) number in the layout of the point that each gross error is in

    def __post_init__(self) -> None:
        """Begin with nothing in force."""
        self.row = np.full(len(ROW), np.nan)
        self._moments = deque(maxlen=self.remembered + 1)
        self._counts = dict.fromkeys(("estimates", "judged", "diverged", "unobservable", "unknown_voltages"), 0)
        self._sums = {name: Sums() for name in ("all", "measured", "expected")}
        self._place = {name: i for i, name in enumerate(self.layout.id)}
        own = next((i for i, name in enumerate(self.layout.element) if name), len(self.layout.id))
        self._points = self.errors.point + own
        self._branch = {name: i for i, name in enumerate(self.branch_id)}

    def __call__(self, record: Record, truth: GridResult) -> None:
        """Take a step: what it is in truth, and the estimate that is in force in it."""
        now_ns, seen = record.time_ns, record.seen
        self._moments.append(Moment(now_ns, truth.vm_pu.copy(), seen.points.time_ns.copy()))
        state = seen.news.grid_state
        if state is None:
            return
        if state is not self._state:
            self._state = state
            self._judge(now_ns, state)
        self.row[0] = (now_ns - state.time_ns) / 1e9

    def _judge(self, now_ns: int, state: GridState) -> None:
        """Compare one estimate with the truth of its moment."""
        self.row[1:] = np.nan
        self.row[5], self.row[6] = len(state.suspects), len(state.doubted)
        self._counts["estimates"] += 1
        self._counts["diverged"] += not state.converged
        self._counts["unobservable"] += bool(state.wanted) and state.converged
        for text in state.wanted:
            self._wanted[text] = self._wanted.get(text, 0) + 1
        then = next((moment for moment in self._moments if moment.time_ns == state.time_ns), None)
        self._name(now_ns, state, then)
        if then is None or not np.isfinite(then.vm_pu).any():
            return
        self._counts["judged"] += 1
        live = np.isfinite(then.vm_pu)
        known = live & np.isfinite(state.vm_pu)
        error, sigma = state.vm_pu[known] - then.vm_pu[known], state.vm_sigma_pu[known]
        unknown = int(live.sum() - known.sum())
        self._counts["unknown_voltages"] += unknown
        self.row[4] = unknown
        if not len(error):
            return
        here = Sums()
        here.add(error, sigma)
        told = here.told()
        self.row[1:4] = told["rmse_pu"], told["sigma_pu"], told["inside_95"]
        guessed = (state.quality[known] & quality.SUBSTITUTED) != 0
        for name, which in (("all", np.ones(len(error), np.bool_)), ("measured", ~guessed), ("expected", guessed)):
            self._sums[name].add(error[which], sigma[which])
        at = int(np.argmax(np.abs(error)))
        if abs(error[at]) > self._worst[0]:
            self._worst = (float(abs(error[at])), int(np.flatnonzero(known)[at]), state.time_ns)

    def _name(self, now_ns: int, state: GridState, then: Moment | None) -> None:
        """Keep who was suspected, and whether it was right: the value that was used had a gross error."""
        wrong = np.zeros(len(self.layout.id), np.bool_)
        if then is not None:
            wrong, errors = self._wrong(then.source_ns)
        for name in state.suspects:
            at = self._place[name]
            self._suspects.setdefault(name, Named(state.time_ns)).again(state.time_ns, bool(wrong[at]))
            if then is not None:
                for i in np.flatnonzero(errors & (self._points == at)).tolist():
                    self._found_ns.setdefault(i, now_ns)
        for name in state.doubted:
            self._doubted.setdefault(name, Named(state.time_ns)).again(state.time_ns, name in self.stale)

    def _wrong(self, source_ns: IntArray) -> tuple[BoolArray, BoolArray]:
        """Points (m,) whose values of these moments have a gross error, and the errors that do it."""
        wrong = np.zeros(len(self.layout.id), np.bool_)
        at = source_ns[self._points]
        errors = (self.errors.from_ns <= at) & (at < self.errors.until_ns)
        wrong[self._points[errors]] = True
        return wrong, np.asarray(errors)

    def told(self) -> dict[str, Any]:
        """What a summary says of all estimates, as JSON can say it."""
        error, bus, at_ns = self._worst
        worst = {"error_pu": error, "bus": self.bus_name[bus], "time_ns": at_ns} if error >= 0 else None
        e = self.errors
        return {
            **self._counts,
            **{name: sums.told() for name, sums in self._sums.items()},
            "worst": worst,
            "suspects": [{"point": name, **_told(n), "right": n.right} for name, n in self._suspects.items()],
            "doubted": [
                {"branch": self.branch_name[self._branch[name]], **_told(n), "right": n.right}
                for name, n in self._doubted.items()
            ],
            "gross_errors": [
                {
                    "point": self.layout.id[int(self._points[i])], "value": float(e.value[i]), "from_ns": int(e.from_ns[i]),
                    "until_ns": int(e.until_ns[i]), "found_ns": self._found_ns.get(i),
                }
                for i in range(len(e.point))
            ],
            "stale": [
                {
                    "branch": self.branch_name[self._branch[name]],
                    "found_ns": self._doubted[name].first_ns if name in self._doubted else None,
                }
                for name in self.stale
            ],
            "wanted": [{"text": text, "estimates": n} for text, n in sorted(self._wanted.items(), key=lambda x: -x[1])[:10]],
        }  # fmt: skip

    def series(self) -> list[tuple[Series, Values]]:
        """Everything that a record keeps of the estimates and of the meters that they are made from."""
        b, m, flags = "buses", "meters", "branches"
        unit = "1"
        meter = "in the unit of the point"
        return [
            (Series(b, "est_vm_pu", "pu", "estimated voltage magnitude of the bus", 1e-6), self._of("vm_pu", "buses")),
            (Series(b, "est_sigma_pu", "pu", "standard deviation of the estimate", 1e-7), self._of("vm_sigma_pu", "buses")),
            (
                Series(b, "est_quality", "1", "substituted: determined by an expectation alone", flags=QUALITIES),
                self._of("quality", "buses", np.uint8(quality.INVALID)),
            ),
            (Series(flags, "est_loading", "1", "estimated current of rated current", 1e-5), self._of("loading", "branches")),
            (
                Series(flags, "est_loading_sigma", "1", "standard deviation of the estimated loading", 1e-6),
                self._of("loading_sigma", "branches"),
            ),
            (Series(flags, "est_doubted", "1", "whether its believed state is doubted", flags=("no", "yes")), self._doubt),
            (Series(m, "value", unit, f"what is seen of the meter, {meter}", 1e-7), lambda r, t, o: r.seen.points.value),
            (Series(m, "age_s", "s", "time since it was measured", 1e-3), self._ages),
            (
                Series(m, "quality", "1", "quality of the value", flags=QUALITIES),
                lambda r, t, o: r.seen.points.quality,
            ),
            (Series(m, "true_value", unit, f"what a perfect meter shows, {meter}", 1e-7), self._true),
            (Series(m, "est_value", unit, f"what the estimate says it shows, {meter}", 1e-7), self._of("point_value", "points")),
            (Series(m, "est_sigma", unit, f"standard deviation of that, {meter}", 1e-8), self._of("point_sigma", "points")),
            (Series(m, "suspect", "1", "whether it was taken out as a gross error", flags=("no", "yes")), self._suspicion),
            *(
                (Series("estimate", name, unit, meaning, resolution), self._cell(i))
                for i, (name, unit, meaning, resolution) in enumerate(ROW)
            ),
        ]  # fmt: skip

    def _of(self, name: str, axis: str, unknown: Any = np.nan) -> Values:
        size = {"buses": len(self.bus_name), "branches": len(self.branch_name), "points": len(self.layout.id)}[axis]
        nothing = np.full(size, unknown)

        def values(r: Record, t: GridResult, o: Offer) -> Any:
            found = nothing if r.seen.news.grid_state is None else getattr(r.seen.news.grid_state, name)
            return found if len(found) else nothing

        return values

    def _cell(self, i: int) -> Values:
        return lambda r, t, o: self.row[i : i + 1]

    def _doubt(self, r: Record, t: GridResult, o: Offer) -> FloatArray:
        out = np.zeros(len(self.branch_name))
        out[[self._branch[name] for name in self._state.doubted] if self._state is not None else []] = 1.0
        return out

    def _suspicion(self, r: Record, t: GridResult, o: Offer) -> FloatArray:
        out = np.zeros(len(self.layout.id))
        out[[self._place[name] for name in self._state.suspects] if self._state is not None else []] = 1.0
        return out

    def _ages(self, r: Record, t: GridResult, o: Offer) -> FloatArray:
        points = r.seen.points
        return np.where(points.time_ns > 0, (r.time_ns - points.time_ns) / 1e9, np.nan)

    def _true(self, r: Record, t: GridResult, o: Offer) -> FloatArray:
        return np.concatenate([np.full(len(self.layout.id) - len(t.points_true), np.nan), t.points_true])


def _told(named: Named) -> dict[str, int]:
    return {"estimates": named.estimates, "first_ns": named.first_ns, "last_ns": named.last_ns}
