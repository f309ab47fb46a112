"""Reading scenarios: what is wrong is said, all of it, with file and line."""
# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from scenarios import json_schema, list_scenarios, load, write_schema
from scenarios.library import LIBRARY
from tests.scenarios.conftest import GOOD, findings
from vpp.kernel.errors import ScenarioError

Write = Callable[..., Path]
HEAD = "# A test.\nnetwork: simbench:x\ntime: {start: 2016-06-21, zone: Europe/Berlin}\n"
HOUSE = "fleet: [{id: house, kind: load, at: loads}]\n"
BATTERY = "fleet:\n  - {id: b, kind: battery, at: buses, p_mw: 0.01, e_mwh: 0.02, %s}\n"

# text of the file, line, path, part of the message
BAD = {
    "misspelt key": (HEAD + "fleet: [{id: a, kind: pv, at: sgens, pmw: 1}]\n", 4, "fleet.0.pmw", "unknown key 'pmw', did you mean 'p_mw'?"),
    "misspelt key at the top": (HEAD + HOUSE + "sede: 3\n", 5, "sede", "unknown key 'sede', did you mean 'seed'?"),
    "wrong sign": (HEAD + HOUSE + "control:\n  guards:\n    - {use: pcc, import_mw: -0.4}\n", 7, "control.guards.0.import_mw", "wrong sign: import_mw is a magnitude and never negative; did you mean 0.4?"),
    "percent": (HEAD + BATTERY % "soc: 80", 5, "fleet.0.soc", "soc is a fraction 0…1; did you mean 0.8?"),
    "soc outside its band": (HEAD + BATTERY % "soc: 0.99", 5, "fleet.0.soc", "outside soc_min…soc_max"),
    "volts": (HEAD + HOUSE + "limits: {vm_high_pu: 110}\n", 5, "limits.vm_high_pu", "did you mean 1.1?"),
    "text for a number": (HEAD + BATTERY % "soc: half", 5, "fleet.0.soc", "must be a number"),
    "nan": (HEAD + BATTERY % "soc: .nan", 5, "fleet.0.soc", "finite number"),
    "truth for a number": (HEAD + BATTERY % "soc: true", 5, "fleet.0.soc", "must be a number"),
    "unknown kind": (HEAD + "fleet: [{id: a, kind: batery, at: loads}]\n", 4, "fleet.0.kind", "unknown kind 'batery', did you mean 'battery'?"),
    "kind is missing": (HEAD + "fleet: [{id: a, at: loads}]\n", 4, "fleet.0", "kind is missing"),
    "unknown controller": (HEAD + HOUSE + "control: {guards: [{use: over_voltge}]}\n", 5, "control.guards.0.use", "did you mean 'over_voltage'?"),
    "unknown place": (HEAD + "fleet: [{id: a, kind: load, at: lods}]\n", 4, "fleet.0.at", "did you mean 'loads'?"),
    "unknown place of a sample": (HEAD + "fleet: [{id: a, kind: load, at: {sample: 2, of: lods}}]\n", 4, "fleet.0.at.of", "did you mean 'loads'?"),
    "no rating": (HEAD + "fleet: [{id: a, kind: pv, at: loads}]\n", 4, "fleet.0.p_mw", "p_mw is missing: only places of sgens"),
    "nameplate below power": (HEAD + "fleet: [{id: a, kind: pv, at: loads, p_mw: 2, s_mva: 1}]\n", 4, "fleet.0.s_mva", "below p_mw"),
    "curve upside down": (HEAD + BATTERY % "volt_var: {v_pu: [0.9, 1, 1, 1.1], q_pu: [-1, 0, 0, 1]}", 5, "fleet.0.volt_var.q_pu", "wrong sign"),
    "curve too short": (HEAD + BATTERY % "volt_watt: {v_pu: [1.1]}", 5, "fleet.0.volt_watt.v_pu.1", "a value is missing"),
    "curve of the wrong shape": (HEAD + BATTERY % "volt_var: 3", 5, "fleet.0.volt_var", "must be a text or a mapping"),
    "same guard twice": (GOOD + "control: {guards: [{use: soc}, {use: soc}]}\n", GOOD.count("\n") + 1, "control.guards.1.use", "soc is there already"),
    "same id twice": (HEAD + "fleet:\n  - {id: a, kind: load, at: loads}\n  - {id: a, kind: load, at: loads}\n", 6, "fleet.1.id", "'a' is there already"),
    "empty fleet": (HEAD + "fleet: []\n", 4, "fleet", "at least one entry"),
    "unknown parent": (HEAD + HOUSE + "groups:\n  - {name: a, parent: pc}\n", 6, "groups.0.parent", "no group 'pc', did you mean 'pcc'?"),
    "group cycle": (HEAD + HOUSE + "groups:\n  - {name: a, parent: b}\n  - {name: b, parent: a}\n", 6, "groups.0.parent", "a < b < a"),
    "unknown group of a guard": (HEAD + HOUSE + "control:\n  guards:\n    - {use: pcc, group: stret, import_mw: 1}\n", 7, "control.guards.0.group", "no group 'stret'"),
    "crossed thresholds": (HEAD + HOUSE + "control:\n  guards:\n    - {use: over_voltage, vm_high_pu: 1.0}\n    - {use: under_voltage, vm_low_pu: 1.0}\n", 8, "control.guards.1.vm_low_pu", "not below vm_high_pu"),
    "planner without prices": (HEAD + HOUSE + "planner: {use: day_ahead}\n", 5, "planner", "needs prices"),
    "short day of prices": (HEAD + HOUSE + "market: {export_eur_per_mwh: 1, import_eur_per_mwh: [1, 2]}\n", 5, "market.import_eur_per_mwh", "24 hours or 96 quarter-hours, not 2"),
    "missing file": (HEAD + HOUSE + "market:\n  export_eur_per_mwh: 1\n  import_eur_per_mwh: file:no.csv\n", 7, "market.import_eur_per_mwh", "no file"),
    "network of no kind": ("# T\nnetwork: simbnch:x\ntime: {start: 2016-06-21, zone: UTC}\n" + HOUSE, 2, "network", "did you mean 'simbench'?"),
    "network is missing": ("# T\ntime: {start: 2016-06-21, zone: UTC}\n" + HOUSE, 2, "network", "network is missing"),
    "zone is missing": ("# T\nnetwork: simbench:x\ntime: {start: 2016-06-21}\n" + HOUSE, 3, "time.zone", "zone is missing"),
    "unknown zone": ("# T\nnetwork: simbench:x\ntime: {start: 2016-06-21, zone: Europe/Berln}\n" + HOUSE, 3, "time.zone", "did you mean 'Europe/Berlin'"),
    "hour left out": ("# T\nnetwork: simbench:x\ntime: {start: 2016-03-27T02:30, zone: Europe/Berlin}\n" + HOUSE, 3, "time.start", "there is no 02:30"),
    "hour twice": ("# T\nnetwork: simbench:x\ntime: {start: 2016-10-30T02:30, zone: Europe/Berlin}\n" + HOUSE, 3, "time.start", "2016-10-30T02:30+01:00"),
    "number for a date": ("# T\nnetwork: simbench:x\ntime: {start: 20160621, zone: UTC}\n" + HOUSE, 3, "time.start", "local date or time"),
    "two lengths": ("# T\nnetwork: simbench:x\ntime: {start: 2016-06-21, zone: UTC, days: 1, steps: 3}\n" + HOUSE, 3, "time.days", "only one of"),
    "broken steps": ("# T\nnetwork: simbench:x\ntime: {start: 2016-06-21, zone: UTC, step_s: 7000}\n" + HOUSE, 3, "time.step_s", "whole number of steps"),
    "end before start": ("# T\nnetwork: simbench:x\ntime: {start: 2016-06-21, end: 2016-06-20, zone: UTC}\n" + HOUSE, 3, "time.end", "not after the start"),
    "order without end": (HEAD + HOUSE + "orders:\n  - {at: '12:00', resources: house, p_mw: 1}\n", 6, "orders.0.until", "until is missing"),
    "order asks nothing": (HEAD + HOUSE + "orders:\n  - {at: '12:00', until: '13:00', resources: house}\n", 6, "orders.0", "asks for nothing"),
    "unknown record": (HEAD + HOUSE + "record:\n  - asked\n  - sok\n", 7, "record.1", "did you mean 'soc'?"),
    "frequency off": (HEAD + HOUSE + "frequency: {profile: [[0, 50], [10, 5]]}\n", 5, "frequency.profile.1", "far from the nominal"),
    "no purpose": ("network: simbench:x\ntime: {start: 2016-06-21, zone: UTC}\n" + HOUSE, 1, "purpose", "must not be empty"),
    "key twice": (HEAD + HOUSE + "seed: 1\nseed: 2\n", 6, "", "key 'seed' stands twice, first in line 5"),
    "syntax": (HEAD + "fleet: [{id: a\n", 5, "", "not YAML"),
    "not a mapping": ("# T\n- 1\n", 2, "", "mapping of keys"),
    "unknown base": ("# T\nextends: lv-rural-stret\n", 2, "extends", "did you mean 'lv-rural-street'?"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_finding_names_file_line_path_and_remedy(case: str, write: Write) -> None:
    text, line, path, message = BAD[case]
    found = findings(write(text))
    assert len(found) == 1, found
    assert (found[0].file, found[0].line, found[0].path) == ("case.yaml", line, path)
    assert message in found[0].message


def test_everything_at_once(write: Write) -> None:
    text = (
        HEAD
        + "sed: 1\nfleet:\n  - {id: a, kind: pv, at: sgens, p_mw: -1}\n  - {id: b, kind: pvv, at: loads}\nlimits: {loading: x}\n"
    )
    found = findings(write(text), ("time.day=1", "nothing"))
    assert [(f.file, f.line) for f in found] == [("--set", 0), ("--set", 0), *(("case.yaml", n) for n in (4, 6, 7, 8))]
    assert found[2].value == "1"
    assert "(got 1)" in str(found[2])


def test_no_such_file_and_no_such_name(write: Write) -> None:
    write(GOOD, "street.yaml")
    assert "did you mean 'street.yaml'" in str(findings("stret.yaml")[0])
    assert "did you mean 'mv-open-ring'" in str(findings("mv-open-rng")[0])


def test_extends_merges_mappings_and_replaces_lists(write: Write) -> None:
    write(GOOD + "limits: {vm_high_pu: 1.05, loading: 0.9}\n", "base/base.yaml")
    scenario = load(write("# A child.\nextends: base/base.yaml\nlimits: {loading: 0.8}\nrecord: [soc]\n"))
    assert (scenario.limits.vm_high_pu, scenario.limits.loading, scenario.record) == (1.05, 0.8, ("soc",))
    assert (scenario.name, scenario.purpose) == ("case", "A child.")
    place = scenario.finding("x", "limits", "vm_high_pu")
    assert (place.file, place.line, place.value) == (str(Path("base/base.yaml")), 8, "1.05")


def test_a_finding_names_the_file_the_value_came_from(write: Write) -> None:
    write(GOOD.replace("at: sgens", "at: sgens, pmw: 1"), "base.yaml")
    found = findings(write("# A child.\nextends: base.yaml\nsed: 1\n"))
    assert [(f.file, f.line, f.path) for f in found] == [("base.yaml", 6, "fleet.1.pmw"), ("case.yaml", 3, "sed")]


def test_a_cycle_names_the_loop_with_files_and_lines(write: Write) -> None:
    write("# A\nextends: b.yaml\n", "a.yaml")
    write("# B\n\nextends: c.yaml\n", "b.yaml")
    write("# C\nextends: a.yaml\n", "c.yaml")
    (found,) = findings("a.yaml")
    assert found.message == "extends itself: a.yaml:2 → b.yaml:3 → c.yaml:2 → a.yaml"
    assert (found.file, found.line, found.path) == ("c.yaml", 2, "extends")
    write("# D\nextends: a.yaml\n", "d.yaml")
    assert findings("d.yaml")[0].message == found.message
    write("# E\nextends: e.yaml\n", "e.yaml")
    assert findings("e.yaml")[0].message == "extends itself: e.yaml:2 → e.yaml"


def test_overrides(write: Write) -> None:
    path = write(GOOD)
    scenario = load(path, ["time.days=3", "fleet.0.scale=0.5", "fleet.pv.spread=0.1", "limits.loading=1", "record=[soc, seen]"])
    assert scenario.time.days == 3
    assert scenario.fleet[0].scale == 0.5
    assert scenario.fleet[1].spread == 0.1
    assert scenario.limits.loading == 1
    assert scenario.record == ("soc", "seen")


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("seed", "seed", "path=value"),
        ("sede=1", "sede", "did you mean 'seed'?"),
        ("seed.x=1", "seed", "whole number"),
        ("network.x=1", "network.x", "nothing inside 'simbench:1-LV-rural1--0-sw'"),
        ("fleet.9.scale=1", "fleet.9.scale", "no item '9' here (0…2: house, pv, battery)"),
        ("fleet.pv.p_mw=-1", "fleet.1.p_mw", "wrong sign"),
        ("seed=[", "", "not YAML"),
    ],
)
def test_bad_overrides(override: str, path: str, message: str, write: Write) -> None:
    (found,) = findings(write(GOOD), (override,))
    assert (found.file, found.line, found.path) == ("--set", 0, path)
    assert message in found.message


def test_hash_is_of_the_content(write: Write) -> None:
    prices = "market: {export_eur_per_mwh: 1, import_eur_per_mwh: file:p.csv}\n"
    write("price\n" + "5\n" * 24, "p.csv")
    write("price\n" + "5\n" * 24, "sub/p.csv")
    first = load(write(GOOD + prices))
    same = load(
        write("# A test.\n\n" + "".join(reversed(prices.splitlines(keepends=True))) + GOOD.split("\n", 1)[1], "sub/case.yaml")
    )
    assert first.hash == same.hash == load("case.yaml").hash
    assert len(first.hash) == 64
    before = first.hash
    assert load("case.yaml", ["seed=1"]).hash != before
    write("price\n" + "6\n" * 24, "p.csv")
    assert load("case.yaml").hash != before


def test_csv_is_read_at_once(write: Write) -> None:
    write("a\n1\nx\n", "p.csv")
    (found,) = findings(write(GOOD + "market:\n  import_eur_per_mwh: 1\n  export_eur_per_mwh: file:p.csv\n"))
    assert found.line == 10
    assert "p.csv, line 3" in found.message


def test_json_schema_accepts_what_is_shipped(tmp_path: Path) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for path in LIBRARY.glob("*.yaml"):
        jsonschema.validate(json.loads(json.dumps(yaml.safe_load(path.read_text()), default=str)), schema)
    write_schema(tmp_path / "schema.json")
    assert json.loads((tmp_path / "schema.json").read_text()) == json.loads(json.dumps(schema))


def test_every_field_says_what_it_is() -> None:
    schema = json_schema()
    for name, part in {"Scenario": schema, **schema["$defs"]}.items():
        for key, field in part.get("properties", {}).items():
            assert "description" in field or key in ("kind", "use"), f"{name}.{key}"


@pytest.mark.parametrize("name", [name for name, _ in list_scenarios()])
def test_shipped_scenarios_load(name: str) -> None:
    scenario = load(name)
    assert scenario.name == name
    assert dict(list_scenarios())[name] == scenario.purpose
    assert scenario.time.n_steps * scenario.time.step_s in (600, 86_400)  # a day, or ten minutes at one second
    assert scenario.purpose in scenario.describe()


def test_loading_is_light() -> None:
    code = (
        "import sys; from scenarios import load; load('mv-open-ring'); import scenarios.expand, scenarios.check;"
        "heavy = {'pandapower', 'simbench', 'mosaik_api_v3', 'xarray', 'zarr', 'pandas', 'scipy.sparse', 'pyomo', 'pvlib'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_error_is_one_text_of_all_findings(write: Write) -> None:
    with pytest.raises(ScenarioError, match=r"case\.yaml:4: sed: unknown key 'sed'"):
        load(write(HEAD + "sed: 1\n" + HOUSE))
