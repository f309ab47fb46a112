"""Fill a disk of 8 MB, mounted by the caller on the first argument, and tell what happened as JSON.

Where nothing can be mounted, the second argument "emulate" lets writes fail as on a full disk once the
folder holds 8 MB.
"""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vpp.historian import read
from vpp.historian.run import Axis, RunWriter, Series
from vpp.kernel.errors import RunError

SIZE = 8 << 20
IDS = tuple(f"r{i}" for i in range(1000))
STEPS = 4000
TIME = np.arange(STEPS, dtype=np.int64)


def emulate(disk: Path) -> None:
    """Refuse what would not fit."""
    write, fallocate = os.write, os.posix_fallocate

    def check(more: int) -> None:
        if sum(f.stat().st_blocks * 512 for f in disk.rglob("*") if f.is_file()) + more > SIZE:
            raise OSError(errno.ENOSPC, "No space left on device")

    def full_write(fd: int, data: Any) -> int:
        check(len(data))
        return write(fd, data)

    def full_fallocate(fd: int, offset: int, size: int) -> None:
        check(size)
        fallocate(fd, offset, size)

    os.write, os.posix_fallocate = full_write, full_fallocate


def noise(k: int) -> np.ndarray:
    """Values that do not compress."""
    return np.random.default_rng(k).standard_normal(len(IDS))


def start(path: Path, block_steps: int) -> RunWriter:
    """A run of noise: 8 kB a step."""
    return RunWriter(path, {}, [Axis("resources", "resource", IDS)], [Series("resources", "x", "1", "noise")], TIME, block_steps)


def full_at_start(disk: Path) -> dict[str, Any]:
    """Tails that do not fit."""
    try:
        start(disk / "start", 2000)
    except RunError as error:
        return {"error": str(error), "left": (disk / "start").exists()}
    return {"error": ""}


def full_during(disk: Path) -> dict[str, Any]:
    """Chunks that do not fit; then an event that does not."""
    run, told, steps = start(disk / "during", 50), [], 0
    try:
        for k in range(STEPS):
            run.put(k, [noise(k)])
            steps = k + 1
    except RunError as error:
        told.append(str(error))
    try:
        run.event({"text": "x" * SIZE})
    except RunError as error:
        told.append(str(error))
    try:
        run.close()
    except RunError as error:
        told.append(str(error))
    tree = read.open_run(disk / "during")
    values = tree["resources/x"].values
    manifest = read.read_manifest(disk / "during")
    equal = all(np.array_equal(values[k], noise(k)) for k in range(len(values)))
    events = len(read.read_events(disk / "during"))
    return {"told": told, "put": steps, "rows": len(values), "equal": equal, "manifest": manifest, "events": events}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if "emulate" in sys.argv:
        emulate(place)
    print(json.dumps({"start": full_at_start(place), "during": full_during(place)}))
