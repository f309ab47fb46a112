"""Islands without a public grid: the forming resource feeds what the others leave, inside its limits or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from scenarios import load
from scenarios.build import System, build
from tests.golden.bites import chunks
from twin.devices.model import Offer
from twin.plant import GridResult
from vpp.grid.source import quiet
from vpp.kernel.seen import Event
from vpp.kernel.setpoints import FORMING, Asked

TEXT = """# A street with a battery
network: file:street.json
time: {start: 2016-06-21, steps: 60, zone: Europe/Berlin, step_s: 60}
fleet:
  - {id: house, kind: load, at: {buses: [LV 2, LV 3]}, p_mw: 0.010, power_factor: 0.95}
  - {id: far, kind: load, at: {buses: [LV 5]}, p_mw: 0.004}
  - {id: pv, kind: pv, at: {buses: [LV 2]}, p_mw: 0.003, profile: "file:sun.csv"}
  - {id: battery, kind: battery, at: {buses: [LV 1]}, p_mw: 0.050, e_mwh: 0.10, soc: 0.5, efficiency: 0.9}
  - {id: other, kind: battery, at: {buses: [LV 4]}, p_mw: 0.010, e_mwh: 0.02, soc: 0.5}
islands:
  - {forming: battery, v_ref_pu: 1.01, forming_droop: 0.02}
"""
BATTERY = 4
ENDS = "  - {forming: battery, v_ref_pu: 1.01, forming_droop: 0.02}"


def street() -> Any:
    """20 kV, a transformer, five buses in a row; the last one behind an open switch."""
    net = pp.create_empty_network("street", sn_mva=1.0)
    with quiet():
        mv = pp.create_bus(net, 20.0, name="MV")
        pp.create_ext_grid(net, mv, vm_pu=1.02)
        lv = [pp.create_bus(net, 0.4, name=f"LV {i}") for i in range(1, 6)]
        pp.create_transformer(net, mv, lv[0], "0.25 MVA 20/0.4 kV")
        for a, b in pairwise(lv[:-1]):
            pp.create_line_from_parameters(
                net, a, b, length_km=0.2, r_ohm_per_km=0.3, x_ohm_per_km=0.08, c_nf_per_km=210, max_i_ka=0.2
            )
        pp.create_switch(net, lv[3], lv[4], et="b", closed=False)
    return net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The street's network, a profile, and room for scenarios."""
    path = tmp_path_factory.mktemp("street")
    pp.to_json(street(), str(path / "street.json"))
    (path / "sun.csv").write_text("factor\n" + "\n".join(f"{max(0, 12 - abs(h - 12)) / 12}" for h in range(24)))
    (path / "noon.csv").write_text("factor\n" + "1.0\n" * 24)
    return path


def system(folder: Path, text: str = TEXT, overrides: Sequence[str] = ()) -> System:
    """A scenario, built."""
    path = folder / "case.yaml"
    path.write_text(text)
    built = build(load(path, overrides))
    built.desk.close()
    return built


def go(built: System, steps: int, ask: Any = None) -> list[tuple[GridResult, Offer, np.ndarray]]:
    """Steps without controllers: the truth, the offers and the frequency that is seen."""
    out = []
    for k in range(steps):
        truth, offer = built.plant.advance()
        out.append((truth, offer, built.plant.read(k).telemetry.f_hz.copy()))
        asked = Asked.nothing(built.plant.fleet.n)
        if ask is not None:
            ask(k, asked.setpoints)
        built.plant.write(k, asked)
    return out


def events(run: list[tuple[GridResult, Offer, np.ndarray]]) -> list[Event]:
    """All events of a run."""
    return [event for truth, _, _ in run for event in truth.events]


def test_the_forming_battery_feeds_what_the_others_leave(folder: Path) -> None:
    built = system(folder)
    for truth, _, _ in go(built, 30):
        p = truth.solved.delivered.p_mw
        assert truth.exchange_mva == 0.0
        assert p[BATTERY] == pytest.approx(-np.delete(p, BATTERY).sum() + truth.losses_mw, abs=1e-9)
        assert p[BATTERY] > 0.018
        assert truth.vm_pu[1] == pytest.approx(1.01, abs=1e-12)
        assert np.isnan(truth.vm_pu[5])  # nothing forms what is behind the switch


def test_the_island_is_what_pandapower_solves(folder: Path) -> None:
    """Voltages and the slack's power of a network that was told of the forming bus by hand."""
    built = system(folder)
    truth = go(built, 3)[-1][0]
    net = street()
    net.ext_grid.in_service = False
    slack = pp.create_ext_grid(net, 1, vm_pu=1.01)
    d = truth.solved.delivered
    for i, bus in enumerate(built.plan.bus):
        if i != BATTERY:
            pp.create_sgen(net, int(bus), p_mw=d.p_mw[i], q_mvar=d.q_mvar[i])
    with quiet():
        pp.runpp(net, tolerance_mva=1e-10)
    np.testing.assert_allclose(truth.vm_pu[:5], net.res_bus.vm_pu[:5], atol=1e-7)
    found = net.res_ext_grid.loc[slack]
    assert (d.p_mw[BATTERY], d.q_mvar[BATTERY]) == pytest.approx((found.p_mw, found.q_mvar), abs=1e-7)


def test_its_charge_follows_what_the_network_took(folder: Path) -> None:
    run = go(system(folder), 30)
    soc = np.array([offer.soc[BATTERY] for _, offer, _ in run])
    p = np.array([truth.solved.delivered.p_mw[BATTERY] for truth, _, _ in run])
    np.testing.assert_allclose(np.diff(soc), -p[:-1] / 0.9 / 60.0 / 0.10, atol=1e-12)


def test_its_droop_shows_in_the_frequency(folder: Path) -> None:
    """f = f_ref - droop · f_nom · P / P_rated, once at rest; the reference may be another than nominal."""
    for override, reference in ((), 50.0), (("islands.0.f_ref_hz=50.2",), 50.2):
        truth = go(system(folder, overrides=override), 3)[-1][0]
        assert truth.f_hz == pytest.approx(reference - 0.02 * 50.0 * truth.solved.delivered.p_mw[BATTERY] / 0.05, abs=1e-6)
    back = go(system(folder, overrides=("islands.0.secondary_s=20",)), 20)[-1][0]
    assert back.f_hz == pytest.approx(50.0, abs=1e-4)


def test_it_is_read_back_as_forming_and_nobody_can_move_it(folder: Path) -> None:
    built = system(folder, overrides=("islands.0.f_ref_hz=50.1",))

    def ask(k: int, setpoints: Any) -> None:
        setpoints.mode, setpoints.p_mw, setpoints.connect = 1.0, -0.03, 0.0

    run = go(built, 3, ask)
    assert run[-1][0].solved.delivered.p_mw[BATTERY] > 0.0
    held = built.plant.read(3).applied
    assert (held.mode[BATTERY], held.v_ref_pu[BATTERY], held.f_ref_hz[BATTERY]) == (FORMING, 1.01, 50.1)
    assert held.mode[BATTERY + 1] == 1.0
    assert built.plan.control[BATTERY] == 0
    assert built.plan.control[BATTERY + 1] != 0


def test_too_much_load_is_shed_in_the_step_in_which_it_comes(folder: Path) -> None:
    text = TEXT.replace("p_mw: 0.050, e_mwh", "p_mw: 0.025, e_mwh")
    shed = "islands.0.ufls=[{f_hz: 49.0, share: 0.5}, {f_hz: 48.5, share: 0.5}]"
    built = system(folder, text, (shed, "fleet.house.p_mw=0.02", "islands.0.inertia_s=5"))
    run = go(built, 5)
    found = events(run)
    assert {event.kind for event in found} == {"shedding"}
    assert found[0].time_ns == built.plant.time_ns[0]
    for truth, offer, _ in run:
        assert truth.solved.delivered.p_mw[BATTERY] <= offer.p_avail_max_mw[BATTERY]
        assert 47.5 < truth.f_hz < 50.0
    off = run[0][0].solved.delivered.p_mw[:2] == 0.0
    assert off.any()
    assert not off.all()


def test_without_shedding_an_overload_ends_in_the_dark(folder: Path) -> None:
    """The frequency collapses; then there is no power, no voltage and 0 Hz, for ever, and it was said."""
    text = TEXT.replace("p_mw: 0.050, e_mwh", "p_mw: 0.020, e_mwh")

    def charge(k: int, setpoints: Any) -> None:
        if k >= 4:
            setpoints.mode[BATTERY + 1], setpoints.p_mw[BATTERY + 1] = 1.0, -0.01

    built = system(folder, text, ("fleet.house.p_mw=0.0085",))
    run = go(built, 10, charge)
    assert all(truth.f_hz > 48.0 for truth, _, _ in run[:5])
    (end,) = events(run)
    assert (end.kind, end.time_ns) == ("blackout", built.plant.time_ns[5])
    for truth, offer, seen in run[5:]:
        d = truth.solved.delivered
        live = built.network.node_of_bus[built.plan.bus] >= 0
        assert (d.block[:, live] == 0.0).all()
        assert (truth.vm_pu[:5] == 0.0).all()
        assert (truth.losses_mw, truth.exchange_mva, truth.f_hz) == (0.0, 0.0, 0.0)
        assert (seen[live] == 0.0).all()
        assert offer.soc[BATTERY] == run[5][1].soc[BATTERY]


def test_a_reactive_overload_is_said_too(folder: Path) -> None:
    """Losses, cables and reactive power do not show in the balance that the frequency answers to: they are watched."""
    text = TEXT.replace("p_mw: 0.050, e_mwh", "p_mw: 0.026, s_mva: 0.026, e_mwh")
    text = text.replace("power_factor: 0.95", "power_factor: 0.7")
    run = go(system(folder, text), 5)
    found = events(run)
    assert [event.kind for event in found] == ["overload"]
    d = run[0][0].solved.delivered
    assert found[0].value == pytest.approx(abs(d.p_mw[BATTERY] + 1j * d.q_mvar[BATTERY]) - 0.026, rel=1e-9)
    assert found[0].subject == "battery-1"


def test_an_empty_battery_carries_nobody(folder: Path) -> None:
    run = go(system(folder, overrides=("fleet.battery.soc=0.15", "time.steps=120")), 60)
    assert [event.kind for event in events(run)] == ["blackout"]
    assert 0.05 < run[-1][1].soc[BATTERY] < 0.10


def test_a_full_battery_lets_the_frequency_rise_until_pv_gives_way(folder: Path) -> None:
    text = TEXT.replace('p_mw: 0.003, profile: "file:sun.csv"', 'p_mw: 0.040, profile: "file:noon.csv"').replace(
        ENDS, ENDS.replace("}", ", droop: [{resources: pv, droop: 0.01, deadband_hz: 1.0, response_s: 1}], high_hz: 52}")
    )
    run = go(system(folder, text, ("fleet.battery.soc=0.94",)), 60)
    assert events(run) == []
    truth, offer, _ = run[-1]
    d = truth.solved.delivered
    assert offer.soc[BATTERY] == pytest.approx(0.95, abs=1e-3)
    assert abs(d.p_mw[BATTERY]) < 5e-4
    assert d.p_mw[3] == pytest.approx(-d.p_mw[:3].sum() + truth.losses_mw, abs=5e-4)
    assert d.p_mw[3] == pytest.approx(0.040 - (truth.f_hz - 51.0) * 0.040 / (0.01 * 50.0), abs=1e-6)


def test_an_island_beside_the_public_grid_is_one_of_its_own(folder: Path) -> None:
    """A forming battery behind the open switch: two islands, two frequencies, and neither knows of the other."""
    text = TEXT.replace("id: other, kind: battery, at: {buses: [LV 4]}", "id: other, kind: battery, at: {buses: [LV 5]}")
    text = text.replace("forming: battery, v_ref_pu: 1.01", "forming: other, v_ref_pu: 0.99")
    text += "frequency: {profile: [[0, 50.0], [600, 49.9]]}\n"
    built = system(folder, text)
    run = go(built, 8)
    for k, (truth, _, seen) in enumerate(run):
        p = truth.solved.delivered.p_mw
        assert truth.f_hz == pytest.approx(50.0 - 0.01 * k)
        assert p[5] == pytest.approx(0.004, abs=1e-9)
        assert seen[[2, 5]] == pytest.approx(50.0 - 0.02 * 50.0 * 0.4, abs=1e-6)
        assert (seen[[0, 1, 3, 4]] == truth.f_hz).all()
        assert truth.vm_pu[5] == pytest.approx(0.99)
        assert truth.exchange_mva.real == pytest.approx(p[[0, 1, 3, 4]].sum() - truth.losses_mw, abs=1e-9)
    louder = go(system(folder, text, ("fleet.far.p_mw=0.002",)), 8)
    for (a, _, _), (b, _, _) in zip(run, louder):
        assert np.array_equal(a.vm_pu[:5], b.vm_pu[:5])
        assert a.f_hz == b.f_hz
        assert a.exchange_mva == b.exchange_mva


def test_restored_it_goes_on_with_the_same_bytes(folder: Path) -> None:
    whole, fresh = system(folder), system(folder)
    go(whole, 7)
    fresh.plant.restore(whole.plant.state())
    for a, b in zip(go(whole, 9), go(fresh, 9)):
        assert a[0].solved.delivered.block.tobytes() == b[0].solved.delivered.block.tobytes()
        assert (a[0].f_hz, a[0].nadir_hz, a[0].rocof_hz_per_s) == (b[0].f_hz, b[0].nadir_hz, b[0].rocof_hz_per_s)
        assert a[1].soc.tobytes() == b[1].soc.tobytes()


@cache
def stored(out: Path, name: str, wiring: str, overrides: tuple[str, ...]) -> tuple[str, dict[str, str], dict[str, int]]:
    """A shipped scenario, run: hash of decisions, digest of every stored file, events."""
    result = load(name, overrides).run(out=out / wiring, wiring=wiring)  # type: ignore[arg-type]
    return result.decision_hash, chunks(result), result.manifest["events_by_kind"]


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("island-village", ("time.days=null", "time.steps=60", "time.start=2016-06-21T11:00", "fleet.village-battery.soc=0.93")),
        ("frequency-event", ("time.steps=90", "frequency.droop=[]", "frequency.events.0.p_mw=12")),
    ],
)
def test_every_wiring_gives_the_same_bytes(name: str, overrides: tuple[str, ...], tmp_path: Path) -> None:
    direct, *others = (stored(tmp_path, name, wiring, overrides) for wiring in ("direct", "mosaik", "far"))
    assert all(other == direct for other in others)
    assert direct[2] == ({"shedding": direct[2]["shedding"]} if name == "frequency-event" else {})
    moved = stored(tmp_path / "moved", name, "direct", (*overrides, "seed=77"))
    assert moved[1] != direct[1]
