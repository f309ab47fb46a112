"""Faults of devices, meters and links: scripted or drawn ahead, and where they act.

A fault acts at one of four places: on what a device adopts (deaf, or back to neutral), on what it does with it (sign), on
what it offers (trip, derating), and on what is measured and sent (sign, drift, swap, freeze, silence). Nobody is told: a
fault is seen by its effect, and each carries who should say what, and how soon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from twin.devices.model import Delivered, Offer
from vpp.kernel.fleet import Fleet
from vpp.kernel.seen import Event
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

KINDS: Final = (
    "trip", "derating", "stuck_setpoint", "wrong_sign", "wrong_meter_sign", "drifting_sensor", "frozen_sensor", "lost_link",
    "reboot", "meter_swap",
)  # fmt: skip
TRIP, DERATING, STUCK, SIGN, METER_SIGN, DRIFT, FROZEN, LOST_LINK, REBOOT, SWAP = range(len(KINDS))
YEAR_H: Final = 8760.0
_O_P, _O_Q, _O_FOLLOW, _O_SOC = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row, Offer.soc.row
_D = (Delivered.p_mw.row, Delivered.q_mvar.row, Delivered.vm_pu.row)
_S_P, _S_LIMIT = Setpoints.p_mw.row, Setpoints.p_limit_mw.row


@dataclass(frozen=True, slots=True)
class Expected:
    """What should be said of a fault.

    Attributes:
        signal: where the fault shows.
        rule: what is looked for there.
        says: kinds of events, any of which is right; () where nobody can know.
        within_s: how soon after the fault begins, where something shows at all.
        steps: or so many steps, where that is longer.
    """

    signal: str
    rule: str
    says: tuple[str, ...]
    within_s: float
    steps: int = 3


_OFF = ("deviation", "not-responding", "wrong-sign", "swapped")
EXPECTED: Final[Mapping[str, Expected]] = {
    "trip": Expected("p_mw", "nothing delivered though power is asked or available", ("not-responding", "deviation"), 1800.0),
    "derating": Expected("p_mw", "less delivered than is asked or available", ("deviation", "not-responding"), 1800.0),
    "stuck_setpoint": Expected("read-back", "the device holds what was asked long ago", ("stuck-setpoint", *_OFF), 3600.0, 6),
    "wrong_sign": Expected("p_mw", "the mirror image of what is asked", _OFF, 1800.0),
    "wrong_meter_sign": Expected("p_mw", "the mirror image of what is expected", ("residual", *_OFF), 1800.0),
    "drifting_sensor": Expected(
        "the quantity", "parts from setpoint, energy, neighbours or PCC", ("implausible", "residual", *_OFF), 14400.0, 16
    ),
    "frozen_sensor": Expected("all", "nothing moves though the others do", ("frozen", "implausible", *_OFF), 10800.0, 12),
    "lost_link": Expected("quality, source time", "no message", ("silent",), 1800.0, 4),
    "reboot": Expected("quality, source time", "no message for the time of the boot", ("silent",), 1800.0, 4),
    "meter_swap": Expected("p_mw", "each meter shows what is expected of the other", ("swapped", *_OFF), 3600.0, 6),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of some resources.

    Attributes:
        kind: one of ``KINDS``.
        resource: who has it; for ``meter_swap`` the meters change places in pairs, first with second and so on.
        begin_ns, end_ns: [begin, end), UTC.
        value: derating: part of the rating that is left; drifting sensor: per hour, of the rating or in pu or of the charge.
        quantity: of a drifting sensor, index into `twin.meters.QUANTITIES`.
        expected: what should be said of it.
    """

    kind: str
    resource: IntArray
    begin_ns: int
    end_ns: int
    value: float = 0.0
    quantity: int = 0
    expected: Expected | None = None

    @property
    def detection(self) -> Expected:
        """What should be said of it."""
        return self.expected or EXPECTED[self.kind]


def draw_faults(
    rates: Mapping[str, float], resource: IntArray, start_ns: int, end_ns: int, mean_h: float, values: Mapping[str, float],
    random: np.random.Generator,
) -> list[Fault]:  # fmt: skip
    """Draw faults: ``rates`` by kind per resource and year, even over time; durations exponential with ``mean_h``."""
    years = (end_ns - start_ns) / 3.6e12 / YEAR_H
    found = []
    for kind in KINDS:
        for _ in range(int(random.poisson(rates.get(kind, 0.0) * len(resource) * years))):
            begin = start_ns + int(random.uniform(0.0, 1.0) * (end_ns - start_ns))
            end = begin + max(int(random.exponential(mean_h) * 3.6e12), 1)
            who = random.choice(resource, min(2 if kind == "meter_swap" else 1, len(resource)), replace=False)
            if kind != "meter_swap" or len(who) == 2:
                found.append(Fault(kind, np.asarray(who, np.int64), begin, min(end, end_ns), values.get(kind, 0.0)))
    return sorted(found, key=lambda fault: (fault.begin_ns, fault.kind, fault.resource.tolist()))


Rows = Mapping[int, tuple[IntArray, FloatArray, IntArray]]  # by kind: resource, value, quantity or partner


@dataclass(slots=True)
class FaultTable:
    """All faults of a run, compiled to rows by step; nothing in it changes while the run goes on.

    Attributes:
        faults: as they were stated or drawn.
        rating: (n,) of the resources [MW].
        start_ns, dt_ns: the run's first step, and the length of a step.
    """

    faults: Sequence[Fault]
    rating: FloatArray
    start_ns: int
    dt_ns: int
    _begin: IntArray = field(init=False)
    _end: IntArray = field(init=False)
    _changes: IntArray = field(init=False)
    _now: tuple[int, Rows] = field(init=False)

    def __post_init__(self) -> None:
        """Turn times into steps: a fault acts in every step that begins inside it, at least in one."""
        begin = [-(-(f.begin_ns - self.start_ns) // self.dt_ns) for f in self.faults]
        end = [-(-(f.end_ns - self.start_ns) // self.dt_ns) for f in self.faults]
        self._begin = np.maximum(np.array(begin, np.int64), 0)
        self._end = np.maximum(np.array(end, np.int64), self._begin + 1)
        self._changes = np.unique(np.concatenate([self._begin, self._end]))
        self._now = (-1, {})

    def step_of(self, now_ns: int) -> int:
        """Number of the step at a time."""
        return (now_ns - self.start_ns) // self.dt_ns

    def at(self, k: int) -> Rows:
        """What acts in step ``k``, by kind."""
        span = int(np.searchsorted(self._changes, k, side="right"))
        if span != self._now[0]:
            by: dict[int, list[tuple[IntArray, FloatArray, IntArray]]] = {}
            for j in np.flatnonzero((self._begin <= k) & (k < self._end)):
                fault = self.faults[int(j)]
                kind, m = KINDS.index(fault.kind), len(fault.resource)
                other = fault.resource.reshape(-1, 2)[:, ::-1].ravel() if kind == SWAP else np.full(m, fault.quantity)
                # Drift needs the step at which it began; everything else its value.
                value = float(self._begin[j]) if kind == DRIFT else fault.value
                by.setdefault(kind, []).append((fault.resource, np.full(m, value), other))
                if kind == DRIFT:
                    by.setdefault(len(KINDS), []).append((fault.resource, np.full(m, fault.value), other))
            rows = {kind: _joined(parts) for kind, parts in by.items()}
            self._now = (span, rows)
        return self._now[1]

    @property
    def freezes(self) -> bool:
        """Whether a meter freezes at any time of the run."""
        return any(KINDS.index(fault.kind) == FROZEN for fault in self.faults)

    def deaf(self, k: int) -> BoolArray | None:
        """Mask of the devices that take up nothing in step ``k``; None where all listen."""
        return self._mask(k, (STUCK, LOST_LINK, REBOOT))

    def silent(self, k: int) -> BoolArray | None:
        """Mask of the devices from which nothing comes; None where all speak."""
        return self._mask(k, (LOST_LINK, REBOOT))

    def stuck(self, k: int) -> BoolArray | None:
        """Mask of the devices that keep their setpoint whatever happens, leases included."""
        return self._mask(k, (STUCK,))

    def booting(self, k: int) -> IntArray:
        """Devices that are back at neutral setpoints."""
        rows = self.at(k)
        return rows[REBOOT][0] if REBOOT in rows else np.zeros(0, np.int64)

    def _mask(self, k: int, kinds: Iterable[int]) -> BoolArray | None:
        rows = self.at(k)
        found = [rows[kind][0] for kind in kinds if kind in rows]
        if not found:
            return None
        mask = np.zeros(len(self.rating), np.bool_)
        mask[np.concatenate(found)] = True
        return mask

    def acted_on(self, k: int, applied: FloatArray) -> FloatArray:
        """What the devices make of the setpoints that they hold: a block of Setpoints, the same one where nothing is wrong."""
        rows = self.at(k)
        if SIGN not in rows:
            return applied
        acting, i = applied.copy(), rows[SIGN][0]
        acting[_S_P, i] = -acting[_S_P, i]
        bound = i[np.isfinite(acting[_S_LIMIT, i])]
        acting[_S_LIMIT, bound] = -acting[_S_LIMIT, bound]
        return acting

    def offered(self, k: int, offer: FloatArray) -> None:
        """Trips and deratings, in place of an Offer block. What a device says that it could do is as before."""
        rows = self.at(k)
        if DERATING in rows:
            i, part, _ = rows[DERATING]
            most = part * self.rating[i]
            offer[_O_P, i] = np.clip(offer[_O_P, i], -most, most)
        if TRIP in rows:
            i = rows[TRIP][0]
            offer[_O_P, i], offer[_O_Q, i], offer[_O_FOLLOW, i] = 0.0, 0.0, 1.0

    def before_meter(self, k: int, offer: FloatArray, truth: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What the meters are connected to: (Offer, Delivered) blocks, the same ones where nothing is wrong."""
        rows = self.at(k)
        if not {METER_SIGN, DRIFT, SWAP} & rows.keys():
            return offer, truth
        offer, truth = offer.copy(), truth.copy()
        if SWAP in rows:
            i, _, other = rows[SWAP]
            truth[:, i] = truth[:, other]
        if METER_SIGN in rows:
            i = rows[METER_SIGN][0]
            truth[:2, i] = -truth[:2, i]
        if DRIFT in rows:
            i, begin, quantity = rows[DRIFT]
            off = rows[len(KINDS)][1] * (k - begin + 1) * (self.dt_ns / 3.6e12)
            for number, row in enumerate(_D):
                at = i[quantity == number]
                unit = self.rating[at] if number < 2 else 1.0
                np.add.at(truth[row], at, off[quantity == number] * unit)
            charge = quantity == len(_D)
            offer[_O_SOC, i[charge]] = np.clip(offer[_O_SOC, i[charge]] + off[charge], 0.0, 1.0)
        return offer, truth

    def after_meter(self, k: int, block: FloatArray, before: FloatArray | None) -> None:
        """Frozen meters show, in this block of Telemetry, what they showed in the step before."""
        rows = self.at(k)
        if FROZEN in rows and before is not None:
            i = rows[FROZEN][0]
            for row in _MEASURED:
                block[row, i] = np.where(np.isnan(block[row, i]), np.nan, before[row, i])

    def within_s(self, fault: Fault) -> float:
        """How soon a fault should be noticed."""
        return (
            fault.detection.within_s
            if fault.expected
            else max(fault.detection.within_s, fault.detection.steps * self.dt_ns / 1e9)
        )

    def events(self, ids: Sequence[str]) -> dict[int, list[Event]]:
        """What the record says of each fault when it begins and ends, by step."""
        told: dict[int, list[Event]] = {}
        for number, fault in enumerate(self.faults):
            who = ", ".join(ids[i] for i in fault.resource[:3]) + (" …" if len(fault.resource) > 3 else "")
            for step, word in ((int(self._begin[number]), "begins"), (int(self._end[number]), "ends")):
                text = f"{fault.kind.replace('_', ' ')} of {who} {word}"
                kind, at = "fault" if word == "begins" else "fault-end", self.start_ns + step * self.dt_ns
                told.setdefault(step, []).append(Event(at, "twin", kind, text, ids[fault.resource[0]], float(number)))
        return told

    def table(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """One row a fault, for the manifest."""
        return [
            {
                "fault": number, "kind": f.kind, "resources": [ids[i] for i in f.resource[:50]], "count": len(f.resource),
                "begin_ns": self.start_ns + int(self._begin[number]) * self.dt_ns,
                "end_ns": self.start_ns + int(self._end[number]) * self.dt_ns, "value": f.value,
                "signal": f.detection.signal, "rule": f.detection.rule, "says": list(f.detection.says),
                "within_s": self.within_s(f),
            }
            for number, f in enumerate(self.faults)
        ]  # fmt: skip


_MEASURED: Final = tuple(getattr(Telemetry, name).row for name in ("p_mw", "q_mvar", "vm_pu", "f_hz", "soc"))


def _joined(parts: Sequence[tuple[IntArray, FloatArray, IntArray]]) -> tuple[IntArray, FloatArray, IntArray]:
    resource, value, other = (np.concatenate(x) for x in zip(*parts, strict=True))
    return resource.astype(np.int64), value, other.astype(np.int64)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a fault was noticed: the first event of an expected kind about one of its resources.

    Attributes:
        fault: its number.
        kind: its kind.
        after_s: how long after its begin it was said; NaN where it was not.
        said: kind of that event, "" for none.
        in_time: whether that was soon enough.
    """

    fault: int
    kind: str
    after_s: float
    said: str
    in_time: bool


def verdicts(table: FaultTable, ids: Sequence[str], events: Iterable[Event]) -> list[Verdict]:
    """Hold what was said in a run against the faults that it had."""
    heard = [event for event in events if event.source == "performance"]
    found = []
    for number, fault in enumerate(table.faults):
        names, wanted = {ids[i] for i in fault.resource} | {"pcc"}, fault.detection
        begin, within_s = table.start_ns + int(table._begin[number]) * table.dt_ns, table.within_s(fault)
        end = max(begin + round(within_s * 1e9), fault.end_ns)
        said = [
            event for event in heard
            if event.kind in wanted.says and begin <= event.time_ns <= end
            and (event.subject in names and (event.subject != "pcc" or event.kind == "residual"))
        ]  # fmt: skip
        after = (said[0].time_ns - begin) / 1e9 if said else float("nan")
        in_time = after <= within_s if wanted.says else True
        found.append(Verdict(number, fault.kind, after, said[0].kind if said else "", in_time))
    return found


def rating_of(fleet: Fleet) -> FloatArray:
    """Largest magnitude of each resource's band [MW]."""
    return np.asarray(np.maximum(np.abs(fleet.p_min_mw), np.abs(fleet.p_max_mw)))
