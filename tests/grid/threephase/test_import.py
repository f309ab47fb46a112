"""The OpenDSS importer: what it reads, and what it says of what it does not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.grid.threephase import oracle
from vpp.grid.dss import read_dss
from vpp.grid.dss.text import DssSyntaxError, bus, matrix, number, statements, truth
from vpp.grid.threephase import CurrentInjection, compile_feeder, load_threephase
from vpp.grid.threephase.feeder import GROUND, Feeder
from vpp.kernel.errors import NetworkError

HEAD = "clear\nset defaultbasefrequency=50\nnew circuit.c bus1=a basekv=0.4 mvasc3=100 mvasc1=90\n"


def read(tmp_path: Path, text: str, head: str = HEAD) -> Feeder:
    (tmp_path / "f.dss").write_text(head + text)
    return read_dss(tmp_path / "f.dss")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3.0),
        ("-1e-3", -0.001),
        (".5", 0.5),
        ("8 1000 /", 0.008),
        ("0.00625 12 * 1 +", 1.075),
        ("9 sqrt", 3.0),
        ("3 sqr 1 -", 8.0),
        ("4 inv", 0.25),
        ("2 3 ^", 8.0),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert number(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["", "x", "1 2", "1 +", "1 0 /", "1 x *"])
def test_no_numbers(text: str) -> None:
    with pytest.raises(DssSyntaxError, match="not a number"):
        number(text)


def test_values() -> None:
    assert matrix("1 | 2 3 | 4 5 6") == [[1, 2, 4], [2, 3, 5], [4, 5, 6]]
    assert matrix("1 2 | 2 3") == [[1, 2], [2, 3]]
    with pytest.raises(DssSyntaxError, match="neither a lower triangle nor"):
        matrix("1 2 | 3")
    assert bus("A1.2.0") == ("a1", (2, 0))
    for text in (".1", "a.x", "a.5"):
        with pytest.raises(DssSyntaxError, match="not a bus"):
            bus(text)
    assert [truth(t) for t in ("Yes", "true", "no", "F")] == [True, True, False, False]
    with pytest.raises(DssSyntaxError, match="neither yes nor no"):
        truth("maybe")


def test_comments_continuations_and_quotes() -> None:
    text = (
        "! nothing\n// nothing\nnew a.b x = 1, y=(1 2) ! rest\n~ z='p q' // rest\n\nmore w=[1 | 2 3]\n"
        "/* new c.d\nstill */ new e.f {g}\n"
    )
    found = statements(text, lambda line, message: pytest.fail(f"{line}: {message}"))
    assert [(s.line, [(t.name, t.value, t.line) for t in s.tokens]) for s in found] == [
        (3, [("", "new", 3), ("", "a.b", 3), ("x", "1", 3), ("y", "1 2", 3), ("z", "p q", 4), ("w", "1 | 2 3", 6)]),
        (8, [("", "new", 8), ("", "e.f", 8), ("", "g", 8)]),
    ]
    said: list[tuple[int, str]] = []
    statements("~ x=1\nnew a.b x=(1\n=3\nnew a.b x=\n", lambda line, message: said.append((line, message)))
    assert [line for line, _ in said] == [1, 2, 3, 4]
    assert "none before it" in said[0][1]
    assert "not closed" in said[1][1]


@pytest.mark.parametrize(
    "text",
    [
        "kw=10",
        "kw=10 pf=0.8",
        "kw=10 pf=-0.8",
        "kw=10 kvar=3",
        "kw=10 kvar=3 pf=0.8",
        "pf=0.8 kw=10 kvar=3",
        "kvar=3 pf=0.8 kw=10",
        "kw=10 pf=0.8; kvar=3",
        "kw=10 kvar=3; pf=0.8",
        "kw=10 kvar=3; kw=20",
        "kw=10 kvar=-3; kw=20",
        "kw=10 pf=0.8; kva=20",
        "kva=10 pf=0.8",
        "kva=10 pf=0.8; kw=5",
        "kva=10 kvar=2",
        "kw=5 kvar=2; kva=10",
    ],
)
def test_powers_of_loads_as_opendss_understands_them(tmp_path: Path, text: str) -> None:
    first, _, second = text.partition("; ")
    lines = [f"new load.l bus1=a.1 phases=1 kv=0.23 {first}", *([f"load.l.{second}"] if second else [])]
    load = read(tmp_path, "\n".join(lines)).loads[0]
    oracle.run(*HEAD.splitlines(), *lines, "solve")
    oracle.dss.Loads.Name("l")
    assert (load.p_kw, load.q_kvar) == pytest.approx((oracle.dss.Loads.kW(), oracle.dss.Loads.kvar()))


def test_legs(tmp_path: Path) -> None:
    text = (
        "new load.y bus1=a kv=0.4\nnew load.n bus1=a.1.2.3.4 kv=0.4\nnew load.d bus1=a kv=0.4 conn=delta\n"
        "new load.u bus1=a.3.1 phases=1 kv=0.4 conn=delta\nnew load.v bus1=a.2.4 phases=1 kv=0.23\n"
    )
    a = [("a", k) for k in range(5)]
    legs = {load.name: load.legs for load in read(tmp_path, text).loads}
    assert legs == {
        "y": ((a[1], GROUND), (a[2], GROUND), (a[3], GROUND)),
        "n": ((a[1], a[4]), (a[2], a[4]), (a[3], a[4])),
        "d": ((a[1], a[2]), (a[2], a[3]), (a[3], a[1])),
        "u": ((a[3], a[1]),),
        "v": ((a[2], a[4]),),
    }


def test_edits_likes_files_and_shapes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "loads.dss").write_text(
        "new loadshape.day npts=3 minterval=15 mult=(file=day.csv, column=2, header=yes)\n"
        "New Load.One Bus1=A.1 Phases=1 kV=0.23 kW=2 PF=0.9 Daily=Day\n"
    )
    (tmp_path / "sub" / "day.csv").write_text("x,y\n1,0.25\n1,0.5\n1,0.75\n")
    (tmp_path / "xy.csv").write_text("A, 1, 2\n")
    feeder = read(
        tmp_path,
        "redirect sub\\loads.dss\nnew load.two like=one bus1=a.2\nload.one.kw=3 kvar=1\nedit load.two pf=1\nedit load.two kw=5\n"
        "new load.off like=one enabled=no\nnew loadshape.flat npts=2 interval=1 mult=[1, 1]\nbuscoords xy.csv\n"
        "new monitor.m element=load.one\nsolve\nset mode=daily\n",
    )
    one, two = feeder.loads
    assert (one.p_kw, one.q_kvar, one.shape) == (3.0, 1.0, "day")
    assert (two.p_kw, two.q_kvar, two.legs[0][0]) == (5.0, 0.0, ("a", 2))
    assert feeder.shapes["day"].factor.tolist() == [0.25, 0.5, 0.75]
    assert (feeder.shapes["day"].interval_s, feeder.shapes["flat"].interval_s) == (900.0, 3600.0)
    assert feeder.xy == {"a": (1.0, 2.0)}
    assert "class monitor passed over 1 times" in feeder.notes
    assert "option mode passed over 1 times" in feeder.notes


# What is written after the head (three lines), and the finding that it gives: line and text.
WRONG = [
    ("new load.l bus1=a kv=0.4 kw=abc", 4, "kw: 'abc' is not a number"),
    ("new load.l bus1=a kv=0.4\n~ kww=3", 5, "property 'kww' of load is outside the subset; did you mean kw?"),
    ("new load.l bus1=a kv=0.4\n\n~ model=4", 6, "model 4 is outside the subset"),
    ("new load.l bus1=a kv=0.4 model=8 zipv=[1 0 0 1 0 0]", 4, "seven numbers"),
    ("new load.l bus1=a kv=0", 4, "kv has to be positive"),
    ("new load.l bus1=a kv=0.4 pf=0", 4, "power factor 0"),
    ("new load.l bus1=a.1 kv=0.4", 4, "names 1 nodes, expected 3"),
    ("new load.l bus1=a.1.1.2 kv=0.4", 4, "names a node twice"),
    ("new load.l kv=0.4", 4, "needs bus1"),
    ("new load.l bus1=a kv=0.4 phases=4", 4, "4 phases are outside the subset"),
    ("new load.l bus1=a.1.2 phases=2 kv=0.4 conn=delta", 4, "a delta of two phases is outside"),
    ("new load.l bus1=a kv=0.4 conn=zigzag", 4, "neither wye nor delta"),
    ("new load.l bus1=a kv=0.4 daily=none", 4, "there is no loadshape none"),
    ("new load.l bus1=a kv=0.4\nnew load.l bus1=a", 5, "defined twice"),
    ("new load.l a 3", 4, "values need their property's name"),
    ("edit load.m kw=3", 4, "there is no load.m"),
    ("new storage.s bus1=a", 4, "class 'storage' is outside the subset"),
    ("new line.l bus1=a bus2=b linecode=x", 4, "there is no linecode x"),
    ("new line.l bus1=a bus2=b geometry=g", 4, "property 'geometry' of line is outside the subset"),
    ("new line.l bus1=a bus2=b units=parsec", 4, "unit 'parsec'"),
    ("new line.l bus1=a bus2=b length=0", 4, "is zero"),
    ("new line.l bus1=a bus2=b rmatrix=[1 | 0 1] xmatrix=[1 | 0 1]", 4, "has 2 rows for 3 phases"),
    ("new linecode.x basefreq=60\nnew line.l bus1=a bus2=b linecode=x", 4, "data of 60 Hz in a network of 50 Hz"),
    ("new transformer.t windings=3 buses=[a b c]", 4, "3 windings are outside the subset"),
    ("new transformer.t buses=[a b c]", 4, "3 entries for two windings"),
    ("new transformer.t buses=[a a]", 4, "autotransformer"),
    ("new transformer.t buses=[a b] xhl=0 %loadloss=0", 4, "leakage impedance is zero"),
    ("new transformer.t buses=[a b] phases=2 conns=[delta wye]", 4, "delta winding of two phases"),
    ("new regcontrol.r transformer=t", 4, "there is no transformer 't'"),
    ("new capacitor.c bus1=a bus2=b", 4, "series capacitor"),
    ("new loadshape.s npts=3 mult=[1 2]", 4, "has 2 of 3 points"),
    ("new loadshape.s npts=3 mult=(file=none.csv)", 4, "cannot be read"),
    ("new loadshape.s mult=[1] useactual=yes", 4, "useactual is outside the subset"),
    ("set loadmult=2", 4, "option loadmult is outside the subset"),
    ("batchedit load..* kw=3", 4, "command 'batchedit' is outside the subset"),
    ("redirect none.dss", 4, "no file none.dss"),
    ("redirect f.dss", 3, "second circuit"),
    ("new circuit.d", 4, "a second circuit"),
    ("new load", 4, "is not Class.Name"),
    ("buscoords f.dss", 1, "expected bus, x, y"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), WRONG)
def test_findings_name_file_and_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(NetworkError) as caught:
        read(tmp_path, text)
    found = [row for row in str(caught.value).splitlines() if message in row]
    assert found, str(caught.value)
    assert f"{tmp_path / 'f.dss'}:{line}: " in found[0]


def test_all_findings_at_once(tmp_path: Path) -> None:
    with pytest.raises(NetworkError) as caught:
        read(tmp_path, "new load.l bus1=a kv=x\nfrobnicate\nnew load.m bus1=a kv=0.4 model=7\nset nonsense=1\n")
    text = str(caught.value)
    assert [f"f.dss:{n}:" in text for n in (4, 5, 6, 7)] == [True] * 4


def test_a_script_without_circuit(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="defines no circuit"):
        read(tmp_path, "clear\n", head="")


def test_specifications(tmp_path: Path) -> None:
    path = oracle.path("ieee13")
    for spec, base in ((f"dss:{path}", None), (f"file:{path}", None), ("dss:feeder.dss", path.parent)):
        network = load_threephase(spec, base)
        assert (network.n_node, network.source) == (44, spec)
    for spec in ("feeder.dss", "dss:", "simbench:x", "file:x.json"):
        with pytest.raises(NetworkError, match="expected dss:<path>"):
            load_threephase(spec)
    with pytest.raises(NetworkError, match="no file"):
        load_threephase("dss:none.dss", tmp_path)


def test_a_carried_neutral_floats_by_its_impedance(tmp_path: Path) -> None:
    """Three phases and a neutral that is grounded at the source only: its voltage is its impedance times its current."""
    text = (
        "new transformer.t phases=3 buses=[a b.1.2.3.0] conns=[delta wye] kvs=[0.4 0.4] kvas=[100 100] xhl=1\n"
        "new line.n phases=1 bus1=b.1 bus2=c.1 r1=0.05 x1=0.02 c1=0\nnew line.z phases=1 bus1=b.2 bus2=c.4 r1=0.05 x1=0.02 c1=0\n"
        "new load.l phases=1 bus1=c.1.4 kv=0.4 kw=5 kvar=1\nset voltagebases=[0.4]\nsolve\n"
    )
    feeder = read(tmp_path, text)
    net = compile_feeder(feeder)
    solution = CurrentInjection(net).solve(*net.rated_injections())
    expected = oracle.solve(f"compile [{tmp_path / 'f.dss'}]")
    at = net.node_index()
    for name, v in expected.v.items():
        assert abs(solution.v[at[name]] * net.node_v_base[at[name]] - v) < 1e-5 * abs(v) + 1e-3
    assert np.isfinite(solution.v).all()
