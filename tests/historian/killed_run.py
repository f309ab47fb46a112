"""A process that records until it is killed: it tells each step once that is recorded."""

import itertools
import sys
from pathlib import Path

from tests.historian.small import values, writer

if __name__ == "__main__":
    run = writer(Path(sys.argv[1]), 1_000_000)
    for k in itertools.count():
        run.event({"kind": "step", "k": k})
        run.put(k, values(k))
        print(k, flush=True)
