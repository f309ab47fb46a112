"""The server's model as SCL (IEC 61850-6), generated from the point table: nodes, types, data sets and report control blocks.

The rows say which attributes there are; the common data class follows from them (IEC 61850-7-3), and what a class needs beside
them (quality, time, the services of a control, the nodes LLN0 and LPHD) is added.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vpp.kernel.errors import PointError
from vpp.wire.iec61850.address import NODE, Address, parse
from vpp.wire.iec61850.control import DIRECT, SELECT, SELECT_ENHANCED
from vpp.wire.points import Point, PointTable

MEMBERS_EACH: Final = 50  # members of one data set: a whole report stays far below any PDU
CONTROL_MODELS: Final = (
    "status-only", "direct-with-normal-security", "sbo-with-normal-security", "direct-with-enhanced-security",
    "sbo-with-enhanced-security",
)  # fmt: skip
MODES: Final = {"on": 1, "on-blocked": 2, "test": 3, "test/blocked": 4, "off": 5}
HEALTH: Final = {"Ok": 1, "Warning": 2, "Alarm": 3}
ENUMS: Final = {"Mod": MODES, "Beh": MODES, "Health": HEALTH, "PhyHealth": HEALTH}
BASIC: Final = {
    "bool": "BOOLEAN", "double_point": "Dbpos", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "INT8U", "uint16": "INT16U", "uint32": "INT32U", "float32": "FLOAT32", "float64": "FLOAT64",
}  # fmt: skip
# Names of attributes of data (7-3): what stands before one in a path is a data object, or a sub data object.
ATTRIBUTES: Final = (
    "mag", "instMag", "cVal", "instCVal", "mxVal", "stVal", "actVal", "frVal", "setMag", "setVal", "subMag", "subVal", "Oper",
    "ctlModel", "db", "zeroDb", "general",
)  # fmt: skip
CDC: Final = {"mag": "MV", "cVal": "CMV", "actVal": "BCR", "setMag": "ASG"}


@dataclass(frozen=True, slots=True)
class Options:
    """What the table does not say.

    Attributes:
        control_model: of every control (7-2, 20): 1 direct, 2 select, 3 and 4 the same with enhanced security.
        select_s: how long a select holds.
        clients: how many may have reports of their own.
    """

    control_model: int = DIRECT
    select_s: float = 30.0
    clients: int = 4


class Types:
    """The data type templates; what is alike is one type."""

    def __init__(self) -> None:
        """None yet."""
        self._made: dict[tuple[str, str], tuple[str, ET.Element]] = {}

    def add(self, tag: str, attributes: dict[str, str], children: Sequence[ET.Element]) -> str:
        """The id of a type with this content."""
        element = ET.Element(tag, attributes)
        element.extend(children)
        key = tag, ET.tostring(element, "unicode")
        if key not in self._made:
            name = f"{attributes.get('lnClass') or attributes.get('cdc') or tag}_{len(self._made) + 1}"
            element.attrib = {"id": name, **attributes}
            self._made[key] = name, element
        return self._made[key][0]

    def enum(self, name: str, values: dict[str, int]) -> str:
        """The id of an enumeration."""
        children = []
        for text, number in values.items():
            value = ET.Element("EnumVal", {"ord": str(number)})
            value.text = text
            children.append(value)
        return self.add("EnumType", {"desc": name}, children)

    def element(self) -> ET.Element:
        """All of them, in the schema's order."""
        whole = ET.Element("DataTypeTemplates")
        for tag in ("LNodeType", "DOType", "DAType", "EnumType"):
            whole.extend(element for (kind, _), (_, element) in self._made.items() if kind == tag)
        return whole


def deadbanded(point: Point) -> bool:
    """Whether a point's magnitude keeps still within a deadband, with the momentary one beside it (7-3, db)."""
    return point.deadband > 0.0 and ".mag." in point.address


def instant(address: Address) -> Address:
    """The momentary value beside a magnitude."""
    names = {"mag": "instMag", "cVal": "instCVal"}
    path = [*address.path]
    at = next(i for i, step in enumerate(path) if step in names)
    path[at] = names[path[at]]
    return Address(address.ld, address.ln, tuple(path), address.fc)


Tree = dict[str, "Tree | str"]  # name -> what is below it, or the wire type of a leaf


def generate(table: PointTable, options: Options, ied: str = "DER") -> str:
    """The SCL of a server for this table. Raises `PointError`."""
    rows = [(parse(point), point.wire, point.id) for point in table.points]
    rows += [(instant(parse(point)), point.wire, point.id) for point in table.points if deadbanded(point)]
    types = Types()
    server = ET.Element("Server")
    ET.SubElement(server, "Authentication")
    for ld in dict.fromkeys(address.ld for address, _, _ in rows):
        mine = [row for row in rows if row[0].ld == ld]
        device = ET.SubElement(server, "LDevice", {"inst": ld, "ldName": ld})
        first = _node(types, "LLN0", [row for row in mine if row[0].ln == "LLN0"], options)
        readable = [address for point in table.points if "r" in point.access and (address := parse(point)).ld == ld]
        _reports(first, ld, readable, options)
        device.append(first)
        for ln in dict.fromkeys(["LPHD1", *(address.ln for address, _, _ in mine)]):
            if ln != "LLN0":
                device.append(_node(types, ln, [row for row in mine if row[0].ln == ln], options))
    scl = ET.Element("SCL", {"xmlns": "http://www.iec.ch/61850/2003/SCL", "version": "2007", "revision": "B", "release": "4"})
    ET.SubElement(scl, "Header", {"id": ied})
    device = ET.SubElement(scl, "IED", {"name": ied})
    services = ET.SubElement(device, "Services")
    ET.SubElement(
        services, "ReportSettings", {"optFields": "Dyn", "trgOps": "Dyn", "intgPd": "Dyn", "resvTms": "true", "owner": "true"}
    )
    ET.SubElement(device, "AccessPoint", {"name": "MMS"}).append(server)
    scl.append(types.element())
    return ET.tostring(scl, "unicode")


def _node(types: Types, ln: str, rows: Iterable[tuple[Address, str, str]], options: Options) -> ET.Element:
    found = NODE.fullmatch(ln)
    assert found is not None
    class_, prefix, number = found[1] or found[3], found[2] or "", found[4] or ""
    objects = _own(class_)
    for address, wire, name in rows:
        tree = objects.setdefault(address.path[0], {})
        for step in _split(address)[:-1]:
            inner = tree.setdefault(step, {})
            if isinstance(inner, str):
                raise PointError(name, f"{address.item}: another row's value stands above it")
            tree = inner
        if tree.setdefault(_split(address)[-1], wire) != wire:
            raise PointError(name, f"{address.item}: another row has it as another type, or has a value below it")
    children = []
    for do, tree in objects.items():
        kind = _object(types, do, tree, options)
        children.append(ET.Element("DO", {"name": do, "type": kind}))
    type_ = types.add("LNodeType", {"lnClass": class_}, children)
    tag = "LN0" if class_ == "LLN0" else "LN"
    return ET.Element(tag, {"lnClass": class_, "inst": number, "lnType": type_, **({"prefix": prefix} if prefix else {})})


def _own(class_: str) -> dict[str, Tree]:
    """What every node of a class has: how it behaves, and the health of the device."""
    if class_ == "LPHD":
        return {"PhyNam": {"DC vendor": "text"}, "PhyHealth": {"ST stVal": "int8"}, "Proxy": {"ST stVal": "bool"}}
    own: dict[str, Tree] = {"Beh": {"ST stVal": "int8"}}
    if class_ == "LLN0":
        own |= {
            "Mod": {"ST stVal": "int8", "CF ctlModel": "status-only"}, "Health": {"ST stVal": "int8"},
            "NamPlt": {"DC vendor": "text", "DC configRev": "text"},
        }  # fmt: skip
    return own


def _split(address: Address) -> list[str]:
    """Steps below the data object: sub data objects as they are, the attribute with its functional constraint before it."""
    steps = list(address.path[1:])
    at = next((i for i, step in enumerate(steps) if step in ATTRIBUTES), 0)
    return [*steps[:at], f"{address.fc} {steps[at]}", *steps[at + 1 :]]


def _object(types: Types, name: str, tree: Tree, options: Options) -> str:
    """The id of a data object's type."""
    tree = _complete(tree, options)
    below = []
    for step, inner in tree.items():
        fc, _, attribute = step.rpartition(" ")
        if not fc:
            assert isinstance(inner, dict)
            below.append(ET.Element("SDO", {"name": step, "type": _object(types, step, inner, options)}))
            continue
        element = _attribute(types, "DA", attribute, inner, name, options)
        element.set("fc", fc)
        if attribute == "q":
            element.set("qchg", "true")
        elif attribute != "t" and fc in ("MX", "ST", "SP"):
            element.set("dchg", "true")
        below.append(element)
    return types.add("DOType", {"cdc": _cdc(name, tree)}, below)


def _complete(tree: Tree, options: Options) -> Tree:
    """A data object with what its class needs beside the rows."""
    out = dict(tree)
    oper = out.pop("CO Oper", None)
    if oper is not None:
        assert isinstance(oper, dict)
        value = oper["ctlVal"]
        shown: Tree | str = value if isinstance(value, str) else dict(value)
        if isinstance(value, dict):
            out.setdefault("MX mxVal", shown)
        elif "MX mxVal" not in out:
            out.setdefault("ST stVal", shown)
    for fc in ("MX", "ST"):
        if any(step.startswith(f"{fc} ") for step in out):
            out.setdefault(f"{fc} q", "quality")
            out.setdefault(f"{fc} t", "time")
    if oper is not None and isinstance(oper, dict):
        order: Tree = {
            "ctlVal": oper["ctlVal"],
            "origin": {"orCat": "int8", "orIdent": "octets"},
            "ctlNum": "uint8",
            "T": "time",
            "Test": "bool",
        }
        services = ["Oper"]
        if options.control_model == SELECT_ENHANCED:
            services = ["SBOw", "Oper", "Cancel"]
        elif options.control_model == SELECT:
            out["CO SBO"] = "reference"
            services = ["Oper", "Cancel"]
        for service in services:
            out[f"CO {service}"] = dict(order) if service == "Cancel" else {**order, "Check": "check"}
        out["CF ctlModel"] = CONTROL_MODELS[options.control_model]
        if "Cancel" in services:
            out["CF sboTimeout"] = "timeout"
    return out


def _attribute(types: Types, tag: str, name: str, inner: Tree | str, object_: str, options: Options) -> ET.Element:
    if isinstance(inner, dict):
        below = [_attribute(types, "BDA", step, more, object_, options) for step, more in inner.items()]
        return ET.Element(tag, {"name": name, "bType": "Struct", "type": types.add("DAType", {}, below)})
    fixed = {
        "quality": "Quality", "time": "Timestamp", "check": "Check", "octets": "Octet64", "text": "VisString255",
        "reference": "ObjRef", "timeout": "INT32U",
    }  # fmt: skip
    if name == "ctlModel":
        return _enum(types, tag, name, "CtlModelKind", dict(zip(CONTROL_MODELS, range(5))), inner)
    if object_ in ENUMS and name in ("stVal", "ctlVal") and inner == "int8":
        values = ENUMS[object_]
        return _enum(
            types, tag, name, "Health" if values is HEALTH else "Mode", values, next(iter(values)) if name == "stVal" else ""
        )
    element = ET.Element(tag, {"name": name, "bType": fixed.get(inner) or BASIC[inner]})
    if inner == "timeout":
        ET.SubElement(element, "Val").text = str(round(options.select_s * 1000))
    elif inner == "text":
        ET.SubElement(element, "Val").text = "VPP Core" if name == "vendor" else "1"
    return element


def _enum(types: Types, tag: str, name: str, kind: str, values: dict[str, int], first: str) -> ET.Element:
    element = ET.Element(tag, {"name": name, "bType": "Enum", "type": types.enum(kind, values)})
    if first:
        ET.SubElement(element, "Val").text = first
    return element


def _cdc(name: str, tree: Tree) -> str:
    """The common data class that a data object's attributes make (IEC 61850-7-3)."""
    below = {step.rpartition(" ")[2]: inner for step, inner in tree.items()}
    if any(" " not in step for step in tree):
        return "DEL" if "phsAB" in below else "WYE"
    controlled = "Oper" in below or "ctlModel" in below
    if "mxVal" in below:
        return "APC"
    if "stVal" in below:
        kind = below["stVal"]
        if name in ENUMS:
            return "ENC" if controlled else "ENS"
        base = {"bool": "SP", "double_point": "DP"}.get(str(kind), "IN")
        return base + ("C" if controlled else "S")
    if "setVal" in below:
        return "SPG" if below["setVal"] == "bool" else "ING"
    if "vendor" in below:
        return "DPL" if name == "PhyNam" else "LPL"
    return next((cdc for attribute, cdc in CDC.items() if attribute in below), "MV")


def _reports(node: ET.Element, ld: str, readable: Sequence[Address], options: Options) -> None:
    """Data sets over everything that is read, each with a buffered and an unbuffered block for every client."""
    members = dict.fromkeys((a.ln, a.fc, ".".join(_above(a))) for a in readable if a.fc != "CF")
    parts = [list(members)[at : at + MEMBERS_EACH] for at in range(0, len(members), MEMBERS_EACH)]
    for n, part in enumerate(parts, 1):
        data_set = ET.SubElement(node, "DataSet", {"name": f"ds{n}"})
        for ln, fc, do in part:
            found = NODE.fullmatch(ln)
            assert found is not None
            who = {"lnClass": found[1] or found[3], "lnInst": found[4] or "", "prefix": found[2] or ""}
            ET.SubElement(data_set, "FCDA", {"ldInst": ld, **{k: v for k, v in who.items() if v}, "doName": do, "fc": fc})
    for n in range(1, len(parts) + 1):
        for buffered in (True, False):
            name = f"{'brcb' if buffered else 'urcb'}_{n}_"
            block = {
                "name": name,
                "rptID": name,
                "datSet": f"ds{n}",
                "confRev": "1",
                "buffered": str(buffered).lower(),
                "bufTime": "0",
            }
            element = ET.SubElement(node, "ReportControl", block)
            ET.SubElement(element, "TrgOps", {"dchg": "true", "qchg": "true", "period": "true", "gi": "true"})
            ET.SubElement(element, "OptFields", {"seqNum": "true", "timeStamp": "true", "reasonCode": "true", "dataSet": "true"})
            ET.SubElement(element, "RptEnabled", {"max": str(options.clients)})


def _above(address: Address) -> list[str]:
    """The data object and its sub data objects above an attribute."""
    steps = _split(address)
    return [address.path[0], *steps[: next(i for i, step in enumerate(steps) if " " in step)]]
