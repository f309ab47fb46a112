"""What the command line says, and the exit code with which it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import scenarios.build
from scenarios import load
from tests.scenarios.small_runs import free, vpp
from vpp import __version__
from vpp.historian.read import read_manifest


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of the rural street."""
    return Path(load("lv-rural-street").run(out=tmp_path_factory.mktemp("done"), wiring="direct").path)


@pytest.fixture
def run(done: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(done, tmp_path / done.name))


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("--help") == 0
    told = capsys.readouterr().out
    for word in (
        "Engineers",
        "Planners",
        "Operators",
        "HIL testers",
        "Exit codes",
        "run",
        "check",
        "report",
        "diff",
        "dash",
        "schema",
    ):
        assert word in told
    assert vpp("--version") == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("rn",), "Did you mean 'run'?"),
        (("run",), "Missing argument"),
        (("run", "lv-rural-street", "--wirin", "far"), "No such option"),
        (("run", "lv-rural-street", "--wiring", "near"), "near"),
        (("check", "nowhere.yaml"), "nowhere.yaml: error: no such file"),
        (("run", "lv-rural-stret"), "did you mean 'lv-rural-street'?"),
        (("check", "lv-rural-street", "--set", "tim.days=2"), "unknown key 'tim', did you mean 'time'?"),
        (("check", "lv-rural-street", "--set", "time.days"), "an override is written path=value"),
        (("check", "lv-rural-street", "--set", "fleet.9.p_mw=1"), "no item '9' here"),
        (("check", "lv-rural-street", "--set", "fleet.battery.soc=80"), "did you mean 0.8?"),
        (("run", "lv-rural-street", "--set", "fleet.battery.at={buses: [nope]}"), "no bus 'nope'"),
        (("run", "lv-rural-street", "--set", "control.guards.pcc.import_mw=-1"), "magnitude"),
        (("check", "lv-rural-street", "--set", "network=simbench:1-LV-rural9--0-sw"), "SimBench has no network"),
        (("report", "nowhere"), "run nowhere: no such directory"),
        (("diff", "nowhere", "nowhere"), "run nowhere: no such directory"),
        (("list", "--runs", "nowhere"), "run nowhere: no such directory"),
    ],
)
def test_what_cannot_be_used_ends_with_2(words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp(*words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_all_findings_come_at_once_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("# Bad.\nextends: lv-rural-street\nsede: 1\ntime:\n  zone: Europe/Berln\n")
    assert vpp("check", path) == 2
    error = capsys.readouterr().err
    assert f"{path}:3: error: sede: unknown key" in error
    assert f"{path}:5: error: time.zone: no time zone" in error
    assert "2 errors" in error


def test_check_describes_and_says_ok(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("check", "lv-rural-street", "--set", "fleet.battery.p_mw=0.1") == 0
    told = capsys.readouterr()
    assert told.out.startswith("lv-rural-street: A rural LV street")
    assert told.out.rstrip().endswith("ok")
    assert "warning: fleet.3.p_mw: battery-1 would be empty in 6 minutes" in told.err
    assert "1 warning" in told.err


def test_a_run_ends_with_its_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("run", "lv-rural-street", "--wiring", "direct", "--out", tmp_path) == 0
    told = capsys.readouterr()
    (path,) = tmp_path.iterdir()
    manifest = read_manifest(path)
    for word in (
        "complete",
        "96 of 96 steps",
        "imported",
        "voltage out of limits",
        manifest["decision_hash"],
        f"vpp dash {path}",
    ):
        assert word in told.out
    assert told.err == "loading lv-rural-street\n"
    assert vpp("list", "--runs", tmp_path) == 0
    listed = capsys.readouterr().out
    assert "mv-open-ring" in listed
    assert "96/96" in listed


def test_quiet_tells_the_place_alone_and_a_seed_makes_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in ("1", "2"):
        assert vpp("run", "lv-rural-street", "--wiring", "direct", "--out", tmp_path, "--seed", seed, "--quiet") == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert sorted(told.out.splitlines()) == sorted(map(str, tmp_path.iterdir()))
    one, other = (read_manifest(path) for path in sorted(tmp_path.iterdir()))
    assert one["decision_hash"] != other["decision_hash"]


def test_diff_names_the_changed_setting_and_the_first_tick(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vpp("diff", done, done) == 0
    assert "same: every recorded value of 96 steps is equal" in capsys.readouterr().out
    change = ("--set", "control.guards.over_voltage.vm_high_pu=1.02")
    assert vpp("run", "lv-rural-street", *change, "--wiring", "direct", "--out", tmp_path, "-q") == 0
    other = capsys.readouterr().out.strip()
    assert vpp("diff", done, other) == 1
    told = capsys.readouterr().out
    assert "control.guards.0.vm_high_pu" in told
    assert "first difference at 2016-06-" in told
    assert "over_voltage" in told


def test_a_network_without_a_first_solution_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("run", free(tmp_path), "--set", "fleet.house.scale=100", "--out", tmp_path / "out") == 1
    assert "does not converge" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_with_diverged_steps_is_complete_and_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("run", free(tmp_path), "--set", "fleet.house.scale=30", "--wiring", "direct", "--out", tmp_path / "out") == 3
    told = capsys.readouterr()
    (path,) = (tmp_path / "out").iterdir()
    counts = read_manifest(path)["counts"]
    assert counts["diverged_steps"] > 0
    assert "complete" in told.out
    assert f"in steps {counts['first_diverged'][0]}" in told.out
    assert f"{counts['diverged_steps']} steps have no power-flow solution: exit code 3" in told.err
    assert vpp("report", path) == 0
    assert "without solution" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["manifest.json", "record.json"])
def test_a_run_directory_without_its_frame_is_refused(run: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / file).write_text("{")
    for words in (("report", run), ("diff", run, run)):
        assert vpp(*words) == 2
        assert f"{file} is damaged" in capsys.readouterr().err
    assert vpp("list", "--runs", run.parent) == 0
    assert "damaged" in capsys.readouterr().out


def test_a_damaged_chunk_is_named_and_the_rest_is_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chunk = run / "series.zarr/buses/vm_pu/c.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    assert vpp("report", run) == 2
    told = capsys.readouterr()
    assert "highest loading" in told.out
    assert "buses/vm_pu" in told.err
    page = (run / "report.html").read_text("utf-8")
    assert "Branch loading" in page
    assert "damaged: buses/vm_pu" in page


def test_a_report_that_cannot_be_written_says_so(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("report", done, "--html", tmp_path / "nowhere" / "x.html") == 2
    assert "the report cannot be written: No such file or directory" in capsys.readouterr().err


def test_the_schema_goes_to_the_terminal_or_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("schema") == 0
    told = json.loads(capsys.readouterr().out)
    assert "fleet" in told["properties"]
    assert vpp("schema", "--out", tmp_path / "s.json") == 0
    assert json.loads((tmp_path / "s.json").read_text("utf-8")) == told
    assert vpp("schema", "--out", tmp_path / "nowhere" / "s.json") == 2


def test_a_mistake_of_ours_is_one_line_unless_debugged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(scenarios.build, "run", broken)
    words = ("run", "lv-rural-street", "--out", tmp_path)
    assert vpp(*words) == 70
    error = capsys.readouterr().err
    assert "ZeroDivisionError: by nothing" in error
    assert "--debug" in error
    with pytest.raises(ZeroDivisionError):
        vpp(*words, "--debug")


def test_an_extra_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    assert vpp("dash", done) == 1
    assert "pip install 'vpp-core[dashboard]'" in capsys.readouterr().err


def test_profiles_of_the_network_and_of_another_one_serve_together(tmp_path: Path) -> None:
    """The command line and the build go by one rule: what runs from Python is not refused here."""
    file = tmp_path / "both.yaml"
    file.write_text(
        "# Loads with their own network's profiles beside PV with another's.\n"
        "network: simbench:1-MV-urban--0-sw\n"
        "profiles: simbench:1-LV-urban6--0-sw\n"
        "time: {start: 2016-06-21, steps: 2, zone: Europe/Berlin}\n"
        "fleet:\n"
        "  - {id: load, kind: load, at: loads}\n"
        "  - {id: pv, kind: pv, at: {sample: 5, of: loads}, p_mw: 0.1, profile: PV8}\n"
    )
    assert vpp("check", file) == 0
    assert scenarios.build.build(load(file)).plan.n == 144
