"""Compiled kernels on disk are void once anything in the inverter's package has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twin import terminals
from twin.devices.inverter import advance, compiled, respond


def test_every_change_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "columns.py").write_text("V = 0\n")
    (tmp_path / "respond.py").write_text("")
    first = compiled.digest(tmp_path)
    (tmp_path / "columns.py").write_text("V = 1\n")
    second = compiled.digest(tmp_path)
    (tmp_path / "columns.py").write_text("V = 0\n")
    assert first != second
    assert compiled.digest(tmp_path) == first


def test_kernels_of_another_layout_are_not_loaded() -> None:
    """What numba finds on disk counts only if it was kept with the same digest."""
    kernel: Any = respond.unit
    kernel(0.5)
    file = kernel._cache._cache_file
    kept, stamp = file._load_index(), file._source_stamp
    try:
        file._source_stamp = (*stamp[:-1], "another layout")
        assert kept
        assert not file._load_index()
    finally:
        file._source_stamp = stamp


def test_every_kernel_that_knows_the_layout_has_its_digest() -> None:
    for module in (advance, respond, terminals):
        kernels = [value for value in vars(module).values() if hasattr(value, "py_func") and value.__module__ == module.__name__]
        assert kernels
        for kernel in kernels:
            assert kernel._cache._cache_file._source_stamp[-1] == compiled.LAYOUT
