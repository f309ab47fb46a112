"""Units by themselves: what is no unit for us, how one is stepped, and what it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.twin.units.build import HERE, build_boiler, build_store, pack
from twin.fmi.describe import Description, describe
from twin.fmi.lane import Lane, communication_steps
from twin.fmi.unit import Unit, UnitFailed, unpack
from twin.fmi.wiring import ASKED, Tie, Wiring, mistakes
from vpp.kernel.errors import DeviceError

XML = (HERE / "boiler.xml").read_text()


@pytest.fixture(scope="module")
def boiler(tmp_path_factory: pytest.TempPathFactory) -> Description:
    """The boiler of FMI 3.0."""
    return describe(build_boiler(tmp_path_factory.mktemp("boiler")))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Description:
    """The store of FMI 2.0."""
    return describe(build_store(tmp_path_factory.mktemp("store")))


def refused(path: Path) -> str:
    """Why a file cannot be used."""
    with pytest.raises(ValueError, match=path.name) as error:
        describe(path)
    return str(error.value)


def test_what_is_no_unit_for_us(tmp_path: Path, boiler: Description) -> None:
    path = tmp_path / "x.fmu"
    assert "cannot be read" in refused(path)
    path.write_text("no archive")
    assert refused(path) == "x.fmu is no FMU: it is not a ZIP file"
    pack(path, "", {})
    assert "modelDescription.xml is not right" in refused(path)
    pack(path, XML, {})
    assert "has no binary for x86_64-linux, this machine (it has: none at all)" in refused(path)
    pack(
        path, XML, {"binaries/x86_64-windows/boiler.dll": HERE / "boiler.c", "binaries/x86_64-linux/other.so": HERE / "boiler.c"}
    )
    assert "(it has: x86_64-linux, x86_64-windows)" in refused(path)
    pack(path, XML, {"sources/boiler.c": HERE / "boiler.c"})
    assert "source code only" in refused(path)
    pack(path, XML.replace("<CoSimulation", "<ModelExchange").replace('canHandleVariableCommunicationStepSize="true"', ""), {})
    assert "is for model exchange only" in refused(path)
    pack(path, XML.replace('kg="1"', 'kg="one"'), {})
    assert "is not right" in refused(path)
    one = '<fmiModelDescription fmiVersion="1.0" modelName="x" modelIdentifier="x" guid="x" numberOfContinuousStates="0"'
    pack(path, f'{one} numberOfEventIndicators="0"></fmiModelDescription>', {})
    assert "is FMI 1.0; units of FMI 2.0 and 3.0 can be run" in refused(path)


def test_a_library_that_is_none(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.fmu", XML, {"binaries/x86_64-linux/boiler.so": HERE / "boiler.c"})
    description = describe(path)
    with pytest.raises(DeviceError, match=r"house: x\.fmu cannot be instantiated: Failed to load shared library"):
        Unit(description, unpack(description, _folder(tmp_path)), "house")


def _folder(path: Path) -> Path:
    folder = path / "unpacked"
    folder.mkdir()
    return folder


def test_what_a_file_says_of_itself(boiler: Description, store: Description) -> None:
    assert (boiler.version, store.version) == ("3.0", "2.0")
    assert boiler.keeps_state
    assert store.keeps_state
    assert not store.only_once
    assert boiler.variables["p"].measure == ((1, 2, -3, 0, 0, 0, 0), 1.0)
    assert boiler.variables["e_max"].measure == ((1, 2, -2, 0, 0, 0, 0), 3.6e6)
    assert boiler.variables["legs"].accessor == "Int32"
    assert boiler.variables["shares"].array
    with pytest.raises(ValueError, match=r"boiler\.fmu has no variable 'charg', did you mean 'charge'\?"):
        boiler.variable("charg")


def lane(description: Description, folder: Path, inputs: Any, outputs: Any, step_s: float = 0.0, **start: Any) -> Lane:
    """A unit with its ties: inputs (variable, ours, scale), outputs (ours, variable, scale)."""
    wiring = Wiring(
        f"file:{description.path}",
        tuple(start.items()),
        tuple(Tie(variable, ours, scale, 0.0) for variable, ours, scale in inputs),
        tuple(Tie(variable, ours, scale, 0.0) for ours, variable, scale in outputs),
        step_s,
    )
    assert list(mistakes(wiring, description)) == []
    return Lane("one", wiring, description, unpack(description, folder), {"file:x": 1})


def asked(**values: float) -> Any:
    """What is told, NaN but for these."""
    return np.array([values.get(name, np.nan) for name in ASKED])


def test_communication_steps_and_means(store: Description, tmp_path: Path) -> None:
    """5 kW for 600 s fill the store; the power told is the mean over the communication steps, the charge the last one."""
    outputs = [("p_mw", "p_kw", -0.001), ("soc", "soc", 1.0), ("e_need_mwh", "steps", 1.0)]
    one = lane(store, _folder(tmp_path), [("p_set_kw", "p_mw", -1000.0)], outputs, 250.0, capacity_kwh=1.25)
    held = np.full(1, np.nan)
    assert one.begin(held) == 0.5
    assert held[0] == 0.0
    told = one.step(0.0, 900.0, asked(p_mw=-0.005), np.zeros(0), held)
    steps = [min(5.0, max(0.0, 10.0 - 5.0 * k)) for k in range(4)]  # kW in each quarter of the step: 0.3125 kWh fit in each
    assert told["e_need_mwh"] == communication_steps(250.0, 900.0) == 4
    assert told["p_mw"] == pytest.approx(-0.001 * sum(steps) / 4, rel=1e-12)
    assert told["soc"] == 1.0
    one.unit.close()
    one.unit.close()


def test_what_is_not_known_is_not_told(store: Description, tmp_path: Path) -> None:
    """First the start value holds, then the last one that was known."""
    outputs = [("p_mw", "p_kw", 1.0), ("q_mvar", "q_kvar", 1.0)]
    ties = [("p_set_kw", "p_mw", 1.0), ("u_pu", "vm_pu", 1.0), ("f_hz", "f_hz", 1.0)]
    one = lane(store, _folder(tmp_path), ties, outputs, capacity_kwh=1e6)
    held = np.full(3, np.nan)
    one.begin(held)
    assert held.tolist() == [0.0, 1.0, 50.0]
    none = np.zeros(0)
    assert one.step(0.0, 60.0, asked(p_mw=2.0), none, held)["p_mw"] == 2.0
    assert one.step(60.0, 60.0, asked(p_mw=2.0, vm_pu=0.9, f_hz=50.5), none, held)["p_mw"] == 1.8
    assert one.step(120.0, 60.0, asked(p_mw=3.0), none, held) == {"p_mw": pytest.approx(2.7), "q_mvar": pytest.approx(0.77)}
    one.unit.close()


def test_profiles_and_truth_values(boiler: Description, tmp_path: Path) -> None:
    """An input that follows a source, and one that is on or off."""
    outputs = [("p_mw", "p", -1e-6), ("soc", "charge", 0.01)]
    ties = [("p_set", "file:x", 4.0), ("enable", "connect", 1.0)]
    one = lane(boiler, _folder(tmp_path), ties, outputs, legs=3)
    held = np.full(2, np.nan)
    one.begin(held)
    assert held.tolist() == [0.0, 1.0]
    profile = np.array([7.0, 1.0], np.float32)
    assert one.step(0.0, 900.0, asked(connect=1.0), profile, held)["p_mw"] == -0.004  # two of three legs of 2 kW
    assert one.step(900.0, 900.0, asked(connect=0.0), profile, held)["p_mw"] == 0.0
    one.unit.close()


def test_a_unit_that_fails_tells_why(boiler: Description, tmp_path: Path) -> None:
    one = lane(boiler, _folder(tmp_path), [], [("p_mw", "p", 1e-6)], fail_at=900.0)
    none = np.zeros(0)
    one.begin(none)
    one.step(0.0, 900.0, asked(), none, none)
    with pytest.raises(UnitFailed, match="the heating element is broken"):
        one.step(900.0, 900.0, asked(), none, none)
    one.unit.close(orderly=False)


def test_a_power_that_is_no_number(store: Description, tmp_path: Path) -> None:
    one = lane(store, _folder(tmp_path), [], [("p_mw", "p_kw", 1.0)], help_kw=float("nan"))
    none = np.zeros(0)
    one.begin(none)
    with pytest.raises(UnitFailed, match="no number"):
        one.step(0.0, 900.0, asked(), none, none)
    one.unit.close(orderly=False)


def test_state_as_bytes(store: Description, boiler: Description, tmp_path: Path) -> None:
    """The state of one instance goes into another, for both versions."""
    for number, (description, power) in enumerate(((store, "p_kw"), (boiler, "p"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        where = unpack(description, folder)
        units = [Unit(description, where, f"unit {k}") for k in range(2)]
        real = "Real" if description is store else "Float64"
        setting = description.variables["p_set_kw" if description is store else "p_set"].ref
        read = {real: [description.variables[power].ref]}
        for unit in units:
            unit.begin({}, [])
        units[0].step(0.0, 900.0, {real: ([setting], [4.0])})
        assert units[0].read(read) != units[1].read(read)
        units[1].restore(units[0].state())
        assert units[0].read(read) == units[1].read(read)
        assert units[0].state() == units[1].state()
        for unit in units:
            unit.close()
