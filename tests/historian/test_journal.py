"""The lossless record for replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpp.historian.journal import Journal
from vpp.kernel.errors import RunError

SHAPES = {"telemetry": (np.float64, (3, 5)), "quality": (np.uint8, (3, 5)), "now_ns": (np.int64, ())}


def _arrays(k: int) -> dict[str, np.ndarray]:
    block = np.random.default_rng(k).standard_normal((3, 5))
    block[0, 0], block[1, 1] = np.nan, -0.0
    return {"telemetry": block, "quality": np.full((3, 5), k, np.uint8), "now_ns": np.array(2**60 + k)}


def test_every_bit_comes_back(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, SHAPES, 10)
    for k in range(4):
        journal.news(k, {"order": k, "p_mw": 0.1 * k})
        journal.put(k, _arrays(k))
    journal.news(4, "of a step that was not recorded")
    reader = Journal(tmp_path)
    assert reader.rows == 4
    for k in range(4):
        for name, array in reader.read(k).items():
            assert array.tobytes() == _arrays(k)[name].tobytes()
            assert array.dtype == _arrays(k)[name].dtype
    assert reader.read_news() == [(k, {"order": k, "p_mw": 0.1 * k}) for k in range(4)]
    with pytest.raises(RunError, match="step 4 is not recorded"):
        reader.read(4)
    journal.close()


def test_mistakes_are_refused(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, SHAPES, 2)
    with pytest.raises(ValueError, match="turn of step 0"):
        journal.put(1, _arrays(1))
    with pytest.raises(ValueError, match="keeps telemetry"):
        journal.put(0, {"telemetry": np.zeros((3, 5))})
    with pytest.raises(TypeError):
        journal.put(0, _arrays(0) | {"quality": np.zeros((3, 5))})
    assert journal.rows == 0
    with pytest.raises(RunError):
        Journal.create(tmp_path, SHAPES, 2)
    with pytest.raises(RunError):
        Journal(tmp_path / "elsewhere")
    journal.close()
