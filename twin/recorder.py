"""What a run keeps of each step, and the sums that its summary is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np
from numba import njit

from twin.devices.model import Delivered, Offer
from twin.judge import QUALITIES, EstimateJudge, Values
from twin.plant import GridResult
from vpp.grid.limits import QUANTITIES
from vpp.grid.limits import Limits as NetworkLimits
from vpp.grid.network import Network
from vpp.grid.watch import LimitWatch
from vpp.historian.run import RunWriter, Series
from vpp.kernel.fleet import CONTROL_LIMIT
from vpp.kernel.schedule import Schedule
from vpp.kernel.seen import Event
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry
from vpp.kernel.tick import DecisionHash, Record

BROKEN: Final = ("loading", "low voltage", "high voltage", "reverse power")  # in the order of QUANTITIES
OTHERS: Final = ("seen", "estimate")  # words of a scenario's record that the journal and the judge stand for

_D_P, _O_MAX = Delivered.p_mw.row, Offer.p_avail_max_mw.row
_O_NEED, _O_DEPART = Offer.e_need_mwh.row, Offer.t_depart_s.row

# Rows of the sums over a run, in the order in which `_account` fills them.
SUMS: Final = (
    "energy_import_mwh", "energy_export_mwh", "energy_generated_mwh", "energy_consumed_mwh", "losses_mwh", "curtailed_mwh",
    "voltage_violation_bus_hours", "loading_violation_branch_hours", "vm_min_pu", "vm_max_pu", "loading_max", "cost_eur",
    "unserved_mwh", "frequency_min_hz", "frequency_max_hz", "rocof_max_hz_per_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a violation in the summary."""

    vm_low_pu: float = 0.9
    vm_high_pu: float = 1.1
    loading: float = 1.0
    reverse_mw: float | None = None

    def watch(self, network: Network) -> LimitWatch:
        """Watch them on a network."""
        limits = NetworkLimits(self.vm_low_pu, self.vm_high_pu, self.loading, reverse_mw=self.reverse_mw)
        return LimitWatch.of(network, limits)


def series_of(wanted: Sequence[str], owners: Sequence[str]) -> list[tuple[Series, Values]]:
    """The series that a scenario's ``record`` stands for, each with where its values come from.

    Args:
        wanted: names of the scenario's ``record``; unknown ones raise KeyError.
        owners: the chain's owners, the meanings of a cause.
    """
    s, d, b = Setpoints, Delivered, "resources"
    table: dict[str, list[tuple[Series, Values]]] = {
        "asked": [
            (Series.of(b, "asked_p_mw", s.p_mw), lambda r, t, o: r.decision.asked.setpoints.p_mw),
            (Series.of(b, "asked_q_mvar", s.q_mvar), lambda r, t, o: r.decision.asked.setpoints.q_mvar),
        ],
        "delivered": [
            (Series.of(b, "delivered_p_mw", d.p_mw), lambda r, t, o: t.solved.delivered.p_mw),
            (Series.of(b, "delivered_q_mvar", d.q_mvar), lambda r, t, o: t.solved.delivered.q_mvar),
        ],
        "step": [
            (Series.of(b, "asked_step", s.step), lambda r, t, o: r.decision.asked.setpoints.step),
            (Series.of(b, "step", s.step), lambda r, t, o: r.seen.applied.step),
        ],
        "soc": [(Series.of(b, "soc", Telemetry.soc), lambda r, t, o: o.soc)],
        "cause": [
            (
                Series(b, "cause", "1", "who binds the active power that is asked", flags=tuple(owners)),
                lambda r, t, o: r.decision.asked.cause_p,
            )
        ],
        "quality": [
            (
                Series(b, "quality", "1", "quality of the resource's telemetry", flags=QUALITIES),
                lambda r, t, o: r.seen.telemetry.quality[Telemetry.p_mw.row],
            )
        ],
        "telemetry": [
            (Series.of(b, f"seen_{signal.name}", signal), _seen(signal.row)) for signal in Telemetry.signals
        ],
        "voltage": [(Series("buses", "vm_pu", "pu", "voltage magnitude of the bus", 1e-6), lambda r, t, o: t.vm_pu)],
        "reverse": [
            (
                Series("branches", "reverse_mw", "MW", "power from a transformer's low to its high side", 1e-6),
                lambda r, t, o: t.reverse_mw,
            )
        ],
        "loading": [
            (Series("branches", "loading", "1", "current of rated current, at the fuller end", 1e-5), lambda r, t, o: t.loading)
        ],
    }  # fmt: skip
    return [row for name in wanted if name not in OTHERS for row in table[name]]


def _seen(row: int) -> Values:
    return lambda r, t, o: r.seen.telemetry.block[row]


def broken(watch: LimitWatch) -> list[tuple[Series, Values]]:
    """How many limits each step breaks."""
    return [
        (Series("limits", name, "1", f"elements whose limit of {text} is broken", 1.0), _count(watch, i))
        for i, (name, text) in enumerate(zip(QUANTITIES, BROKEN, strict=True))
    ]


def _count(watch: LimitWatch, i: int) -> Values:
    return lambda r, t, o: watch.counts[i : i + 1].astype(np.float64)


SYSTEM: Final = (
    Series("system", "exchange_p_mw", "MW", "active power over the PCC, into the public grid positive", 1e-6),
    Series("system", "exchange_q_mvar", "Mvar", "reactive power over the PCC, into the public grid positive", 1e-6),
    Series("system", "losses_mw", "MW", "active losses of the network", 1e-7),
    Series("system", "frequency_hz", "Hz", "frequency of the network, of its first island at the end of the step", 1e-4),
    Series("system", "scheduled_p_mw", "MW", "sum of the schedule in force, injection positive", 1e-6),
    Series("system", "scheduled_delivered_p_mw", "MW", "what the scheduled resources deliver, injection positive", 1e-6),
    Series("system", "delivered_p_mw", "MW", "sum of all resources, injection positive", 1e-6),
    Series("system", "curtailed_mw", "MW", "available less delivered power of resources that can be limited", 1e-6),
    Series("system", "price_import_eur_per_mwh", "EUR/MWh", "price of imported energy", 1e-3),
    Series("system", "price_export_eur_per_mwh", "EUR/MWh", "price of exported energy", 1e-3),
    Series("system", "iterations", "1", "iterations of devices and power flow together", 1.0),
    Series("system", "converged", "1", "whether the network had a solution", flags=("diverged", "converged")),
    Series("system", "frequency_nadir_hz", "Hz", "lowest frequency of any island within the step", 1e-4),
    Series("system", "frequency_zenith_hz", "Hz", "highest frequency of any island within the step", 1e-4),
    Series("system", "rocof_hz_per_s", "Hz/s", "fastest change of frequency of any island within the step, with its sign", 1e-4),
)


@dataclass(slots=True)
class Recorder:
    """Takes every step: into the run directory, the decision hash and the sums.

    Attributes:
        writer: the run directory; None to keep only hash and sums.
        series: what `series_of` gave.
        id: (n,) names of the resources.
        control: (n,) how each resource can be controlled.
        limits: what counts as a violation.
        dt_s: length of a step.
        price_import, price_export: (T,) EUR/MWh, NaN where there is no market.
        progress: called after every step with the number of steps done.
        also: called with every tick's record (a journal, for example).
        told: what the twin says of its own, by step: faults that begin and end. No controller hears it.
        heard: events of the sources in ``listen``, kept in memory.
        listen: names of those sources.
        watch: the limits over time; None: nobody looks.
        judge: compares estimates of the network's state with the truth; None where nobody estimates.
    """

    writer: RunWriter | None
    series: list[tuple[Series, Values]]
    id: tuple[str, ...]
    control: IntArray
    limits: Limits
    dt_s: float
    price_import: FloatArray
    price_export: FloatArray
    progress: Callable[[int], None] | None = None
    also: Callable[[int, Record], None] | None = None
    told: Mapping[int, Sequence[Event]] = field(default_factory=dict)
    listen: frozenset[str] = frozenset()
    heard: list[Event] = field(default_factory=list)
    watch: LimitWatch | None = None
    judge: EstimateJudge | None = None
    hash: DecisionHash = field(init=False)
    sums: FloatArray = field(init=False)
    steps: int = 0
    diverged: list[int] = field(default_factory=list)
    not_good: int = 0
    iterations: int = 0
    events: dict[str, int] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)
    _system: FloatArray = field(init=False)
    _cells: list[FloatArray] = field(init=False)
    _schedule: Schedule | None = None
    _planned: IntArray = field(init=False)

    def __post_init__(self) -> None:
        """Begin all sums."""
        self.hash = DecisionHash(len(self.control))
        self.sums = np.zeros(len(SUMS))
        self.sums[[SUMS.index("vm_min_pu"), SUMS.index("frequency_min_hz")]] = np.inf
        self._system = np.zeros(len(SYSTEM))
        self._cells = [self._system[i : i + 1] for i in range(len(SYSTEM))]
        self._planned = np.zeros(0, np.int64)

    def __call__(self, k: int, record: Record, truth: GridResult, offer: Offer) -> None:
        """Take step ``k``."""
        telemetry_quality = record.seen.telemetry.quality[Telemetry.p_mw.row]
        self.hash.add(record.decision.asked)
        if self.watch is not None:
            self.watch(truth.vm_pu, truth.loading, truth.reverse_mw)
        if self.judge is not None:
            self.judge(record, truth)
        scheduled, of_scheduled = self._scheduled(record, truth)
        self.not_good += _account(
            truth.solved.delivered.block, offer.block, self.control, truth.vm_pu, truth.loading, telemetry_quality,
            self.limits.vm_low_pu, self.limits.vm_high_pu, self.limits.loading, self.dt_s / 3600.0, truth.losses_mw,
            truth.exchange_mva, truth.f_hz, self.price_import[k], self.price_export[k], scheduled, of_scheduled,
            truth.solved.iterations, truth.solved.converged, self.sums, self._system,
        )  # fmt: skip
        self._frequency(truth)
        self.sums[SUMS.index("unserved_mwh")] += _unserved(offer.block, truth.solved.delivered.p_mw, self.dt_s)
        self.iterations += truth.solved.iterations
        if not truth.solved.converged:
            self.diverged.append(k)
        if self.writer is not None:
            self.writer.put(k, [*(values(record, truth, offer) for _, values in self.series), *self._cells])
        failures = self._failures(record.time_ns, offer.p_mw)
        if events := (*self.told.get(k, ()), *truth.events, *record.decision.events, *failures):
            for event in events:
                self.events[event.kind] = self.events.get(event.kind, 0) + 1
            if self.listen:
                self.heard += [event for event in events if event.source in self.listen]
            if self.writer is not None:
                self.writer.events(asdict(event) for event in events)
        if self.also is not None:
            self.also(k, record)
        self.steps = k + 1
        if self.progress is not None:
            self.progress(self.steps)

    def _frequency(self, truth: GridResult) -> None:
        """The extremes of the frequency."""
        extremes = (truth.nadir_hz, truth.zenith_hz, truth.rocof_hz_per_s)
        self._system[-3:] = extremes
        low, high, rocof = (SUMS.index(name) for name in SUMS[-3:])
        self.sums[low], self.sums[high] = min(extremes[0], self.sums[low]), max(extremes[1], self.sums[high])
        self.sums[rocof] = max(abs(extremes[2]), self.sums[rocof])

    def _failures(self, time_ns: int, offered_mw: FloatArray) -> list[Event]:
        """An event for each device whose model has failed in this step: it offers no number any more."""
        if np.isfinite(offered_mw.sum()):
            return []
        failed = [self.id[i] for i in np.flatnonzero(np.isnan(offered_mw)) if self.id[i] not in self._failed]
        self._failed.update(failed)
        text = "the device's model has failed: it delivers nothing, and what is seen of it is invalid"
        return [Event(time_ns, "plant", "failed", text, name) for name in failed]

    def _scheduled(self, record: Record, truth: GridResult) -> tuple[float, float]:
        """Sum of the plan that holds in this step, and what its resources deliver."""
        schedule = record.seen.news.schedule
        row = schedule.at(record.time_ns) if schedule is not None else None
        if row is None:
            return float("nan"), float("nan")
        if schedule is not self._schedule and schedule is not None:
            self._schedule = schedule
            self._planned = np.flatnonzero(np.isfinite(schedule.p_mw).any(axis=0))
        return _sum_of(row, self._planned), _sum_of(truth.solved.delivered.p_mw, self._planned)

    def summary(self) -> dict[str, float | None]:
        """The sums by name; None where nothing was known."""
        found = dict(zip(SUMS, (float(x) for x in self.sums), strict=True))
        return {name: value if np.isfinite(value) else None for name, value in found.items()}


@njit(cache=True, nogil=True)
def _unserved(offer: FloatArray, p_mw: FloatArray, dt_s: float) -> float:
    """Energy at the terminals that those whose deadline is the end of this step are still short of then [MWh]."""
    total = 0.0
    for i in range(p_mw.size):
        if offer[_O_DEPART, i] <= dt_s * (1.0 + 1e-9):
            taken = max(-p_mw[i], 0.0) if p_mw[i] == p_mw[i] else 0.0
            total += max(offer[_O_NEED, i] - taken * dt_s / 3600.0, 0.0)
    return total


@njit(cache=True, nogil=True)
def _sum_of(value: FloatArray, where: IntArray) -> float:
    """Sum over some resources; NaN entries count as nothing, all NaN as NaN."""
    total, known = 0.0, False
    for i in where:
        if np.isfinite(value[i]):
            total += value[i]
            known = True
    return total if known else np.nan


@njit(cache=True, nogil=True)
def _account(
    delivered: FloatArray, offer: FloatArray, control: IntArray, vm_bus: FloatArray, loading: FloatArray, seen: ByteArray,
    vm_low: float, vm_high: float, loading_high: float, hours: float, losses: float, exchange: complex, f_hz: float,
    buy: float, sell: float, scheduled: float, of_scheduled: float, iterations: int, converged: bool, sums: FloatArray,
    system: FloatArray,
) -> int:  # fmt: skip
    """Add a step to the sums and fill the system's row; returns how many messages were not good."""
    generated = consumed = curtailed = total = 0.0
    not_good = 0
    for i in range(control.size):
        p = delivered[_D_P, i]
        total += p
        generated += max(p, 0.0)
        consumed += max(-p, 0.0)
        if control[i] == CONTROL_LIMIT and np.isfinite(offer[_O_MAX, i]):
            curtailed += max(offer[_O_MAX, i] - p, 0.0)
        not_good += seen[i] != 0
    if converged:
        sums[0] += max(-exchange.real, 0.0) * hours
        sums[1] += max(exchange.real, 0.0) * hours
        sums[2] += generated * hours
        sums[3] += consumed * hours
        sums[4] += losses * hours
        sums[5] += curtailed * hours
        for b in range(vm_bus.size):
            v = vm_bus[b]
            sums[6] += hours if v < vm_low or v > vm_high else 0.0
            sums[8] = v if v < sums[8] else sums[8]
            sums[9] = v if v > sums[9] else sums[9]
        for b in range(loading.size):
            sums[7] += hours if loading[b] > loading_high else 0.0
            sums[10] = loading[b] if loading[b] > sums[10] else sums[10]
        sums[11] += (max(-exchange.real, 0.0) * buy - max(exchange.real, 0.0) * sell) * hours
    system[0], system[1], system[2], system[3] = exchange.real, exchange.imag, losses, f_hz
    system[4], system[5], system[6] = scheduled, of_scheduled, total
    system[7] = curtailed if converged else np.nan
    system[8], system[9], system[10], system[11] = buy, sell, iterations, converged
    return not_good
