"""What a run with devices outside leaves beside its record."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from hil import logbook as made
from hil.loop import EDGES_S
from hil.timed import WATCHES
from tests.hil.scripted import Outdoor
from tests.hil.small import START_NS, S
from vpp.historian.read import open_run
from vpp.kernel import quality as q
from vpp.wire.link import LinkState, Outcome, Status


def test_links_and_points_are_what_they_were(tmp_path: Path) -> None:
    """Raw numbers, values, units, qualities and times to the last bit; what was never heard is not known."""
    site = Outdoor()
    with site.logbook(tmp_path, 3) as book:
        site.tick(book, 0)
        site.up()
        site.tell(0, 0.00824, 1.0125, time_ns=START_NS + 7)
        site.tick(book, 1)
        site.plant.stations[0].keeper._count(Outcome.all(np.array([2]), Status.REJECTED, reason="local control"))
        site.links[0].board.enter(LinkState.DOWN, "gone")
        site.plant.stations[0].keeper.image.quality |= np.uint8(q.COMM_LOST)
        site.tick(book, 2)
    told = open_run(tmp_path / "hil")
    assert told["links"]["state"].values.tolist() == [[0, 0], [2, 0], [0, 0]]
    assert told["links"]["connects"].values[:, 0].tolist() == [0, 1, 1]
    assert told["links"]["rtt_s"].values[1, 0] == pytest.approx(0.003)
    assert told["links"]["open"].values[0].tolist() == [1, 0]  # the emulated one, and the one that is not armed
    points = told["points"]
    assert points["raw"].values[1, :2].tolist() == [824.0, float(np.float32(1.0125))]
    assert points["value"].values[1, :2].tolist() == [0.00824, 1.0125]
    assert np.isnan(points["raw"].values[0]).all()
    assert points["source_s"].values[1, 0] == pytest.approx(START_NS / 1e9, abs=1e-6)
    assert points["received_s"].values[1, 0] == pytest.approx(START_NS / 1e9 + 0.25, abs=1e-6)
    assert points["unit"].values.tolist() == ["MW", "pu", "MW"] * 2
    assert points["quality"].values[:, 0].tolist() == [q.INVALID | q.COMM_LOST | q.STALE, q.GOOD, q.COMM_LOST]
    assert points["command"].values[:, 2].tolist() == [len(Status), len(Status), Status.REJECTED]


def test_asked_applied_and_delivered_stand_beside_one_another(tmp_path: Path) -> None:
    site = Outdoor()
    with site.logbook(tmp_path, 2) as book:
        site.up()
        for k in range(2):
            site.tell(0, 0.0038, 1.01)
            site.tick(book, k, p_limit_mw=0.004)
    told = open_run(tmp_path / "hil")["outside"]
    assert told["asked_mode"].values[0].tolist() == [2, 0]
    assert told["asked_p_limit_mw"].values[1, 0] == told["applied_p_limit_mw"].values[1, 0] == 0.004
    assert told["p_mw"].values[1, 0] == 0.0038
    assert told["standing"].values.tolist() == ["open", "driven"]
    assert told["scale"].values.tolist() == [100.0, 1.0]
    assert (told["held_vm_pu"].values[0, 1], told["held_f_hz"].values[0, 1]) == (1.02, 49.98)


def test_the_clock_and_the_latencies_are_counted(tmp_path: Path) -> None:
    site = Outdoor()
    with site.logbook(tmp_path, 4) as book:
        site.up()
        site.tell(0, 0.001, 1.0)
        site.watches.histograms["heartbeat"].add(0.003)
        site.tick(book, 0)
        site.timing.missed, site.timing.slips = 2, 1
        site.tick(book, 3)
    told = open_run(tmp_path / "hil")
    assert told.attrs["steps_recorded"] == 4  # ticks 1 and 2 were left out, and show what stood then
    assert told["clock"]["missed"].values.tolist() == [0, 2, 2, 2]
    edges = told["jitter"]["edge_s"].values
    assert edges[:-1].tolist() == EDGES_S.tolist()
    assert told["jitter"]["late"].values[3, edges == 5e-4].tolist() == [2]
    counts = told["latency"]["count"].values[3].reshape(len(WATCHES), -1)
    assert counts.sum(axis=1).tolist() == [1, 0, 0, 2]
    assert counts[WATCHES.index("age")][edges == 0.5].tolist() == [1]  # read at the start, taken a quarter of a second later
    assert counts[WATCHES.index("age")][edges == 5.0].tolist() == [1]


def test_many_points_are_written_down_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six points over ten ticks in room for twenty samples: a row every third tick."""
    monkeypatch.setattr(made, "SAMPLES", 20)
    site = Outdoor()
    with site.logbook(tmp_path, 10) as book:
        for k in range(10):
            site.tick(book, k)
    told = open_run(tmp_path / "hil")
    assert told["clock"]["ticks"].values.tolist() == [1, 4, 7, 10]
    assert (told["time"].values.astype(np.int64) - START_NS).tolist() == [0, 3 * S, 6 * S, 9 * S]


@pytest.mark.parametrize(
    ("error", "status"),
    [(asyncio.CancelledError(), "interrupted"), (KeyboardInterrupt(), "interrupted"), (ValueError("no"), "failed")],
)
def test_the_record_says_how_it_ended(tmp_path: Path, error: BaseException, status: str) -> None:
    site = Outdoor()

    def broken() -> None:
        with site.logbook(tmp_path, 5) as book:
            site.tick(book, 0)
            raise error

    with pytest.raises(type(error)):
        broken()
    told = open_run(tmp_path / "hil")
    assert (told.attrs["status"], told.attrs["steps_recorded"]) == (status, 1)
