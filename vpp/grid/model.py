"""A network as its elements, not yet compiled: one table a kind of element, numpy columns, injections positive.

It is what our own network format stores, what the topology and the validation read, and what is turned into pandapower
and back. `SCHEMA` is the one place that knows a column's name, unit, and its name and sign in pandapower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Table = dict[str, npt.NDArray[Any]]


class Column(NamedTuple):
    """A column of a table: ours = factor · pandapower's; ``dtype`` "U" is text, ``default`` holds where there is none."""

    name: str
    theirs: str
    dtype: str = "f8"
    factor: float = 1.0
    default: Any = np.nan


def _columns(text: str) -> tuple[Column, ...]:
    """Columns written ``name[=theirs][:dtype][*factor][?default]``, one a word."""
    found = []
    for word in text.split():
        word, _, default = word.partition("?")
        word, _, factor = word.partition("*")
        word, _, dtype = word.partition(":")
        name, _, theirs = word.partition("=")
        kind = dtype or "f8"
        empty: Any = {"f8": np.nan, "i8": -1, "b1": False, "U": ""}[kind]
        value: Any = empty if not default else default if kind == "U" else default == "1" if kind == "b1" else float(default)
        found.append(Column(name, theirs or name, kind, float(factor or 1.0), value))
    return tuple(found)


_HEAD, _ON = "id:i8 name:U", "in_service:b1?1"
_OF_TAP = ("side:U", "neutral", "min", "max", "step_percent", "step_degree", "pos", "changer_type:U")
_TAP = " ".join(f"tap{t}_{column}" for t in ("", "2") for column in _OF_TAP)
# "zip" are the parts of a load that depend on voltage; "profile" and "type" are SimBench's.
_ZIP = " ".join(f"const_{a}_{b}_percent?0" for a in "zi" for b in "pq")
_SCHEMA_TEXT: Final = {
    "bus": f"{_HEAD} vn_kv vm_min_pu=min_vm_pu vm_max_pu=max_vm_pu x y type:U zone:U {_ON}",
    "line": f"{_HEAD} from_bus:i8 to_bus:i8 length_km r_ohm_per_km x_ohm_per_km c_nf_per_km g_us_per_km?0 max_i_ka "
    f"df?1 parallel?1 r0_ohm_per_km x0_ohm_per_km c0_nf_per_km g0_us_per_km std_type:U {_ON}",
    "trafo": f"{_HEAD} hv_bus:i8 lv_bus:i8 s_mva=sn_mva vn_hv_kv vn_lv_kv vk_percent vkr_percent pfe_kw i0_percent "
    f"shift_degree?0 {_TAP} parallel?1 df?1 vector_group:U vk0_percent vkr0_percent mag0_percent mag0_rx "
    f"si0_hv_partial std_type:U {_ON}",
    "trafo3w": f"{_HEAD} hv_bus:i8 mv_bus:i8 lv_bus:i8 s_hv_mva=sn_hv_mva s_mv_mva=sn_mv_mva s_lv_mva=sn_lv_mva vn_hv_kv "
    "vn_mv_kv vn_lv_kv vk_hv_percent vk_mv_percent vk_lv_percent vkr_hv_percent vkr_mv_percent vkr_lv_percent pfe_kw i0_percent "
    f"shift_mv_degree?0 shift_lv_degree?0 {_TAP} tap_at_star_point:b1 std_type:U {_ON}",
    "switch": f"{_HEAD} bus:i8 element:i8 et:U type:U closed:b1?1 z_ohm?0 in_ka",
    "source=ext_grid": f"{_HEAD} bus:i8 vm_pu va_degree?0 s_sc_max_mva s_sc_min_mva rx_max rx_min {_ON}",
    "load": f"{_HEAD} bus:i8 p_mw*-1 q_mvar*-1 s_mva=sn_mva scaling?1 {_ZIP} type:U profile:U {_ON}",
    "sgen": f"{_HEAD} bus:i8 p_mw q_mvar s_mva=sn_mva scaling?1 type:U profile:U {_ON}",
    "storage": f"{_HEAD} bus:i8 p_mw*-1 q_mvar*-1 s_mva=sn_mva scaling?1 e_max_mwh=max_e_mwh e_min_mwh=min_e_mwh "
    f"p_max_mw=min_p_mw*-1 p_min_mw=max_p_mw*-1 soc=soc_percent*0.01 efficiency_percent type:U profile:U {_ON}",
    "gen": f"{_HEAD} bus:i8 p_mw vm_pu s_mva=sn_mva q_min_mvar=min_q_mvar q_max_mvar=max_q_mvar scaling?1 slack:b1 "
    f"slack_weight?0 type:U profile:U {_ON}",
    "shunt": f"{_HEAD} bus:i8 p_mw*-1 q_mvar*-1 vn_kv step?1 max_step?1 {_ON}",
    "impedance": f"{_HEAD} from_bus:i8 to_bus:i8 rft_pu xft_pu rtf_pu xtf_pu gf_pu?0 bf_pu?0 gt_pu?0 bt_pu?0 s_mva=sn_mva {_ON}",
    "ward": f"{_HEAD} bus:i8 ps_mw*-1 qs_mvar*-1 pz_mw*-1 qz_mvar*-1 {_ON}",
    "xward": f"{_HEAD} bus:i8 ps_mw*-1 qs_mvar*-1 pz_mw*-1 qz_mvar*-1 r_ohm x_ohm vm_pu slack_weight?0 {_ON}",
}
SCHEMA: Final[Mapping[str, tuple[Column, ...]]] = {key.partition("=")[0]: _columns(text) for key, text in _SCHEMA_TEXT.items()}
_THEIRS: Final = {key.partition("=")[0]: key.partition("=")[2] or key for key in _SCHEMA_TEXT}
# Tables of a pandapower network that are no elements of the network itself.
_BESIDE: Final = {
    "measurement", "pwl_cost", "poly_cost", "controller", "group", "characteristic", "trafo_characteristic_table",
    "shunt_characteristic_table", "q_capability_curve_table", "q_capability_characteristic", "bus_geodata", "line_geodata",
    "substation",
}  # fmt: skip


@dataclass(slots=True)
class NetworkModel:
    """The elements of a network.

    Attributes:
        name, sn_mva, f_hz: of the whole network.
        tables: by kind (see `SCHEMA`), columns of equal length; every kind and column is there.
        unsupported: kinds of elements of the source that are not kept, with their number.
        notes: what was decided on the way here.
    """

    name: str
    sn_mva: float
    f_hz: float
    tables: dict[str, Table]
    unsupported: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of_pandapower(cls, net: Any, notes: tuple[str, ...] = ()) -> NetworkModel:
        """Take the elements out of a pandapower network."""
        tables = {kind: _taken(net, kind, columns) for kind, columns in SCHEMA.items()}
        known = {*_THEIRS.values(), *_BESIDE}
        others = {
            str(name): len(table)
            for name, table in net.items()
            if hasattr(table, "columns") and "in_service" in table.columns and name not in known
            if not str(name).startswith(("_", "res_")) and bool(table["in_service"].any())
        }
        return cls(str(net.get("name") or ""), float(net.sn_mva), float(net.f_hz), tables, others, notes)

    def to_pandapower(self) -> Any:
        """Make a pandapower network of the elements."""
        import pandapower as pp

        net = pp.create_empty_network(name=self.name, f_hz=self.f_hz, sn_mva=self.sn_mva)
        for kind, columns in SCHEMA.items():
            if len(self.tables[kind]["id"]):
                _given(net, _THEIRS[kind], self.tables[kind], columns)
        return net

    @property
    def n_bus(self) -> int:
        """Number of buses."""
        return len(self.tables["bus"]["id"])

    def position(self, kind: str = "bus") -> dict[int, int]:
        """Row of each id of a kind."""
        return {int(number): row for row, number in enumerate(self.tables[kind]["id"])}


def _taken(net: Any, kind: str, columns: tuple[Column, ...]) -> Table:
    """A table of ours from pandapower's."""
    import pandas as pd

    found = net[_THEIRS[kind]] if _THEIRS[kind] in net else pd.DataFrame()
    n, table = len(found), {}
    for column in columns:
        if column.name == "id":
            table["id"] = found.index.to_numpy().astype(np.int64) if n else np.zeros(0, np.int64)
        elif kind == "bus" and column.name in ("x", "y"):
            table[column.name] = _coordinates(found, 0 if column.name == "x" else 1)
        elif column.theirs not in found:
            table[column.name] = np.full(n, column.default, column.dtype if column.dtype != "U" else np.object_)
        elif column.dtype == "U":
            texts = ["" if v is None or v != v or str(v) in ("None", "<NA>") else str(v) for v in found[column.theirs].tolist()]
            table[column.name] = np.array(texts, np.object_)
        else:
            values = np.array(pd.to_numeric(found[column.theirs], errors="coerce"), np.float64)
            values[np.isnan(values)] = column.default / column.factor if column.dtype == "f8" else column.default
            table[column.name] = (0.0 + column.factor * values).astype(column.dtype)
    return table


def _coordinates(table: Any, axis: int) -> npt.NDArray[np.float64]:
    """A bus's coordinate out of pandapower's GeoJSON points."""
    import json

    if "geo" not in table:
        return np.full(len(table), np.nan)
    points = [json.loads(text)["coordinates"] if isinstance(text, str) and text else None for text in table["geo"].tolist()]
    return np.array([np.nan if point is None else float(point[axis]) for point in points], np.float64)


def _given(net: Any, theirs: str, table: Table, columns: tuple[Column, ...]) -> None:
    """Fill a table of pandapower from ours; what was never stated stays away."""
    import json

    import pandas as pd

    out: dict[str, Any] = {}
    for column in columns:
        values = table[column.name]
        if column.name in ("id", "x", "y"):
            continue
        if column.dtype == "U":
            if column.theirs in net[theirs] or any(values):
                out[column.theirs] = [v or None for v in values.tolist()]
        elif column.dtype == "f8":
            if column.theirs in net[theirs] or np.isfinite(values).any():
                out[column.theirs] = values / column.factor
        else:
            out[column.theirs] = values
    if "x" in table:
        pairs = zip(table["x"].tolist(), table["y"].tolist(), strict=True)
        out["geo"] = [json.dumps({"coordinates": p, "type": "Point"}) if p[0] == p[0] else None for p in pairs]
    frame = pd.DataFrame(out, index=pd.Index(table["id"]))
    for name in [c for c in net[theirs] if c not in frame]:
        dtype = net[theirs][name].dtype
        empty = pd.Series(None, index=frame.index, dtype=dtype if dtype.kind in "fO" else object)
        frame[name] = False if dtype.kind == "b" else empty
    whole = {c: "uint32" for c in map(str, frame) if c in ("parallel", "step", "max_step") or c.endswith("bus")}
    net[theirs] = frame.astype({**whole, **({"element": "int64"} if "element" in frame else {})})
