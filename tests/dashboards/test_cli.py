"""Serving: what can go wrong before the first page."""

from __future__ import annotations

import pytest
from typer import Typer
from typer.testing import CliRunner

from dashboards.cli import dash, listen, serve
from tests.dashboards.runs import Small
from vpp.kernel.errors import RunError, VppError


def test_a_taken_port_is_named_with_the_way_out() -> None:
    first = listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    try:
        with pytest.raises(VppError, match=rf"port {port} on 127\.0\.0\.1 is in use; choose another one with --port"):
            listen("127.0.0.1", port)
    finally:
        first.close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(VppError, match=r"192\.0\.2\.1 cannot be used"):
        listen("192.0.2.1", 0)


def test_a_missing_run_is_named_and_the_port_given_back(tmp_path) -> None:
    first = listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    first.close()
    for _ in range(2):
        with pytest.raises(RunError, match="no such directory"):
            serve(tmp_path / "none", port=port)


@pytest.mark.parametrize("name", ["manifest.json", "record.json", "progress.json"])
def test_a_damaged_run_is_named(tmp_path, name: str) -> None:
    run = Small().write(tmp_path / "run", rows=3)
    (run / name).write_text("{")
    with pytest.raises(RunError, match=name):
        serve(run, port=0)


def test_the_command_has_its_options() -> None:
    app = Typer(add_completion=False)
    app.command()(dash)
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}).output
    assert all(word in text for word in ("RUN", "--host", "--port", "--browser"))
