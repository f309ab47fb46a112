"""Feeders drawn at random, solved by OpenDSS and by us from the same script: whatever elements meet, they agree.

Half of them hang on a delta, so that only charging, loads and stray admittance tie them to ground, and loads from phase
to ground push their voltages far out of the band.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.grid.threephase import oracle
from vpp.grid.dss import read_dss
from vpp.grid.threephase import CurrentInjection, branch_flows, compile_feeder

CONNECTIONS = ("wye wye", "delta wye", "wye delta", "delta delta")
MODELS = ("model=1", "model=2", "model=5", "model=8 zipv=[0.3 0.2 0.5 0.1 0.4 0.5 0]")


class Draw:
    """Writes a script: a transformer, a tree of lines of one to three phases, a loop, loads, a capacitor, a step-down."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        lead = ("lag", "lead")[seed // 4 % 2]
        self.lines = [
            "clear",
            "set defaultbasefrequency=50",
            "new circuit.c bus1=a basekv=11 pu=1.02 mvasc3=200 mvasc1=150",
            f"new transformer.t phases=3 buses=[a b0] conns=[{CONNECTIONS[seed % 4]}] kvs=[11 0.4] kvas=[630 630] xhl=5",
            f"~ %rs=[0.5 0.6] %noloadloss=0.2 %imag=0.8 taps=[1 {self.between(0.97, 1.03)}] leadlag={lead}",
        ]
        self.phases = {"b0": [1, 2, 3]}

    def between(self, low: float, high: float) -> str:
        return f"{self.rng.uniform(low, high):.6g}"

    def choose(self, options: tuple[str, ...]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def matrix(self, n: int, low: float, high: float, coupling: float) -> str:
        own = self.rng.uniform(low, high, n)
        return "[" + " | ".join(
            " ".join(f"{own[i] if i == j else coupling * min(own[i], own[j]):.6g}" for j in range(i + 1)) for i in range(n)
        ) + "]"  # fmt: skip

    def line(self, name: str, start: str, end: str, phases: list[int]) -> None:
        n, at = len(phases), ".".join(str(p) for p in phases)
        balanced = n == 3 and self.rng.random() < 0.3
        r, x, c = self.matrix(n, 0.2, 0.6, 0.3), self.matrix(n, 0.2, 0.5, 0.4), self.matrix(n, 5, 30, -0.2)
        z = f"rmatrix={r} xmatrix={x} cmatrix={c}"
        if balanced:
            z = "r1=0.3 x1=0.1 r0=1.1 x0=0.4 c1=200 c0=100"
        self.lines.append(
            f"new line.{name} phases={n} bus1={start}.{at} bus2={end}.{at} {z} length={self.between(0.02, 0.2)} units=km"
        )

    def load(self, name: str, bus: str) -> None:
        phases = self.phases[bus]
        how = int(self.rng.integers(3))
        band = f"vminpu={self.between(0.8, 0.95)} vmaxpu={self.between(1.03, 1.1)}"
        power = f"kw={self.between(1, 12)} pf={self.between(0.8, 1)} {self.choose(MODELS)} {band}"
        if how == 0 and len(phases) == 3:
            self.lines.append(f"new load.{name} bus1={bus} phases=3 conn={self.choose(('wye', 'delta'))} kv=0.4 {power}")
        elif how == 1 and len(phases) >= 2:
            pair = ".".join(str(p) for p in self.rng.permutation(phases)[:2])
            self.lines.append(f"new load.{name} bus1={bus}.{pair} phases=1 conn=delta kv=0.4 {power}")
        else:
            self.lines.append(f"new load.{name} bus1={bus}.{self.rng.choice(phases)} phases=1 kv=0.230940108 {power}")

    def script(self) -> str:
        for k in range(1, 13):
            parent = f"b{int(self.rng.integers(max(0, k - 4), k))}"
            count = int(self.rng.integers(1, len(self.phases[parent]) + 1)) if k > 4 else 3 if k < 3 else len(self.phases[parent])
            kept = sorted(int(p) for p in self.rng.permutation(self.phases[parent])[:count])
            self.phases[f"b{k}"] = kept
            self.line(f"l{k}", parent, f"b{k}", list(self.rng.permutation(kept)) if k % 2 else kept)
            self.load(f"d{k}", f"b{k}")
        self.line("loop", "b1", "b2", [1, 2, 3])
        last = next(b for b in reversed(self.phases) if len(self.phases[b]) >= 2)
        pair = ".".join(str(p) for p in self.phases[last][:2])
        self.lines += [
            "new capacitor.c bus1=b2 phases=3 kvar=15 kv=0.4",
            f"new transformer.s phases=1 buses=[{last}.{pair} low.1] conns=[delta wye] kvs=[0.4 0.11] kvas=[10 10] xhl=3",
            "new load.low bus1=low.1 phases=1 kv=0.11 kw=3 pf=0.9 vminpu=0.7 vmaxpu=1.2",
            "set voltagebases=[11 0.4 0.19]",
            "calcvoltagebases",
            "solve",
        ]
        return "\n".join(self.lines)


@pytest.mark.parametrize("seed", range(24))
def test_a_random_feeder_is_solved_as_opendss_does(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "f.dss"
    path.write_text(Draw(seed).script())
    net = compile_feeder(read_dss(path))
    solution = CurrentInjection(net).solve(*net.rated_injections())
    assert solution.converged
    expected = oracle.solve(f"compile [{path}]")
    at = net.node_index()
    assert set(at) == set(expected.v)
    volts = solution.v * net.node_v_base
    for name, v in expected.v.items():
        assert abs(volts[at[name]] - v) < 1e-5 * net.node_v_base[at[name]], name
    flows = branch_flows(net, solution.v)
    for name, theirs in expected.i.items():
        k = net.branch_name.index(name.split(".")[1])
        ours = flows.i_ka[net.branch_start[k] : net.branch_start[k + 1]] * 1e3
        assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max() + 1e-3, name
    assert flows.p_loss_total_mw * 1e6 == pytest.approx(expected.loss_w, rel=1e-4)
