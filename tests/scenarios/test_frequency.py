"""What is said of a frequency and of islands that cannot be meant so, with file and line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from scenarios import load
from scenarios.build import build
from scenarios.frequency import droops_of_settings
from scenarios.schema.frequency import UFLS
from scenarios.site import site_of
from vpp.kernel.errors import Finding, ScenarioError

TEXT = """\
# A test.
network: simbench:1-LV-rural1--0-sw
time: {start: 2016-06-21, zone: Europe/Berlin}
fleet:
  - {id: house, kind: load, at: loads}
  - {id: pv, kind: pv, at: sgens}
  - {id: battery, kind: battery, at: {buses: [LV1.101 Bus 4, LV1.101 Bus 5]}, p_mw: 0.05, e_mwh: 0.1}
  - {id: lone, kind: battery, at: {buses: [LV1.101 Bus 6]}, p_mw: 0.05, e_mwh: 0.1, volt_var: B}
  - {id: drawn, kind: battery, at: {sample: 1, of: loads}, p_mw: 0.05, e_mwh: 0.1}
"""
Write = Callable[..., Path]


def said(path: Path, overrides: Sequence[str] = ()) -> list[Finding]:
    """All findings of a scenario in its network."""
    try:
        return list(site_of(load(path, overrides)).warnings)
    except ScenarioError as error:
        return list(error.findings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frequency: {base_mva: 10}", "base_mva belongs to model: swing"),
        ("frequency: {events: [{at_s: 1, p_mw: 1}]}", "events belongs to model: swing"),
        ("frequency: {model: swing, profile: [[0, 50]]}", "a profile belongs to model: profile"),
        ("frequency: {model: swing, secondary_s: 60}", "no governor takes part in the secondary control"),
        ("frequency: {model: swing, governors: [{id: a, p_mw: 1}, {id: a, p_mw: 2}]}", "'a' is there already"),
        ("frequency: {model: swing, governors: [{id: a, p_mw: 1, droop: 0}]}", "greater than 0"),
        ("frequency: {model: swing, governors: [{id: a, p_mw: 1, droop: 5}]}", "droop is a fraction 0…1; did you mean 0.05?"),
        ("frequency: {model: swing, inertia_s: 0}", "inertia_s must be more than 0"),
        ("frequency: {model: swing, substep_s: 0.1}", "less than or equal to 0.05"),
        ("frequency: {model: swing, low_hz: 51}", "low_hz is not below the nominal 50 Hz"),
        ("frequency: {model: swing, high_hz: 49}", "high_hz is not above the nominal 50 Hz"),
        ("frequency: {model: swing, events: [{at_s: 5, p_mw: 1, until_s: 4}]}", "until_s is not after at_s (5)"),
        ("frequency: {model: swing, ufls: [{f_hz: 48, share: 0.1}, {f_hz: 49, share: 0.1}]}", "stages must descend"),
        ("frequency: {model: swing, ufls: [{f_hz: 49, share: 0.6}, {f_hz: 48, share: 0.6}]}", "more than all load"),
        ("frequency: {model: swing, ufls: [{f_hz: 47, share: 0.6}]}", "must lie between low_hz (47.5 Hz) and nominal"),
        (
            "frequency: {model: swing, nominal_hz: 60, ufls: [{f_hz: 49, share: 0.6}]}",
            "between low_hz (57 Hz) and nominal (60 Hz)",
        ),
        ("frequency: {model: swing, droop: [{resources: batery}]}", "'batery' matches no resource, did you mean 'battery'?"),
        ("frequency: {model: swing, droop: [{resources: battery}, {resources: battery-1}]}", "battery-1 has a droop already"),
        ("islands: [{forming: batery-1}]", "'batery-1' is no resource, did you mean 'battery-1'?"),
        ("islands: [{forming: battery}]", "'battery' is several resources; name one resource of them"),
        ("islands: [{forming: drawn}]", "drawn-1 must stand at a named bus"),
        ("islands: [{forming: lone}, {forming: battery-1}]", "battery-1 and lone-1 stand in one island"),
        ("islands: [{forming: lone, low_hz: 50.5}]", "low_hz is not below the nominal 50 Hz"),
        ("islands: [{forming: lone, v_ref_pu: 100}]", "v_ref_pu is a voltage in per unit, 0.2…2; did you mean 1?"),
    ],
)
def test_what_cannot_be_is_an_error_with_its_line(text: str, message: str, write: Write) -> None:
    path = write(TEXT + text + "\n")
    (finding,) = [f for f in said(path) if f.severity == "error"]
    assert message in finding.message
    assert finding.file == str(path)
    assert finding.line == len(TEXT.splitlines()) + 1


def test_only_what_stores_or_burns_can_form_an_island(write: Write) -> None:
    text = TEXT.replace("{id: pv, kind: pv, at: sgens}", "{id: pv, kind: pv, at: {buses: [LV1.101 Bus 4]}, p_mw: 0.01}")
    errors = [f.message for f in said(write(text + "islands: [{forming: pv}]\n")) if f.severity == "error"]
    assert errors == ["a pv cannot form an island; a battery or a genset can"]


def test_a_forming_resource_at_no_bus_is_named_where_it_stands(write: Write) -> None:
    text = TEXT.replace("LV1.101 Bus 6", "LV1.101 Bus 66") + "islands: [{forming: lone}]\n"
    errors = [(f.message, f.line) for f in said(write(text)) if f.severity == "error"]
    assert any("no bus 'LV1.101 Bus 66'" in message and line == 8 for message, line in errors)


def test_what_is_odd_is_a_warning(write: Write) -> None:
    text = TEXT + "islands: [{forming: lone}]\nfrequency: {model: swing}\n"
    found = said(write(text))
    assert {f.severity for f in found} == {"warning"}
    assert any("volt_var of lone-1 does not act" in f.message for f in found)
    assert any("no public grid is left" in f.message for f in found)


def test_a_droop_belongs_to_its_island(write: Write) -> None:
    text = (
        TEXT + "islands: [{forming: lone, droop: [{resources: battery}]}]\nfrequency: {model: swing, droop: [{resources: pv}]}\n"
    )
    errors = [f.message for f in said(write(text)) if f.severity == "error"]
    assert errors == ["'pv' is not in this island"]


def test_named_sets_are_for_fifty_hertz(write: Write) -> None:
    text = TEXT + "frequency: {model: swing, nominal_hz: 50.0, ufls: nc_er}\n"
    assert not [f for f in said(write(text)) if f.severity == "error"]
    errors = [f.message for f in said(write(text.replace("50.0", "50.5"))) if f.severity == "error"]
    assert errors == ["nc_er is for 50 Hz: write the stages out"]


def test_the_sets_are_as_they_are_remembered() -> None:
    """NC ER: 45 % in six steps from 49.0 Hz to 48.0 Hz, none above 10 %, within 150 ms (unverified)."""
    stages = UFLS["nc_er"]
    assert len(stages) == 6
    assert (stages[0].f_hz, stages[-1].f_hz) == (49.0, 48.0)
    assert sum(stage.share for stage in stages) == pytest.approx(0.45)
    assert max(stage.share for stage in stages) <= 0.10
    assert {stage.delay_s for stage in stages} == {0.15}
    assert [(stage.f_hz, stage.share) for stage in UFLS["four_step"]] == [
        (49.0, 0.125),
        (48.8, 0.125),
        (48.6, 0.125),
        (48.4, 0.125),
    ]


def test_what_the_twin_gets_is_what_stands_there(write: Write) -> None:
    """Inertia, gains and secondary control in MW and hertz; droop by the rating of each resource."""
    text = TEXT + (
        "frequency:\n  model: swing\n  base_mva: 80\n  inertia_s: 4\n  damping: 1.5\n  secondary_s: 100\n"
        "  governors: [{id: a, p_mw: 40, droop: 0.05, secondary: 3}, {id: b, p_mw: 20, droop: 0.04, secondary: 1, up_mw: 2}]\n"
        "  droop: [{resources: battery, droop: 0.02, deadband_hz: 0.02, response_s: 2.302585092994046}]\n"
    )
    built = build(load(write(text)))
    built.desk.close()
    swing = built.plant.grid.swing
    assert swing is not None
    (island,) = swing.islands
    assert island.inertia_mw_s_per_hz == pytest.approx(2 * 4 * 80 / 50)
    assert island.damping_mw_per_hz == pytest.approx(1.5 * 80 / 50)
    assert [unit.gain_mw_per_hz for unit in island.units] == pytest.approx([40 / 2.5, 20 / 2.0])
    assert [unit.secondary for unit in island.units] == [0.75, 0.25]
    assert island.secondary_mw_per_hz_s == pytest.approx((16 + 10 + 2.4) / 100)
    assert island.units[1].up_mw == 2.0
    (droop,) = island.droops
    assert [built.plan.id[i] for i in droop.resources] == ["battery-1", "battery-2"]
    assert droop.gain_uf == pytest.approx(np.full(2, 0.05 / (50 * 0.02)))
    assert droop.lag_s == pytest.approx(1.0)
    assert droops_of_settings(built.plant.devices.spec, swing.node_island, 0, 50.0) == ()


OWN = """\
# Batteries whose inverters have a droop of their own.
network: simbench:1-LV-rural1--0-sw
time: {start: 2016-06-21T12:00, zone: Europe/Berlin, steps: 90, step_s: 1}
fleet:
  - {id: house, kind: load, at: loads}
  - {id: battery, kind: battery, at: {sample: 4, of: loads}, p_mw: 0.02, s_mva: 0.025, e_mwh: 0.1,
     droop: {over_hz: 0.02, under_hz: 0.02, over_droop: 0.04, under_droop: 0.02, response_s: 1}}
frequency:
  model: swing
  base_mva: 1
  damping: 0
  governors: [{id: a, p_mw: 1, droop: 0.05}]
  events: [{at_s: 20, p_mw: 0.05}]
"""


@pytest.mark.parametrize(("lost", "droop"), [(0.05, 0.02), (-0.05, 0.04)])
def test_an_inverter_s_own_droop_acts_and_is_counted(lost: float, droop: float, write: Write) -> None:
    """The inverters' kernel moves the power, the swing model knows it: both agree with the quasi-steady deviation."""
    path = write(OWN)
    built = build(load(path, (f"frequency.events.0.p_mw={lost}",)))
    built.desk.close()
    truth = [built.plant.advance()[0] for _ in range(90)]
    battery = np.array(built.plan.kind) == "battery"
    gain, governor = 4 * 0.02 / (50 * droop), 1.0 / (50 * 0.05)
    expected = np.sign(lost) * (abs(lost) + gain * 0.02) / (gain + governor)
    assert truth[15].f_hz == pytest.approx(50.0, abs=1e-6)
    assert 50.0 - truth[-1].f_hz == pytest.approx(expected, rel=0.01)  # losses of the network are what is left
    answer = np.sign(lost) * gain * (abs(50.0 - truth[-1].f_hz) - 0.02)
    assert truth[-1].solved.delivered.p_mw[battery].sum() == pytest.approx(answer, abs=1e-6)
    assert min(one.nadir_hz for one in truth) > 49.0


def test_one_droop_is_enough(write: Write) -> None:
    errors = [f.message for f in said(write(OWN + "  droop: [{resources: battery}]\n")) if f.severity == "error"]
    assert len(errors) == 1
    assert errors[0].endswith("has a droop already")
