"""Loss of capacity against SimSES, cycle counting against hand-made histories, and the memory of it all.

SimSES runs the same usage rule on a battery of its own: the same cells' published ageing, but its own circuit with
internal resistances, its own state of charge and its own half-cycle detection. Capacity *loss* is compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.twin.laid import places, spec_of
from tests.twin.simses_battery import Policy, simses_year
from twin.devices import ageing
from twin.devices.battery import BatteryEntry
from twin.fleet import FleetModel
from vpp.kernel.setpoints import FOLLOW, Setpoints

E_WH, DT_S, DAY = 10_000.0, 900.0, 96
YEAR = 366 * DAY


def home(steps: int) -> Policy:
    """PV home storage: what the roof has over is stored, what the house lacks is taken; clouds and seasons by a seed."""
    rng = np.random.default_rng(3)
    k = np.arange(steps)
    hour, day = k % DAY / 4.0, k // DAY
    season = 0.55 - 0.45 * np.cos(2 * np.pi * (day + 100) / 366)  # begins in spring
    clear = np.repeat(rng.uniform(0.15, 1.0, steps // DAY + 1), DAY)[:steps]
    sun = np.maximum(np.sin((hour - 6) / 12 * np.pi), 0.0) * (hour < 18) * season * clear * 5000.0
    load = (
        250.0 + 900.0 * np.exp(-((hour - 19.5) ** 2) / 4) + 300.0 * np.exp(-((hour - 7.5) ** 2) / 2) + rng.uniform(0, 200, steps)
    )
    surplus = np.clip(sun - load, -4000.0, 4000.0)

    def policy(step: int, soc: float) -> float:
        power = float(surplus[step])
        return 0.0 if (soc > 0.95 and power > 0) or (soc < 0.05 and power < 0) else power

    return policy


def daily(steps: int) -> Policy:
    """A full cycle a day: full from one to five at night, empty from five to nine in the evening."""

    def policy(step: int, soc: float) -> float:
        hour = step % DAY / 4.0
        if 1 <= hour < 7 and soc < 0.95:
            return 2500.0
        return -2500.0 if 17 <= hour < 23 and soc > 0.05 else 0.0

    return policy


def reserve(steps: int) -> Policy:
    """Frequency response: micro-cycles of a few percent around half full, led back there slowly."""
    noise = np.random.default_rng(5).normal(0.0, 1.0, steps)
    signal = np.convolve(noise, np.exp(-np.arange(8) / 2.0), "same") * 300.0

    def policy(step: int, soc: float) -> float:
        return float(np.clip(signal[step] + 6000.0 * (0.5 - soc), -4000.0, 4000.0))

    return policy


PATTERNS = {"home": home, "daily": daily, "reserve": reserve}


def ours(chemistry: str, policy: Policy, steps: int, soc: float, temp_c: float) -> tuple[float, Any]:
    """Loss of capacity and soc (T,) of the twin's battery by the same rule; cells' terminals, hence little loss."""
    entry = BatteryEntry(
        kind="battery", id="b", at={"buses": ["x"]}, p_mw=0.005, e_mwh=E_WH / 1e6, soc=soc, efficiency=0.985, ambient_c=temp_c,
        heating_k=0.0, chemistry=chemistry,
    )  # type: ignore[arg-type]  # fmt: skip
    model = FleetModel(spec_of(entry, places(steps=steps, dt_s=DT_S), 0))
    asked, delivered, out = Setpoints.neutral(1), None, np.empty(steps)
    asked.mode = FOLLOW
    for k in range(steps):
        asked.p_mw = -policy(k, float(model.soc[0])) / 1e6
        offer = model.step(k, DT_S, asked, delivered)
        delivered, out[k] = offer.p_mw.copy(), offer.soc[0]
    model.step(steps, DT_S, None, delivered)
    return 1.0 - float(model.models[0].memory["soh"][0]), out


def compare(where: Path, chemistry: str, pattern: str, steps: int) -> tuple[float, float]:
    """Loss by us and by SimSES."""
    policy = PATTERNS[pattern](steps)
    a, mine = ours(chemistry, policy, steps, 0.5, 25.0)
    b, theirs = simses_year(where, chemistry, policy, steps, E_WH, 0.5, 25.0, DT_S)
    assert np.abs(mine[1:] - theirs[:-1]).mean() < 0.05  # used alike: what is left is the ageing
    return a, b


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("chemistry", ["LFP", "NMC"])
def test_loss_of_a_month(tmp_path: Path, chemistry: str, pattern: str) -> None:
    mine, theirs = compare(tmp_path, chemistry, pattern, 20 * DAY)
    assert mine == pytest.approx(theirs, rel=0.15)


@pytest.mark.long
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("chemistry", ["LFP", "NMC"])
def test_loss_of_a_year(tmp_path: Path, chemistry: str, pattern: str) -> None:
    mine, theirs = compare(tmp_path, chemistry, pattern, YEAR)
    assert mine == pytest.approx(theirs, rel=0.15)
    assert 0.005 < mine < 0.25


def aged(history: list[float], chemistry: int = 1) -> Any:
    """The block after this history of states of charge, an hour each."""
    block = ageing.fresh(np.array([history[0]]), np.zeros(1))
    soh, temp = np.ones(1), np.full(1, 25.0)
    which, kind = np.zeros(1, np.int64), np.full(1, chemistry)
    for soc in history[1:]:
        ageing.age(which, kind, np.array([soc]), temp, 1.0, block, soh)
    return block


def points(block: Any) -> list[float]:
    """Turning points still open."""
    count = int(block[ageing.COUNT, 0])
    return [round(float(x), 6) for x in block[ageing.POINT : ageing.POINT + count, 0]]


def test_rainflow_of_the_standards_example() -> None:
    """ASTM E1049-85, figure 6: -2 1 -3 5 -1 3 -4 4 -2, here of ten; one full cycle of 4, halves of 3, 4, 8, 9, 8, 6."""
    history = [(x + 5) / 10 for x in (-2, 1, -3, 5, -1, 3, -4, 4, -2)]
    block = aged([*history, 0.35])  # one more point, so that the last extreme has turned
    assert block[ageing.FEC, 0] == pytest.approx(0.4 + (0.3 + 0.4 + 0.8) / 2)
    assert points(block) == pytest.approx([1.0, 0.1, 0.9, 0.3])  # halves of 9, 8 and 6 are still open


def test_an_enclosed_cycle_leaves_the_large_one_whole() -> None:
    plain = aged([0.1, 0.9, 0.1, 0.9, 0.1])
    nested = aged([0.1, 0.6, 0.5, 0.9, 0.1, 0.9, 0.1])
    assert nested[ageing.FEC, 0] == pytest.approx(plain[ageing.FEC, 0] + 0.1)
    assert points(nested) == points(plain)


def test_the_stack_never_overflows_and_loses_no_throughput() -> None:
    """Ever smaller ranges never close: the oldest is counted as half a cycle when there is no room."""
    size = 0.48 * 0.9 ** np.arange(30)
    history = [0.5, *(0.5 + size * (-1.0) ** np.arange(30))]
    block = aged(history)
    open_points = points(block)
    assert len(open_points) == ageing.DEPTH
    moved = np.abs(np.diff(history[:-1])).sum() / 2
    still_open = np.abs(np.diff(open_points)).sum() / 2
    assert block[ageing.FEC, 0] + still_open == pytest.approx(moved)


def test_rest_warmth_and_depth_age_as_published() -> None:
    """By hand: Naumann 2018 after a year at 25 degrees and half full; Naumann 2020 after a full cycle at 0.8 C."""
    rest = aged([0.5, *[0.5] * 8784])
    assert rest[ageing.CAL, 0] == pytest.approx(1.2571e-5 * 0.60225 * np.sqrt(8784 * 3600), rel=1e-9)
    assert rest[ageing.CYC, 0] == 0.0
    cycle = aged([0.1, 0.9, 0.1, 0.9, 0.1])
    k = (0.0630 * 0.8 + 0.0971) * (4.0253 * 0.2**3 + 1.0923) / 100
    assert cycle[ageing.CYC, 0] == pytest.approx(k * np.sqrt(0.8), rel=1e-9)
    nmc = aged([0.5, *[0.5] * 24], ageing.CHEMISTRIES["NMC"])
    assert nmc[ageing.CAL, 0] == pytest.approx((7.543 * 3.7136 - 23.75) * 1e6 * np.exp(-6976 / 298.15), rel=1e-9)
