"""The codec between processes, the frequency profile, and mosaik's description of our simulators."""

from __future__ import annotations

import json
from typing import Any

import mosaik_api_v3
import numpy as np
import pytest

from tests.twin.small import plant, village
from twin.cosim.codec import pack, unpack
from twin.cosim.control_sim import ControlSim, FarPlant
from twin.cosim.fleet_sim import FleetSim
from twin.cosim.grid_sim import GridSim
from twin.cosim.record_sim import RecordSim
from twin.frequency import FrequencyProfile
from vpp.kernel.setpoints import Asked
from vpp.kernel.signals import canonical

SIMULATORS = (FleetSim, GridSim, ControlSim, RecordSim)


def odd_numbers() -> np.ndarray[Any, Any]:
    """Every kind of float64, other NaNs than numpy's among them."""
    bits = np.array(
        [0, 1 << 63, 1, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, 0xFFF8 << 48, 0x7FF0_0000_0000_0001, 0x3FF << 52], np.uint64
    )
    return np.concatenate([bits.view(np.float64), np.random.default_rng(1).normal(size=15)]).reshape(4, 6)


@pytest.mark.parametrize(
    "block",
    [
        odd_numbers(),
        odd_numbers()[:, ::2],
        odd_numbers().T,
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.array([2**62 + 1, -1]),
        np.array([True, False]),
        np.zeros((0, 3)),
        np.zeros((3, 0), np.float32),
    ],
)
def test_codec_keeps_every_bit_through_json(block: np.ndarray[Any, Any]) -> None:
    back = unpack(json.loads(json.dumps(pack(block))))
    assert back is not None
    assert (back.dtype, back.shape) == (block.dtype, block.shape)
    assert back.tobytes() == np.ascontiguousarray(block).tobytes()


def test_codec_passes_through_what_never_left_the_process() -> None:
    block = odd_numbers()
    assert unpack(block) is block
    assert pack(None) is None
    for nothing in (None, False, 0, "text"):
        assert unpack(nothing) is None


def test_canonical_bytes_survive_the_codec() -> None:
    """One zero and one NaN go in, and come out."""
    with np.errstate(invalid="ignore"):  # one of them is a signalling NaN
        block = canonical(odd_numbers())
    back = unpack(json.loads(json.dumps(pack(block))))
    assert back is not None
    nan = np.full(1, np.nan).tobytes()
    assert {x.tobytes() for x in back.ravel() if np.isnan(x)} == {nan}
    assert {x.tobytes() for x in back.ravel() if x == 0.0} == {np.zeros(1).tobytes()}
    assert back.tobytes() == block.tobytes() != odd_numbers().tobytes()


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_meta_names_one_entity_and_whole_sheets(simulator: type[Any]) -> None:
    sim = simulator()
    assert isinstance(sim, mosaik_api_v3.Simulator)
    (model,) = sim.meta["models"].values()
    assert set(model["attrs"]) == {*sim.inputs, *sim.outputs}
    assert sim.create(1, sim.model) == [{"eid": sim.model, "type": sim.model}]
    with pytest.raises(ValueError, match="one entity for everything, not 2"):
        sim.create(2, sim.model)


def test_sheets_connect() -> None:
    """Every input of one is an output of another; nothing that is sent is for nobody."""
    outputs = [name for sim in SIMULATORS for name in sim.outputs]
    inputs = {name for sim in SIMULATORS for name in sim.inputs}
    assert len(set(outputs)) == len(outputs)
    assert inputs == set(outputs)


@pytest.mark.parametrize("far", [False, True])
def test_fleet_and_grid_as_simulators_step_like_the_twin(far: bool) -> None:
    """Through the simulators' own interface, packed or not, the same bytes as the stepper."""
    twin, parts = plant(village(), 5), plant(village(), 5)
    fleet, grid = FleetSim(), GridSim()
    fleet.init("f", 900.0, devices=parts.devices, packed=far)
    grid.init("g", 900.0, grid=parts.grid, time_ns=parts.time_ns, far=far)
    inputs: dict[str, Any] = {"asked": {"c": False}, "delivered": {"g": False}, "frequency": {"g": False}}
    for k in range(5):
        truth, offer = twin.advance()
        assert fleet.step(k, {"Fleet": inputs}, 10) == k + 1
        sent = fleet.get_data({"Fleet": ["offer", "applied"]})["Fleet"]
        sent = json.loads(json.dumps(sent)) if far else sent
        assert unpack(sent["offer"]).tobytes() == offer.block.tobytes()
        grid.step(k, {"Grid": {name: {"f": value} for name, value in sent.items()}}, 10)
        result = grid.get_data({"Grid": ["delivered", "frequency", "truth", "image"]})["Grid"]
        delivered = json.loads(json.dumps(result["delivered"])) if far else result["delivered"]
        assert unpack(delivered).tobytes() == truth.solved.delivered.block.tobytes()
        assert result["truth"][0].exchange_mva == truth.exchange_mva
        assert result["image"].telemetry.block.tobytes() == twin.read(0).telemetry.block.tobytes()
        inputs = {"asked": {"c": False}, "delivered": {"g": delivered}, "frequency": {"g": result["frequency"]}}


def test_far_plant_reads_what_arrived_and_sends_what_is_written() -> None:
    twin = plant(village(), 2)
    far = FarPlant(twin.fleet)
    with pytest.raises(RuntimeError, match="no image"):
        far.read(0)
    twin.advance()
    far.image = twin.read(0)
    assert far.read(0) is far.image
    asked = Asked.nothing(twin.fleet.n)
    far.write(0, asked)
    assert far.asked is asked


def test_frequency_is_linear_between_points_and_held_outside() -> None:
    profile = FrequencyProfile(np.array([10.0, 20.0, 20.5]), np.array([50.0, 49.0, 49.8]))
    assert [profile.at(t) for t in (-5.0, 10.0, 15.0, 20.0, 20.25, 20.5, 1e9)] == pytest.approx(
        [50, 50, 49.5, 49, 49.4, 49.8, 49.8]
    )
    assert FrequencyProfile.constant(60.0).at(123.0) == 60.0


def test_frequency_reaches_truth_and_meters() -> None:
    twin = plant(village(), 4)
    twin.grid.frequency = FrequencyProfile(np.array([0.0, 1800.0]), np.array([50.0, 49.8]))
    for expected in (50.0, 49.9, 49.8, 49.8):
        truth, _ = twin.advance()
        assert truth.f_hz == pytest.approx(expected)
        assert (twin.read(0).telemetry.f_hz == truth.f_hz).all()
