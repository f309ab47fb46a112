"""Figures (b) and (e): a simulated year, closed loop, and mosaik's own share of a step.

1,000 devices on an urban LV network and 10,000 on an MV one (SimBench), 35,136 quarter-hours each, through mosaik:
devices with volt-var solved together with the power flow, noisy sensors, the full chain of controllers, the
default record written and flushed. Measured against a step of an empty mosaik world with two simulators, in the
same run, before and after. Not included: loading and compiling the scenario, and numba's first compilation.

    python benchmarks/year_closed_loop.py [--steps 35136] [--json]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from _common import empty_step_us, run_once, show

GOALS = {"year-lv": 7.0, "year-mv": 15.0}


def main() -> int:
    """Run both years; print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=35_136)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vpp-bench-") as folder:
        for name, goal in GOALS.items():
            for attempt in ("warm-up", "short"):  # the first compiles
                _, short, _ = run_once(name, Path(folder) / f"{name}-{attempt}", 500)
            empty = [empty_step_us(3000) for _ in range(3)]
            took, shares, recorder = run_once(name, Path(folder) / name, arguments.steps)
            empty += [empty_step_us(3000) for _ in range(3)]
            base, per = statistics.median(empty), took / arguments.steps * 1e6
            size = sum(f.stat().st_size for f in (Path(folder) / name).rglob("*") if f.is_file())
            parts = {
                part: getattr(shares, f"{part}_s") / arguments.steps * 1e6
                for part in ("fleet", "grid", "control", "record", "mosaik")
            }
            n = len(recorder.control)
            calm = f"median of {len(empty)}; {min(empty):.0f}…{max(empty):.0f}"
            rounds = f"{recorder.iterations / recorder.steps:.1f}, {len(recorder.diverged)}"
            show(
                f"(b) a year of {arguments.steps} steps, {n} devices ({name})",
                [
                    ("wall time of the year, flush included", f"{took:.1f} s"),
                    ("per step", f"{per:.0f} us"),
                    ("empty two-simulator mosaik step", f"{base:.0f} us ({calm})"),
                    ("ratio", f"{per / base:.1f} (goal: at most {goal:g})"),
                    ("parts", ", ".join(f"{part} {value:.0f} us" for part, value in parts.items())),
                    ("iterations per step, diverged steps", rounds),
                    ("record", f"{size / 1e6:.0f} MB"),
                    ("(e) mosaik's own, 500 steps / all", f"{short.mosaik_s / 500 * 1e6:.0f} / {parts['mosaik']:.0f} us"),
                ],
                {"name": name, "devices": n, "steps": arguments.steps, "per_step_us": per, "empty_us": base, "ratio": per / base,
                 "goal": goal, "parts_us": parts, "mosaik_500_us": short.mosaik_s / 500 * 1e6, "wall_s": took},
            )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
