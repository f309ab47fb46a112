"""The bench as a pytest plugin: every row of every procedure is a test; what cannot be run is skipped with its reason.

    pytest -p hil.bench.plugin --pyargs hil.bench.suite --bench-target model --bench-suite volt-var --bench-out out

A target is opened when tests are collected (only its nameplate and settings are read), since the rows depend on the
nameplate; settings are restored, and the record written, at the end of the session, whatever happened in it.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from hil.bench.guard import armed
from hil.bench.procedure import Procedure
from hil.bench.procedures import SUITES, procedures_for
from hil.bench.record import write_record
from hil.bench.results import Outcome, Verdict
from hil.bench.session import Session
from hil.bench.targets import open_target
from hil.watchdog import Arming

BenchRow = tuple[Procedure, int]


class Bench:
    """The open session of a pytest run."""

    def __init__(self, config: pytest.Config) -> None:
        """Open the target and note its settings."""
        suites = tuple(config.getoption("bench_suite"))
        unknown = sorted(set(suites) - set(SUITES))
        if unknown:
            raise pytest.UsageError(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
        self.config, self._stack = config, ExitStack()
        lab = self._stack.enter_context(open_target(config.getoption("bench_target"), _arming(config.getoption("bench_arm"))))
        self.session = self._stack.enter_context(Session(lab))
        self.procedures = procedures_for(lab.eut, suites)

    def rows(self) -> list[BenchRow]:
        """Every test case."""
        return [(procedure, k) for procedure in self.procedures for k in range(len(procedure.rows))]

    def close(self) -> None:
        """Restore, close, and write the record where one is wanted."""
        self._stack.close()
        out = self.config.getoption("bench_out")
        if out and self.session.verdicts:
            write_record(self.session, Path(out))


BENCH = pytest.StashKey[Bench]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the bench."""
    group = parser.getgroup("bench", "test bench, IEEE 1547.1")
    group.addoption("--bench-target", default="model", help="a target by name, an address, or module:function")
    group.addoption("--bench-arm", default="", metavar="KW,KWH,MIN", help="leave to write to a device that is no model")
    group.addoption("--bench-suite", action="append", default=[], help="a suite; may be given several times (default: all)")
    group.addoption("--bench-out", default="", help="directory for report, raw data and manifest (default: none is written)")


def _arming(text: str) -> Arming | None:
    if not text:
        return None
    try:
        max_kw, max_kwh, for_min = (float(part) for part in text.split(","))
    except ValueError:
        raise pytest.UsageError(f"--bench-arm is KW,KWH,MIN, not {text!r}") from None
    return armed(max_kw, max_kwh, for_min)


def _bench(config: pytest.Config) -> Bench:
    if BENCH not in config.stash:
        config.stash[BENCH] = Bench(config)
    return config.stash[BENCH]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each row."""
    if "bench_row" in metafunc.fixturenames:
        rows = _bench(metafunc.config).rows()
        metafunc.parametrize("bench_row", rows, ids=[f"{p.suite}/{p.name}/{p.rows[k].name}" for p, k in rows])


@pytest.fixture(scope="session")
def bench_session(request: pytest.FixtureRequest) -> Session:
    """The open session."""
    return _bench(request.config).session


@pytest.fixture
def bench_verdict(bench_session: Session, bench_row: BenchRow) -> Verdict:
    """The verdict of this row; skips where it was not run."""
    verdict = bench_session.verdict(*bench_row)
    if verdict.outcome is Outcome.NOT_RUN:
        pytest.skip(verdict.reason)
    return verdict


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Restore and write the record."""
    if BENCH in session.config.stash:
        session.config.stash[BENCH].close()
