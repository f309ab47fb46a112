"""Small files of a run directory: written whole or not at all, and an honest word when the disk is full."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from vpp.kernel.errors import RunError

_SPARE_BYTES = 65_536


def plain(value: object) -> Any:
    """Give ``json`` something it can write for numpy values; anything else becomes its text."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | set | frozenset):
        return list(value)
    return str(value)


def to_json(value: object, *, indent: int | None = None) -> bytes:
    """Write a value as JSON, with numpy values allowed."""
    return json.dumps(value, default=plain, ensure_ascii=False, indent=indent).encode()


def spare(path: Path) -> Path:
    """Where the next version of a small file is prepared."""
    return path.with_name(path.name + ".new")


def write_json(path: Path, value: object, *, reserve: bool = False) -> None:
    """Replace a JSON file atomically.

    With ``reserve``, room for the next version is kept aside, so that a run which dies of a full disk
    can still say so.
    """
    text = to_json(value, indent=2) + b"\n"
    fd = os.open(spare(path), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        write_all(fd, text)
        os.ftruncate(fd, len(text))
    finally:
        os.close(fd)
    os.replace(spare(path), path)
    if reserve:
        with suppress(OSError):
            allocate(spare(path), max(_SPARE_BYTES, 2 * len(text)))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises OSError or ValueError."""
    value = json.loads(path.read_bytes())
    if not isinstance(value, dict):
        raise ValueError(f"holds no JSON object but {type(value).__name__}")
    return value


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; ``os.write`` may take fewer when the disk fills up."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def allocate(path: Path, size: int) -> None:
    """Make a file of this size with its blocks reserved, so that writing into it cannot fail for want of room."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(fd)


def failed(path: Path, doing: str, error: BaseException, safe: str = "") -> RunError:
    """Name what failed in the words of a user: a full disk first of all."""
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT):
        reason = f"disk full at {path} while {doing}"
    else:
        reason = f"{doing} failed: {getattr(error, 'strerror', None) or error or type(error).__name__}"
    return RunError(str(path), f"{reason}; {safe}" if safe else reason)


def lock(path: Path, kind: int = fcntl.LOCK_EX) -> int:
    """Mark a file as in use by this process until the returned descriptor is closed or the process ends."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def locked(path: Path) -> bool:
    """Whether a living process has marked the file."""
    try:
        os.close(lock(path, fcntl.LOCK_SH))  # shared: two readers who ask at once must not see each other
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
