"""The one test of the bench, made once for every row by `hil.bench.plugin`."""

from __future__ import annotations

from hil.bench.results import Outcome, Verdict


def test_row(bench_verdict: Verdict) -> None:
    """The row's checks hold."""
    assert bench_verdict.outcome is Outcome.PASSED, f"{bench_verdict.clause}\n{bench_verdict.reason}"
