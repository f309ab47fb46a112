"""The energy books of whole runs, from what they recorded: nothing is lost between devices, network and meters."""

from __future__ import annotations

import numpy as np
import pytest

from scenarios import list_scenarios, load
from scenarios.build import RunResult
from vpp.grid import load_network

RECORD = "record=[asked, delivered, soc, voltage, telemetry]"
SHORTER = {"hil-inverter": ("time.days=null", "time.steps=900")}  # a day of seconds as it ships


@pytest.fixture(scope="module", params=[name for name, _ in list_scenarios()])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A shipped scenario, run."""
    scenario = load(request.param, (RECORD, *SHORTER.get(request.param, ())))
    result: RunResult = scenario.run(out=tmp_path_factory.mktemp("runs"), wiring="direct")
    return result


def test_exchange_is_delivery_less_losses(finished: RunResult) -> None:
    """Sum over the run, from the summary's unrounded sums: within 1e-6 of what flowed."""
    s = finished.manifest["summary"]
    assert finished.diverged_steps == 0
    network = load_network(finished.manifest["network"]["source"])
    assert not network.fixed_p_mw.any()
    flowed = s["energy_generated_mwh"] + s["energy_consumed_mwh"]
    net = s["energy_generated_mwh"] - s["energy_consumed_mwh"] - s["losses_mwh"]
    assert abs(s["energy_export_mwh"] - s["energy_import_mwh"] - net) < 1e-6 * flowed
    assert s["losses_mwh"] > 1e-4 * flowed


def test_every_step_balances(finished: RunResult) -> None:
    """Step by step from the recorded series, within their resolution and 1e-6 of what flows."""
    tree = finished.open()
    system, delivered = tree["system"], tree["resources/delivered_p_mw"].values
    exchange, losses = system["exchange_p_mw"].values, system["losses_mw"].values
    total, flows = system["delivered_p_mw"].values, np.abs(delivered).sum(axis=1)
    half = 0.5e-6  # the record rounds powers to 1 W
    assert (np.abs(total - losses - exchange) < 1e-6 * flows + 2.1 * half).all()
    assert (np.abs(total - delivered.sum(axis=1)) < (delivered.shape[1] + 1.1) * half).all()
    assert (losses > 0).all()


def test_limits_hold_at_the_terminals(finished: RunResult) -> None:
    """No resource ever delivers more than its rating or its nameplate."""
    resources = finished.open()["resources"]
    p, q = resources["delivered_p_mw"].values, resources["delivered_q_mvar"].values
    s, rated = resources["s_rated_mva"].values, resources["p_rated_mw"].values
    inverter = s > 0
    assert (np.hypot(p, q)[:, inverter] <= s[inverter] + 1.5e-6).all()
    assert (np.abs(p)[:, inverter] <= rated[inverter] + 1e-6).all()
    assert (p[:, resources["kind"].values == "pv"] >= 0).all()


def test_meters_err_as_stated(finished: RunResult) -> None:
    """What controllers saw less what was, of rating: the scenario's own sigma, and the stated share of messages lost."""
    scenario = finished.manifest["scenario"]
    resources, sensors = finished.open()["resources"], scenario["sensors"]
    if scenario["faults"] or scenario["communications"]["channels"]:
        assert finished.manifest["noticed"], "what is seen is more than a meter's error: see tests/golden/test_disturbed.py"
        return
    late = round(sensors["delay_s"] / finished.manifest["step_s"])
    p, seen = resources["delivered_p_mw"].values, resources["seen_p_mw"].values
    rating = np.maximum(resources["p_rated_mw"].values, resources["s_rated_mva"].values)
    large = rating > 1e-3
    error = (seen[late:] - p[: len(p) - late])[:, large] / rating[large]
    known = np.isfinite(error)
    rounded = 1e-6 / rating[large].min()  # the record's resolution, 1 W
    assert abs(np.std(error[known]) - sensors["p_error"]) < 0.05 * sensors["p_error"] + rounded
    share = sensors["loss"]
    assert abs((~known).mean() - share) <= 4 * np.sqrt(share * (1 - share) / known.size)
