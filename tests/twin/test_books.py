"""The energy books of whole runs, against sums that the twin does not make itself.

Losses come from the currents in the branches' series resistances and the voltages across their shunts, stores from
their own parameters and the power history. Exchange, devices and losses close within 1e-6 of what flows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenarios import list_scenarios, load
from scenarios.build import System, build
from tests.twin.small import Resources, plant, village
from twin.devices.battery import Battery
from twin.devices.ev import Ev
from twin.plant import TwinPlant
from vpp.grid import Network
from vpp.kernel.setpoints import FOLLOW, Asked, Setpoints
from vpp.kernel.tick import tick


def losses_mw(network: Network, v: Any) -> float:
    """Sum of I²R in the series resistances and of what the shunts take, from node voltages in pu."""
    on = network.branch_on
    f, t = network.branch_from_node[on], network.branch_to_node[on]
    yff, yft, ytf, ytt = (y[on] for y in (network.yff, network.yft, network.ytf, network.ytt))
    # A two-port of a ratio n at the from side, a series admittance and a shunt at each end behind it.
    series = np.sqrt(yft * ytf * ytt / yff)
    series = np.where(series.real < 0, -series, series)
    ratio = -series / ytf
    inner, outer = v[f] / ratio, v[t]
    current = (inner - outer) * series
    shunt = (ytt - series).real
    lost = np.abs(current) ** 2 * (1 / series).real + shunt * (np.abs(inner) ** 2 + np.abs(outer) ** 2)
    return float(lost.sum() * network.sn_mva)


@dataclass
class Books:
    """What flowed over a run [MWh], and how far the single steps are from closing [MW of MW flowing]."""

    generated: float = 0.0
    consumed: float = 0.0
    lost: float = 0.0
    exchanged: float = 0.0
    worst_step: float = 0.0
    worst_loss: float = 0.0
    stores: list[float] = field(default_factory=list)

    def add(self, p: TwinPlant, hours: float) -> None:
        """Take the plant's present step."""
        assert p.result is not None
        solved, coupling = p.result.solved, p.grid.coupling
        v = (solved.v_re + 1j * solved.v_im)[coupling.order]
        lost, delivered = losses_mw(coupling.network, v), solved.delivered.p_mw
        flowing = np.abs(delivered).sum() + abs(p.result.exchange_mva.real)
        gap = delivered.sum() - lost - p.result.exchange_mva.real
        self.worst_step = max(self.worst_step, abs(gap) / flowing)
        self.worst_loss = max(self.worst_loss, abs(lost - p.result.losses_mw) / flowing)
        self.generated += np.maximum(delivered, 0).sum() * hours
        self.consumed -= np.minimum(delivered, 0).sum() * hours
        self.lost += lost * hours
        self.exchanged += p.result.exchange_mva.real * hours

    def close(self) -> None:
        """Everything within 1e-6 of what flowed."""
        flowed = self.generated + self.consumed
        assert abs(self.generated - self.consumed - self.lost - self.exchanged) < 1e-6 * flowed
        assert self.worst_step < 1e-6
        assert self.worst_loss < 1e-9
        assert self.lost > 0.0


class Stores:
    """The batteries and cars of a plant, kept beside it by their own parameters alone."""

    def __init__(self, p: TwinPlant) -> None:
        self.plant, self.devices = p, p.devices
        self.soc = self.devices.soc.copy()
        self.before: Any = None
        self.worst = 0.0
        self.moved = 0.0

    def check(self, hours: float) -> None:
        """Carry the last step's delivery into the last contents, and compare; call after each `advance`."""
        now = {m.kind: {k: x.copy() for k, x in m.memory.items()} for m in self.devices.models}
        soc, result = self.devices.soc.copy(), self.plant.result
        assert result is not None
        if self.before is not None:
            soc0, memory, p = self.before
            for model in self.devices.models:
                if isinstance(model, Battery):
                    self._battery(model, soc0, memory["battery"], p, soc, hours)
                if isinstance(model, Ev):
                    self._cars(model, memory["ev"]["points"], p, now["ev"]["points"], hours)
        self.before = soc, now, result.solved.delivered.p_mw.copy()

    def _battery(self, model: Battery, soc0: Any, memory: Any, p: Any, soc: Any, hours: float) -> None:
        """Content = content before, less delivery over efficiency, less standby, less self-discharge; of what it holds then."""
        f, own = self.plant.fleet, model.own
        for j, i in enumerate(model.at):
            rated = max(f.p_max_mw[i], -f.p_min_mw[i])
            if "eff_x" in own:
                x, y = np.unique(own["eff_x"][j]), own["eff_y"][j][: len(np.unique(own["eff_x"][j]))]
            else:
                x, y = np.ones(1), np.full(1, f.eff_discharge[i])
            drawn = np.interp(max(p[i], 0) / rated, np.r_[0, x], np.r_[0, x / y]) * rated
            stored = np.interp(max(-p[i], 0) / rated, np.r_[0, x], np.r_[0, x * y]) * rated
            new = f.e_mwh[i] / (own["soh"][j] if "soh" in own else 1.0)
            holds = new * memory["soh"][j]
            content = soc0[i] * holds + (stored - drawn) * hours
            content = max(content - (own["standby_mw"][j] if "standby_mw" in own else 0.0) * hours, 0.0)
            content *= np.exp(-(own["fade_per_h"][j] if "fade_per_h" in own else 0.0) * hours)
            self.worst = max(self.worst, abs(content / holds - soc[i]))
            self.moved = max(self.moved, abs(soc[i] - soc0[i]))

    def _cars(self, model: Ev, points0: Any, p: Any, points: Any, hours: float) -> None:
        """A car that stays holds what it held and what it took, with its losses."""
        stays = (points0[0] == points[0]) & (points0[1] > 0) & (points[1] > 0)
        eff, power = model.own["point"][:, 3], p[model.at]
        content = points0[2] + np.where(power > 0, -power / eff, -power * eff) * hours
        if stays.any():
            self.worst = max(self.worst, float(np.abs(content - points[2])[stays].max() / 0.06))
            self.moved = max(self.moved, float(np.abs(points[2] - points0[2])[stays].max() / 0.06))
        assert (p[model.at][points0[1] == 0] == 0).all()


def closed_loop(system: System, steps: int) -> tuple[Books, Stores]:
    """A scenario's plant and controllers, stepped here."""
    books, p = Books(), system.plant
    stores, last, hours = Stores(p), Asked.nothing(p.fleet.n), p.dt_s / 3600.0
    for k in range(steps):
        p.advance()
        last = tick(int(p.time_ns[k]), p, system.desk, system.chain, last).decision.asked
        books.add(p, hours)
        stores.check(hours)
    system.desk.close()
    return books, stores


@pytest.mark.parametrize("name", [name for name, _ in list_scenarios()])
def test_books_of_the_shipped_scenarios(name: str) -> None:
    system = build(load(name))
    books, stores = closed_loop(system, min(96, len(system.plant.time_ns)))
    books.close()
    assert stores.worst < 1e-9
    stored = {"battery", "ev"} & set(system.plan.kind)
    idle = name == "hil-mixed"  # nobody asks its batteries for anything
    assert (stores.moved > 0.04 * system.plant.dt_s / 3600.0) == (bool(stored) and not idle)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_books_of_any_fleet(data: st.DataObject) -> None:
    """Fleets and setpoints as they come, at steps of a minute or a quarter of an hour."""
    power = st.floats(0.001, 0.05)
    fleet = village(pv_mw=data.draw(power)) if data.draw(st.booleans()) else Resources()
    for _ in range(data.draw(st.integers(1, 6))):
        kind, p_mw = data.draw(st.sampled_from(["load", "pv", "battery"])), data.draw(power)
        columns = {"p_mw": p_mw, "s_mva": 1.1 * p_mw}
        if kind == "battery":
            columns |= {"e_mwh": p_mw * data.draw(st.floats(0.2, 4.0)), "efficiency": data.draw(st.floats(0.7, 1.0))}
        fleet.add(kind, 2 + data.draw(st.integers(0, 4)), **columns)
    steps, dt_s = 6, data.draw(st.sampled_from([60.0, 900.0]))
    p = plant(fleet, steps, dt_s=dt_s)
    books, stores, n = Books(), Stores(p), p.fleet.n
    for k in range(steps):
        p.advance()
        sheet = Setpoints.neutral(n)
        sheet.mode = FOLLOW
        sheet.p_mw = np.array(data.draw(st.lists(st.floats(-0.06, 0.06), min_size=n, max_size=n)))
        asked = Asked.nothing(n)
        p.write(int(p.time_ns[k]), Asked(int(p.time_ns[k]), sheet, asked.cause_p, asked.cause_q))
        assert p.result is not None
        if p.result.solved.converged:
            books.add(p, dt_s / 3600.0)
            stores.check(dt_s / 3600.0)
        else:
            stores.before = None
    if books.generated + books.consumed > 0.0:
        books.close()
    assert stores.worst < 1e-9
