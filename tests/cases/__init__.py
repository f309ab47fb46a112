"""The case library: networks in every form that is read, used by the tests and by whoever tries ``vpp grid``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent
BALANCED: Final = (
    "nine/nine.m", "nine/nine.mat", "nine/nine.json", "nine/pandapower.json", "feeder33/feeder33.json", "three/three.m",
    "version_1/version_1.json", "village",
)  # fmt: skip
THREE_PHASE: Final = ("ieee13/feeder.dss", "ieee34/feeder.dss", "ieee123/feeder.dss", "european_lv/feeder.dss")
