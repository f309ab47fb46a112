"""Functional mock-up units in a scenario: FMI 2.0 by pythonfmu, FMI 3.0 by a small C unit of our own."""

from __future__ import annotations

import gc
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios import load
from scenarios.build import System, build
from scenarios.site import site_of
from tests.scenarios.units import STREET, street
from vpp.kernel.errors import DeviceError, Finding, ScenarioError
from vpp.kernel.quality import INVALID
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import tick

STORE, BOILERS = 2, (3, 4)
HOURS = 0.25


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The street with its units, built once."""
    path = tmp_path_factory.mktemp("street")
    street(path)
    return path


def system(folder: Path, text: str = STREET, name: str = "street.yaml") -> System:
    """The street, or a variant of it, built."""
    return build(load(street(folder, text, name)))


def steps(one: System, count: int, last: Asked | None = None) -> list[tuple[Any, Any, Any]]:
    """Run some steps: truth, offer and telemetry of each; the desk's orders come by time."""
    found = []
    last = Asked.nothing(one.plant.fleet.n) if last is None else last
    for _ in range(count):
        truth, offer = one.plant.advance()
        now_ns = int(one.plant.time_ns[one.plant.k])
        last = tick(now_ns, one.plant, one.desk, one.chain, last).decision.asked
        found.append((truth, offer, one.plant.read(now_ns)))
    return found


def test_every_wiring_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    scenario = load(street(folder))
    assert site_of(scenario).warnings == []
    seen = set()
    for wiring in ("direct", "mosaik", "far"):
        result = scenario.run(out=tmp_path / wiring, wiring=wiring)
        assert result.diverged_steps == 0
        tree = result.open()
        values = [tree[f"resources/{name}"].values.tobytes() for name in ("delivered_p_mw", "delivered_q_mvar", "soc", "quality")]
        seen.add((result.decision_hash, *values))
    assert len(seen) == 1


def test_the_books_close(folder: Path) -> None:
    """Exchange, losses and devices; each store's charge follows from its power."""
    one = system(folder)
    run = steps(one, 24)
    exchange = np.array([truth.exchange_mva.real for truth, _, _ in run])
    losses = np.array([truth.losses_mw for truth, _, _ in run])
    p = np.array([truth.solved.delivered.p_mw for truth, _, _ in run])
    assert np.abs(p.sum(axis=1) - losses - exchange).max() < 1e-6 * np.abs(exchange).max()
    soc = np.array([offer.soc for _, offer, _ in run])
    gained = np.diff(soc, axis=0)
    assert np.allclose(gained[:, STORE], -p[:-1, STORE] * HOURS / 0.01, rtol=1e-9, atol=1e-12)
    factor = np.array([one.plant.devices.spec.profiles.at(k)[0] for k in range(24)])
    drawn = factor[:, None] * 0.002
    assert len(set(factor.tolist())) == 4
    assert np.allclose(gained[:, BOILERS], (-p[:, BOILERS] - drawn)[:-1] * HOURS / 0.008, rtol=1e-6, atol=1e-8)
    assert np.ptp(soc[:, STORE]) > 0.5
    assert (p[:, BOILERS] == -0.003).any()


def test_a_unit_is_told_voltage_and_frequency_of_the_step_before(folder: Path) -> None:
    """The store draws what is asked times its voltage, and its reactive power shows the frequency that it was told."""
    run = steps(system(folder), 24)
    for k in (3, 4, 5, 13, 14, 15):
        (before, _, _), (_, offer, image) = run[k - 1], run[k]
        asked = image.applied.p_mw[STORE]
        assert abs(asked) in (0.005, 0.004)
        expected = asked * before.solved.delivered.vm_pu[STORE]
        assert offer.p_mw[STORE] == pytest.approx(expected, rel=1e-12)
        assert offer.q_mvar[STORE] == pytest.approx(0.1 * expected - 0.001 * (before.f_hz - 50.0), rel=1e-9)
        assert before.solved.delivered.vm_pu[STORE] != 1.0


def test_a_failed_unit_is_out_and_the_run_goes_on(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """NaN and invalid for whoever looks, nothing on the network, one event, and all others as before."""
    text = STREET.replace("capacity_kwh: 10.0", "capacity_kwh: 10.0, fail_at_s: 9000").replace("label: kitchen", "end_at: 14400")
    with caplog.at_level(logging.ERROR):
        one = system(folder, text, "failing.yaml")
        run = steps(one, 24)
    assert "the contactor is welded" in caplog.text
    assert "wants to end" in caplog.text
    for k, (truth, offer, image) in enumerate(run):
        broken = [i for i, at in ((STORE, 10), *((b, 16) for b in BOILERS)) if k >= at]
        whole = [i for i in range(5) if i not in broken]
        assert np.isnan(offer.p_mw[broken]).all()
        assert np.isnan(image.telemetry.block[:2, broken]).all()
        assert (image.telemetry.quality[:, broken] == INVALID).all()
        assert (truth.solved.delivered.p_mw[broken] == 0.0).all()
        assert np.isfinite(offer.p_mw[whole]).all()
        assert (image.telemetry.quality[:, whole] == 0).all()
        exchange = truth.exchange_mva.real
        assert abs(truth.solved.delivered.p_mw.sum() - truth.losses_mw - exchange) < 1e-6 * abs(exchange)
    events = []
    for wiring in ("direct", "far"):
        result = load(folder / "failing.yaml").run(out=tmp_path / wiring, wiring=wiring)
        assert result.diverged_steps == 0
        assert result.manifest["events_by_kind"]["failed"] == 3
        assert np.isfinite(result.manifest["summary"]["energy_consumed_mwh"])
        events.append(result.decision_hash)
    assert len(set(events)) == 1


@pytest.mark.parametrize("at", [7, 20])
def test_restored_units_go_on_with_the_same_bytes(folder: Path, at: int) -> None:
    """Before and after a unit has failed, into fresh objects and into one that has gone on."""
    text = STREET.replace("capacity_kwh: 10.0", "capacity_kwh: 10.0, fail_at_s: 9000")
    one, other = system(folder, text), system(folder, text)
    steps(one, at)
    state = one.plant.state()
    rest = _bytes(one, 24 - at)
    other.plant.restore(state)
    assert _bytes(other, 24 - at) == rest
    one.plant.restore(state)
    assert _bytes(one, 24 - at) == rest
    assert len(set(rest)) == len(rest)


def _bytes(one: System, count: int) -> list[bytes]:
    """Bytes of some steps in which nothing more is asked than what is asked already."""
    found = []
    for _ in range(count):
        truth, offer = one.plant.advance()
        found.append(truth.solved.delivered.block.tobytes() + offer.block.tobytes())
    return found


def test_a_unit_without_a_state_says_so(folder: Path, tmp_path: Path) -> None:
    from tests.twin.units.build import build_store

    street(folder)
    build_store(tmp_path, keeps_state=False)
    one = system(folder, STREET.replace("file:Store.fmu", f"file:{tmp_path / 'Store.fmu'}"), "stateless.yaml")
    steps(one, 2)
    with pytest.raises(DeviceError, match=r"store-1: Store.fmu cannot give its state away: this run cannot be restored"):
        one.plant.state()


def test_start_values_that_a_unit_refuses_end_the_build(folder: Path) -> None:
    text = STREET.replace("legs: 2", "legs: 2, e_max: -1")
    with pytest.raises(DeviceError, match=r"boiler-1: boiler.fmu cannot be initialised: .*a boiler without water"):
        system(folder, text, "dry.yaml")


def test_nothing_is_left_behind(folder: Path) -> None:
    root = Path(tempfile.gettempdir())
    before = set(root.glob("vpp-fmu-*"))
    one = system(folder)
    steps(one, 1)
    made = set(root.glob("vpp-fmu-*")) - before
    assert len(made) == 1
    del one
    gc.collect()
    assert not any(path.exists() for path in made)


def test_a_unit_for_one_instance(folder: Path, tmp_path: Path) -> None:
    """One is run; two are refused where the scenario says so, and where the network says so."""
    from tests.twin.units.build import build_store

    build_store(tmp_path, only_once=True)
    text = STREET.replace("file:Store.fmu", f"file:{tmp_path / 'Store.fmu'}")
    steps(system(folder, text, "once.yaml"), 2)
    twice = text.replace("at: {buses: [LV 2]}", "at: {buses: [LV 2, LV 3]}")
    assert "only once in a process" in found(folder, twice)[0].message
    everywhere = text.replace("at: {buses: [LV 2]}", "at: lv_buses")
    assert "only once in a process, not 4 times" in found(folder, everywhere)[0].message


def found(folder: Path, text: str) -> tuple[Finding, ...]:
    """What is wrong with a scenario."""
    with pytest.raises(ScenarioError) as error:
        site_of(load(street(folder, text, "wrong.yaml")))
    return error.value.findings


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("variable: p_kw,", "variable: p_kW_,", "Store.fmu has no variable 'p_kW_', did you mean 'p_kw'?"),
        ("p_set_kw: {of", "pset_kw: {of", "Store.fmu has no variable 'pset_kw', did you mean 'p_set_kw'?"),
        ("{capacity_kwh: 10.0}", "{capacity: 10.0}", "Store.fmu has no variable 'capacity', did you mean 'capacity_kwh'?"),
        ("u_pu: vm_pu", "soc: vm_pu", "soc is an output of the unit, not an input"),
        ("      soc: soc\n", "      soc: p_set_kw\n", "p_set_kw is an input of the unit, not an output"),
        ("{capacity_kwh: 10.0}", "{soc: 0.2}", "soc is an output: only parameters and inputs take a start value"),
        ("legs: 2", "legs: 2.5", "legs is of type Int32, which 2.5 does not fit"),
        ("label: kitchen", "label: 7", "label is of type String, which 7 does not fit"),
        ("legs: 2", "legs: [2]", "must be a number, a truth value or a text"),
        ("variable: p, scale: -1.0e-6", "variable: p, scale: -0.001", "p is in W: the scale is 1e-06 (or -1e-06 for the other"),
        ("variable: p, scale: -1.0e-6", "variable: temperature", "temperature is in degC, which is no measure of p_mw"),
        ("variable: p, scale: -1.0e-6", "variable: charge", "charge is in %, which is no measure of p_mw"),
        ("variable: p, scale: -1.0e-6", "variable: shares", "shares is an array; only single numbers can be tied"),
        ("soc: {variable: charge, scale: 0.01}", "soc: charge", "charge is in %: the scale is 0.01"),
        ("enable: connect", "enable: conect", "did you mean 'connect'?"),
        ("enable: connect", 'enable: "profile:H0"', "no profile 'H0' is at hand"),
        ("file: file:Store.fmu", "file: file:store.fmu", "no file"),
        ("file: file:Store.fmu", "file: file:day.csv", "day.csv is no FMU: it is not a ZIP file"),
        ("    s_mva: 0.007\n", "", "s_mva is missing: without a nameplate no reactive power is asked of it"),
        ("      soc: soc\n", "", "a store (e_mwh) must tell its state of charge"),
        ("    p_mw: 0.006\n    s_mva", "    s_mva", "p_mw is missing"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(folder: Path, right: str, wrong: str, message: str) -> None:
    base = STREET.replace("      f_hz: f_hz\n", "      f_hz: f_hz\n      help_kw: q_mvar\n")
    assert right in base
    text = base.replace(right, wrong, 1)
    findings = [f for f in found(folder, text) if message in f.message]
    assert len(findings) == 1, found(folder, text)
    finding = findings[0]
    assert finding.file == str(folder / "wrong.yaml")
    if wrong and "missing" not in message:
        lines = text.splitlines()
        start = next(i for i, line in enumerate(lines, 1) if wrong.strip() in line)
        assert finding.line == start
    assert finding.line > 4


def test_weather_that_is_not_there(folder: Path) -> None:
    with pytest.raises(DeviceError, match="weather:temp_c: no such weather is at hand"):
        system(folder, STREET.replace('draw: {of: "file:day.csv", scale: 2.0}', "draw: weather:temp_c"), "weather.yaml")
