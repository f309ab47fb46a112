"""Run directories that every test of the dashboards can write and predict."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from vpp.historian.run import Axis, RunWriter, Series
from vpp.kernel.time import NS_PER_S, to_ns

STEP_S = 900
SUMMER, AUTUMN = "2016-06-21", "2016-10-30"  # the second has 25 hours
HIGH_STEP, HIGH_BUS, DARK_STEP, FULL_STEP, FULL_BRANCH = 50, 7, 52, 40, 3
SYSTEM = {
    "exchange_p_mw": "MW", "exchange_q_mvar": "Mvar", "losses_mw": "MW", "scheduled_p_mw": "MW", "scheduled_delivered_p_mw": "MW",
    "delivered_p_mw": "MW", "curtailed_mw": "MW", "price_import_eur_per_mwh": "EUR/MWh", "price_export_eur_per_mwh": "EUR/MWh",
}  # fmt: skip
METERS = ("vm bus 3", "vm bus 5", "p line 4 from")
YES_NO = ("no", "yes")
ESTIMATE = (
    ("buses", "est_vm_pu", ()), ("buses", "est_sigma_pu", ()), ("branches", "est_loading", ()),
    ("branches", "est_loading_sigma", ()), ("meters", "est_value", ()), ("meters", "est_sigma", ()),
    ("branches", "est_doubted", YES_NO), ("meters", "suspect", YES_NO), ("estimate", "age_s", ()), ("meters", "value", ()),
    ("meters", "age_s", ()), ("meters", "true_value", ()),
)  # fmt: skip
KINDS = ("load", "pv", "battery")


class Small:
    """A feeder of 15 buses in a row with 20 resources, or as many of both as wanted."""

    def __init__(
        self, buses: int = 15, resources: int = 20, day: str = SUMMER, steps: int = 96, *, estimated: bool = False
    ) -> None:
        self.buses, self.resources, self.steps, self.estimated = buses, resources, steps, estimated
        start = to_ns(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin")))
        self.time_ns = start + np.arange(steps, dtype=np.int64) * STEP_S * NS_PER_S
        self.kinds = np.array(KINDS)[np.arange(resources) % 3]
        self.at = np.arange(resources) % buses
        self.wave = np.sin(np.arange(buses) / 3)

    def writer(self, path: Path, **options: Any) -> RunWriter:
        """Start recording it."""
        n = self.buses
        ids = tuple(f"{kind}-{i}" for i, kind in enumerate(self.kinds))
        side = np.ceil(np.sqrt(n))
        axes = [
            Axis("resources", "resource", ids, {"kind": self.kinds, "bus": self.at}),
            Axis(
                "buses", "bus", tuple(str(i) for i in range(n)),
                {
                    "vn_kv": np.where(np.arange(n) == 0, 110.0, 20.0), "x": np.arange(n) % side, "y": -(np.arange(n) // side),
                    "name": np.array([f"Bus <{i}>" for i in range(n)]),
                },
            ),
            Axis(
                "branches", "branch", tuple(f"line-{i}" for i in range(n - 1)),
                {"from_bus": np.arange(n - 1), "to_bus": np.arange(1, n), "name": np.array([f"Line {i}" for i in range(n - 1)])},
            ),
        ]  # fmt: skip
        series = [
            Series("resources", "delivered_p_mw", "MW", "delivered", 1e-6),
            Series("resources", "soc", "1", "state of charge", 1e-4),
            Series("buses", "vm_pu", "pu", "voltage", 1e-6),
            Series("branches", "loading", "1", "loading", 1e-4),
            *(Series("system", name, unit, name) for name, unit in SYSTEM.items()),
            Series("system", "converged", "1", "whether solved", flags=("diverged", "converged")),
        ]
        if self.estimated:
            axes.append(
                Axis(
                    "meters", "meter", METERS,
                    {
                        "quantity": np.array(["vm_pu", "vm_pu", "p_mw"]), "unit": np.array(["pu", "pu", "MW"]),
                        "side": np.array(["", "", "from"]), "sigma": np.full(3, 0.003), "bus": np.array([3, 5, -1]),
                        "branch": np.array([-1, -1, 4]),
                    },
                )
            )  # fmt: skip
            series += [Series(group, name, "1", name, flags=flags) for group, name, flags in ESTIMATE]
        manifest = {
            "name": "small", "purpose": "A feeder that one can predict.", "zone": "Europe/Berlin", "step_s": STEP_S,
            "decision_hash": "0123456789abcdef", "scenario": {"limits": {"vm_low_pu": 0.9, "vm_high_pu": 1.1, "loading": 1.0}},
        }  # fmt: skip
        return RunWriter(path, manifest, axes, series, self.time_ns, **options)

    def vm_pu(self, k: int) -> np.ndarray:
        """Bus voltages of a step."""
        vm = 1 + 0.02 * self.wave * np.cos(k / 9)
        if k == HIGH_STEP:
            vm[HIGH_BUS] = 1.125
        return np.full(self.buses, np.nan) if k == DARK_STEP else vm

    def loading(self, k: int) -> np.ndarray:
        """Branch loadings of a step."""
        load = 0.3 + 0.2 * self.wave[:-1]
        if k == FULL_STEP:
            load[FULL_BRANCH] = 1.2
        return np.full(self.buses - 1, np.nan) if k == DARK_STEP else load

    def system(self, k: int) -> dict[str, float]:
        """Values of a step that belong to no column."""
        exchange = np.nan if k == DARK_STEP else 3.0 if k % 2 else -1.0
        return {
            "exchange_p_mw": exchange, "exchange_q_mvar": -0.5, "losses_mw": 0.1, "scheduled_p_mw": 2.0,
            "scheduled_delivered_p_mw": 1.9, "delivered_p_mw": 1.0, "curtailed_mw": 0.2, "price_import_eur_per_mwh": 50.0,
            "price_export_eur_per_mwh": 40.0,
        }  # fmt: skip

    def values(self, k: int) -> list[np.ndarray]:
        """What a step records."""
        soc = np.where(self.kinds == "battery", 0.2 + 0.6 * k / self.steps + 0.1 * (np.arange(self.resources) % 2), np.nan)
        power = 0.01 * (1 + np.arange(self.resources)) + 0.001 * k
        numbers = [np.array([value]) for value in self.system(k).values()]
        plain = [power, soc, self.vm_pu(k), self.loading(k), *numbers, np.array([0.0 if k == DARK_STEP else 1.0])]
        return [*plain, *(self.estimate(k) if self.estimated else [])]

    def measured(self, k: int) -> np.ndarray:
        """What the meters measure in a step; that of bus 5 is told two steps late."""
        return np.array([self.vm_pu(k)[3] + 0.002, self.vm_pu(k)[5] - 0.05, 0.1 + 0.001 * k])

    def estimate(self, k: int) -> list[np.ndarray]:
        """What a step records of the estimate of the step before, in the order of ``ESTIMATE``; a switch is doubted once."""
        n, before = self.buses, k - 1
        if k == 0:
            nothing = [np.full(n, np.nan)] * 2 + [np.full(n - 1, np.nan)] * 2
            guess, doubt, suspect, age = [np.full(3, np.nan)] * 2, np.zeros(n - 1), np.zeros(3), np.array([np.nan])
        else:
            nothing = [self.vm_pu(before) + 0.001, np.full(n, 0.002), self.loading(before) * 1.1, np.full(n - 1, 0.05)]
            guess = [self.measured(before) - np.array([0.002, -0.05, 0.0]), np.full(3, 0.001)]
            doubt, suspect = np.arange(n - 1) == (6 if before == FULL_STEP else -1), np.array([False, before == FULL_STEP, False])
            age = np.array([float(STEP_S)])
        late = np.array([0.0, 2.0 * STEP_S, 0.0])
        value = np.array([self.measured(k)[0], self.measured(k - 2)[1] if k > 1 else np.nan, self.measured(k)[2]])
        true = self.measured(k) - np.array([0.002, -0.05, 0.0])
        return [*nothing, *guess, doubt.astype(float), suspect.astype(float), age, value, late, true]

    def write(self, path: Path, rows: int | None = None, **options: Any) -> Path:
        """Record the first ``rows`` steps and end the run."""
        with self.writer(path, **options) as run:
            for k in range(self.steps if rows is None else rows):
                run.put(k, self.values(k))
                if k in (HIGH_STEP, DARK_STEP):
                    run.event(self.event(k))
        return path

    def event(self, k: int) -> dict[str, Any]:
        """What is said of a step."""
        text = f"something is wrong in step {k}"
        return {"time_ns": int(self.time_ns[k]), "source": "plant", "kind": "alarm", "text": text, "subject": "", "value": 1.0}
