"""SimSES 1.3.12 (BSD-3-Clause) as an oracle for batteries: cell, circuit, cycle detection and degradation, driven by power."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from configparser import ConfigParser
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from vpp.kernel.signals import FloatArray

Policy = Callable[[int, float], float]
"""(step, state of charge) -> power in watts, charging positive."""
CELLS = {"LFP": "SonyLFP", "NMC": "SanyoNMC"}


class NoExport:
    """Takes what SimSES would write to files."""

    def transfer_data(self, data: Any) -> None:
        """Drop it."""


def simses_year(
    where: Path, chemistry: str, policy: Policy, steps: int, e_wh: float, soc: float, temp_c: float, dt_s: float
) -> tuple[float, FloatArray]:
    """Run a battery of ``e_wh`` at its cells' terminals by a policy; returns loss of capacity and soc (T,).

    SimSES writes log files into the folder where it is imported and made, so both happen in ``where``.
    """
    before = Path.cwd()
    os.chdir(where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            battery = _battery(chemistry, steps, e_wh, soc, temp_c, dt_s)
            out, start = np.empty(steps), battery.state.time
            for k in range(steps):
                power = policy(k, battery.state.soc)
                battery.distribute_and_run(start + (k + 1) * dt_s, power / battery.state.voltage, battery.state.voltage)
                out[k] = battery.state.soc
            lost = 1.0 - battery.state.soh
            battery.close()
    finally:
        os.chdir(before)
    return float(lost), out


def _battery(chemistry: str, steps: int, e_wh: float, soc: float, temp_c: float, dt_s: float) -> Any:
    from simses.technology.lithium_ion.battery import LithiumIonBattery

    config, start = ConfigParser(), datetime(2016, 1, 1, tzinfo=UTC)
    end = start + timedelta(seconds=steps * dt_s)
    form = "%Y-%m-%d %H:%M:%S"
    config.read_dict({
        "GENERAL": {"START": start.strftime(form), "END": end.strftime(form), "TIME_STEP": str(dt_s), "LOOP": "1",
                    "EXPORT_DATA": "False", "EXPORT_INTERVAL": "1"},
        "BATTERY": {"START_SOC": str(soc), "MIN_SOC": "0.0", "MAX_SOC": "1.0", "EOL": "0.5", "START_SOH": "1.0",
                    "DEGRADATION_MODEL_NUMBER": "1", "EXACT_SIZE": "True"},
        "STORAGE_SYSTEM": {"CYCLE_DETECTOR": "HalfCycleDetector"},
    })  # fmt: skip
    return LithiumIonBattery(CELLS[chemistry], 48.0, e_wh, soc, 1.0, NoExport(), temp_c + 273.15, 0, 0, config)
