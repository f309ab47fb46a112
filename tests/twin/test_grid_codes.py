"""Grid codes as data: complete, marked, with an edition and a source; wrong files are refused with every fault named."""

from __future__ import annotations

import pytest

from tests.twin.test_inverter_functions import one
from twin.devices.inverter import grid_code as g
from vpp.kernel.settings import Settings


@pytest.mark.parametrize("name", g.names())
def test_every_code_is_complete_and_marked(name: str) -> None:
    there = g.choices(name)
    for category in there.get("category", (None,)):
        for ride_through in there.get("ride_through", (None,)):
            code = g.load_code(name, category, ride_through)
            assert code.edition
            assert code.source
            assert code.not_modelled
            assert set(code.values) <= set(Settings.names)
            for prefix in ("qv_v1", "qv_q4", "pf_kof", "es_delay", "of1_trip", "uv2_trip", "const_pf"):
                assert any(key.startswith(prefix) for key in code.values), prefix
            assert set(code.unverified) < set(code.values)


def test_what_nobody_has_checked_says_so() -> None:
    assert g.load_code("ieee1547-2018").unverified == ()
    assert "qv_v1_pu" in g.load_code("vde-ar-n-4105-2018-11").unverified
    assert "qv_v1_pu" not in g.load_code("vde-ar-n-4110").unverified
    assert "pf_basis_of" in g.load_code("vde-ar-n-4110").unverified
    assert "pf_dbof_hz" in g.load_code("en50549-1-2019").unverified


def test_categories_of_ieee_1547() -> None:
    """Tables 8, 11, 12 and 13: what differs between the categories."""
    a, b = g.load_code("ieee1547-2018", "A", "I").values, g.load_code("ieee1547-2018", "B", "III").values
    assert (a["qv_q1_pu"], a["qv_olrt_s"], b["qv_q1_pu"], b["qv_olrt_s"]) == (0.25, 10.0, 0.44, 5.0)
    assert (a["ov1_trip_t_s"], a["uv1_trip_v_pu"], b["ov1_trip_t_s"], b["uv1_trip_v_pu"]) == (2.0, 0.7, 13.0, 0.88)
    assert (a["mc_enable"], b["mc_enable"]) == (0.0, 1.0)
    assert "qv_enable" not in b  # functions stay off until they are asked for
    assert b["trip_enable"] == b["es_enable"] == 1.0


def test_another_nominal_frequency_scales_every_hertz() -> None:
    code = g.load_code("ieee1547-2018").at(50.0)
    assert code.values["of2_trip_f_hz"] == pytest.approx(62.0 * 50 / 60)
    assert code.values["pf_dbof_hz"] == pytest.approx(0.03)
    assert code.values["f_nom_hz"] == 50.0
    assert code.values["ov1_trip_v_pu"] == 1.1


def test_unknown_names_are_answered() -> None:
    with pytest.raises(g.GridCodeError, match="did you mean ieee1547-2018"):
        g.load_code("ieee1547")
    with pytest.raises(g.GridCodeError, match="no category 'C'; there are A, B"):
        g.load_code("ieee1547-2018", "C")
    with pytest.raises(g.GridCodeError, match="has no ride_through"):
        g.load_code("vde-ar-n-4110", ride_through="II")


def test_wrong_file_is_refused_with_everything_that_is_wrong() -> None:
    text = """
code: x
title: t
source: s
nominal_hz: 50
category: {default: A, choices: [A, B]}
values: {qv_v1: {value: 1.0, status: read}, qv_v2_pu: {value: high, status: read}, qv_v3_pu: {value: 1.0, status: sure}}
by_category: {A: {}}
"""
    with pytest.raises(g.GridCodeError) as found:
        g.parse_code(text, "x")
    for message in ("edition is missing", "did you mean qv_v1_pu", "needs a number", "needs a status", "choices of category"):
        assert message in str(found.value)
    with pytest.raises(g.GridCodeError, match="not YAML"):
        g.parse_code("a: [", "x")
    with pytest.raises(g.GridCodeError, match="mapping"):
        g.parse_code("- 1", "x")


@pytest.mark.parametrize(
    ("name", "half"), [("vde-ar-n-4110", 0.33), ("vde-ar-n-4105-2018-11", 0.4359), ("en50549-1-2019", 0.4359)]
)
def test_curves_of_the_european_codes(name: str, half: float) -> None:
    """Q(U) at its points, overfrequency on momentary power, cos phi (P) at its end."""
    values = dict(g.load_code(name).values)
    inverter = one(s=1.2, **{**values, "qv_enable": 1.0, "pf_enable": 1.0})
    points = [(values[f"qv_v{k}_pu"], values[f"qv_q{k}_pu"]) for k in range(1, 5)]
    assert points[0][1] == half
    for v, q in points:
        assert inverter.step(900.0, v, 50.0, 0.5)[1, 0] == pytest.approx(1.2 * q, abs=1e-9)
    inverter.step(900.0, 1.0, 50.0, 0.5)
    assert inverter.step(900.0, 1.0, 51.2, 0.5)[0, 0] == pytest.approx(0.5 * (1 - 0.4))
    by_power = one(s=1.2, **{**values, "pfp_enable": 1.0})
    p, q = by_power.step(900.0, 1.0, 50.0, 1.0)[:, 0]
    assert p / (p * p + q * q) ** 0.5 == pytest.approx(values["pfp_pf2"])
    assert q < 0
