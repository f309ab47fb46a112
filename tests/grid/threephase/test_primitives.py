"""Primitive admittance matrices, element by element, against OpenDSS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.grid.threephase import oracle
from vpp.grid.dss import read_dss
from vpp.grid.threephase.feeder import Feeder
from vpp.grid.threephase.primitives import capacitor_primitive, line_primitive, transformer_primitive

T3 = "new transformer.t phases=3 buses=[a b] xhl=4 %rs=[0.5 0.6] %noloadloss=0.3 %imag=1.5 "
T1 = "new transformer.t phases=1 xhl=4 %rs=[0.5 0.6] %imag=0.5 "
TRANSFORMERS = {
    "wye-wye": T3 + "conns=[wye wye] kvs=[11 0.4] kvas=[400 400]",
    "wye-wye with taps": T3 + "conns=[wye wye] kvs=[11 0.4] kvas=[400 400] taps=[0.975 1.05]",
    "delta-wye": T3 + "conns=[delta wye] kvs=[11 0.4] kvas=[400 400] taps=[1.025 1]",
    "delta-wye euro": T3 + "conns=[delta wye] kvs=[11 0.4] kvas=[400 400] leadlag=euro",
    "wye-delta": T3 + "conns=[wye delta] kvs=[11 0.4] kvas=[400 400]",
    "wye-delta lead": T3 + "conns=[wye delta] kvs=[11 0.4] kvas=[400 400] leadlag=lead",
    "step up delta-wye": T3 + "conns=[delta wye] kvs=[0.4 11] kvas=[400 400]",
    "step up wye-delta": T3 + "conns=[wye delta] kvs=[0.4 11] kvas=[400 400]",
    "delta-delta": T3 + "conns=[delta delta] kvs=[11 0.4] kvas=[400 400]",
    "unequal ratings": T3 + "conns=[delta wye] kvs=[11 0.4] kvas=[400 250]",
    "stray admittance": T3 + "conns=[delta delta] kvs=[11 0.4] kvas=[400 250] ppm=1000",
    "neutral carried": T3 + "conns=[delta wye] kvs=[11 0.4] kvas=[400 400] wdg=2 bus=b.1.2.3.4",
    "single phase": T1 + "buses=[a.2 b.2] kvs=[6.351 0.24] kvas=[50 50] taps=[1 0.95]",
    "single phase across two": T1 + "buses=[a.2.3 b.1] conns=[delta wye] kvs=[11 0.24] kvas=[50 50]",
    "leg of an open wye, open delta bank": T1 + "buses=[a.1 b.1.2] conns=[wye delta] kvs=[6.351 0.24] kvas=[50 50]",
    "two phases": "new transformer.t phases=2 buses=[a.1.2 b.1.2] kvs=[11 0.4] kvas=[100 100] xhl=3",
    "by a code": "new xfmrcode.x phases=3 kvs=[11 0.4] kvas=[400 400] conns=[delta wye] xhl=5 %loadloss=1.2;"
    "new transformer.t xfmrcode=x buses=[a b]",
    "written by windings": "new transformer.t phases=3 windings=2 xhl=6 ppm=0;"
    "~ wdg=1 bus=a conn=delta kv=11 kva=630 %r=0.4;~ wdg=2 bus=b conn=wye kv=0.4 kva=630 %r=0.5 tap=1.02",
}
CODE = "new linecode.c nphases=2 units=km basefreq=50 rmatrix=[0.4 | 0.1 0.5] xmatrix=[0.9 | 0.3 0.8] cmatrix=[9 | -2 8];"
LINES = {
    "sequence": "new line.l bus1=a bus2=b r1=0.3 x1=0.4 r0=0.9 x0=1.2 c1=10 c0=6 length=2.5",
    "default": "new line.l bus1=a bus2=b length=3",
    "code with units": CODE + "new line.l bus1=a.3.1 bus2=b.3.1 linecode=c length=300 units=m",
    "code without units": CODE + "new line.l bus1=a.3.1 bus2=b.3.1 linecode=c length=0.3",
    "code, then changed": CODE + "new line.l bus1=a.1.2 bus2=b.1.2 linecode=c r1=1 x1=1 r0=2 x0=2 length=0.3",
    "one phase": "new line.l phases=1 bus1=a.2 bus2=b.2 r1=0.3 x1=0.4 c1=10 length=2",
    "switch": "new line.l bus1=a bus2=b switch=yes",
    "square matrix": "new line.l phases=2 bus1=a.1.2 bus2=b.1.2 rmatrix=[1 .1 | .1 2] xmatrix=[1 .2 | .2 2] length=2",
}
CAPACITORS = {
    "wye": "new capacitor.c bus1=a phases=3 kvar=600 kv=11",
    "delta": "new capacitor.c bus1=a phases=3 kvar=600 kv=11 conn=delta",
    "single phase": "new capacitor.c bus1=a.3 phases=1 kvar=50 kv=6.351",
    "across": "new capacitor.c bus1=a.3.1 phases=1 kvar=50 kv=11 conn=delta",
}


def feeder(tmp_path: Path, text: str) -> Feeder:
    lines = ["set defaultbasefrequency=50", "new circuit.c basekv=11 bus1=a", *commands(text)]
    (tmp_path / "f.dss").write_text("\n".join(lines))
    return read_dss(tmp_path / "f.dss")


def commands(text: str) -> list[str]:
    return text.split(";")


def assert_same(ours: tuple[tuple[tuple[str, int], ...], np.ndarray], theirs: tuple[list[str], np.ndarray]) -> None:
    names = [f"{bus}.{phase}" for bus, phase in ours[0]]
    assert names == theirs[0]
    assert np.abs(ours[1] - theirs[1]).max() < 1e-9 * np.abs(theirs[1]).max() + 1e-7  # 4.2e-8 S on every line of theirs


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformer(tmp_path: Path, name: str) -> None:
    text = TRANSFORMERS[name]
    made = feeder(tmp_path, text).transformers
    assert_same(transformer_primitive(made[0]), oracle.primitive("transformer.t", *commands(text)))


@pytest.mark.parametrize("name", LINES)
def test_line(tmp_path: Path, name: str) -> None:
    made = feeder(tmp_path, LINES[name]).lines[0]
    assert_same(line_primitive(made), oracle.primitive("line.l", *commands(LINES[name])))
    assert made.switch == (name == "switch")


@pytest.mark.parametrize("name", CAPACITORS)
def test_capacitor(tmp_path: Path, name: str) -> None:
    made = feeder(tmp_path, CAPACITORS[name]).capacitors[0]
    assert_same(capacitor_primitive(made), oracle.primitive("capacitor.c", CAPACITORS[name]))


@pytest.mark.parametrize(
    "text",
    [
        "basekv=11 pu=1.05 isc3=3000 isc1=5",
        "basekv=115 mvasc3=20000 mvasc1=21000",
        "basekv=4.16 r1=0 x1=0.0001 r0=0 x0=0.0001",
        "basekv=11",
        "basekv=11 mvasc3=500 mvasc1=300 x1r1=2 x0r0=5",
    ],
)
def test_source(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.dss").write_text(f"set defaultbasefrequency=50\nnew circuit.c bus1=a\nedit vsource.source {text}\n")
    source = read_dss(tmp_path / "f.dss").sources[0]
    names, y = oracle.primitive("vsource.source", f"edit vsource.source {text}")
    assert names == ["a.1", "a.2", "a.3"]
    assert np.abs(np.linalg.inv(source.z_ohm) - y).max() < 1e-9 * np.abs(y).max()
