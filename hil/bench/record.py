"""What a session leaves behind: manifest, verdicts, JUnit, raw data and the page, in one directory.

<out>/
    manifest.json     target, equipment, settings before and after, troubles, counts, digests of the other files
    verdicts.json     every row with its checks
    junit.xml         the same for whoever reads JUnit
    raw.zarr/         t, v, f, p, q of all rows one after the other, and `begin`: first sample of each row
    report.html       everything in one page, nothing is fetched from anywhere
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from hil.bench.page import page
from hil.bench.results import ClauseVerdict, Outcome, Trace, Verdict, by_clause
from hil.bench.session import Session
from vpp import __version__
from vpp.kernel.errors import RunError


def write_record(session: Session, out: Path) -> Path:
    """Write everything and give the page's path; call it after the session, so that settings after it are known.

    Raises:
        RunError: it cannot be written.
    """
    verdicts, clauses = session.verdicts, by_clause(session.verdicts)
    try:
        out.mkdir(parents=True, exist_ok=True)
        rows = json.dumps([v.as_data() for v in verdicts], indent=1, allow_nan=False)
        (out / "verdicts.json").write_text(rows + "\n", "utf-8")
        (out / "junit.xml").write_bytes(junit(verdicts))
        _write_raw(verdicts, out / "raw.zarr")
        manifest = _manifest(session, clauses)
        manifest["sha256"] = {name: _digest(out / name) for name in ("verdicts.json", "junit.xml")}
        (out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
        (out / "report.html").write_text(page(manifest, clauses, verdicts), "utf-8")
    except OSError as error:
        raise RunError(str(out), f"the bench's record cannot be written: {error.strerror or error}") from error
    return out / "report.html"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _manifest(session: Session, clauses: Sequence[ClauseVerdict]) -> dict[str, Any]:
    lab, n = session.lab, session.lab.eut.nameplate
    return {
        "what": "test bench, procedures of IEEE 1547.1",
        "target": lab.name,
        "version": __version__,
        "equipment": session.identity,
        "nameplate": {name: getattr(n, name) for name in n.__slots__},
        "sources": {
            name: type(part).__name__ if part is not None else None
            for name, part in (("grid", lab.grid), ("dc", lab.dc), ("meter", lab.meter))
        },
        "uncertainty": {name: getattr(lab.u, name) for name in lab.u.__slots__},
        "counts": {str(o): sum(v.outcome == o for v in session.verdicts) for o in Outcome},
        "clauses": [
            {
                "suite": c.suite,
                "clause": c.clause,
                "verdict": c.spoken,
                "passed": c.passed,
                "failed": c.failed,
                "not run": c.not_run,
            }
            for c in clauses
        ],
        "restored": not session.troubles,
        "troubles": session.troubles,
        "settings": {"before": session.before, "after": session.after},
        "registers": session.raw,
    }


def _write_raw(verdicts: Sequence[Verdict], path: Path) -> None:
    import zarr

    traces = [v.finding.trace for v in verdicts]
    whole = Trace.joined(traces)
    group = zarr.open_group(str(path), mode="w")
    group.attrs["rows"] = [v.name for v in verdicts]
    units = {"t_s": "s", "v_pu": "pu", "f_hz": "Hz", "p_pu": "pu of rated", "q_pu": "pu of nameplate VA"}
    for name, unit in units.items():
        values = getattr(whole, name)
        array = group.create_array(name, shape=values.shape, chunks=(max(1, min(values.size, 65536)),), dtype="float64")
        if values.size:
            array[:] = values
        array.attrs["unit"] = unit
    begin = np.cumsum([0, *(t.t_s.size for t in traces)])
    group.create_array("begin", shape=begin.shape, dtype="int64")[:] = begin


def junit(verdicts: Sequence[Verdict]) -> bytes:
    """JUnit's XML: a suite each, a case each row, its clause as a property; not run is skipped."""
    root = ET.Element("testsuites", name="IEEE 1547.1")
    for suite in dict.fromkeys(v.suite for v in verdicts):
        rows = [v for v in verdicts if v.suite == suite]
        count = {o: str(sum(v.outcome == o for v in rows)) for o in Outcome}
        element = ET.SubElement(
            root, "testsuite", name=suite, tests=str(len(rows)), failures=count[Outcome.FAILED], errors="0",
            skipped=count[Outcome.NOT_RUN],
        )  # fmt: skip
        for v in rows:
            case = ET.SubElement(element, "testcase", classname=f"{suite}.{v.procedure}", name=v.row)
            properties = ET.SubElement(case, "properties")
            ET.SubElement(properties, "property", name="clause", value=v.clause)
            ET.SubElement(properties, "property", name="verdict", value=v.spoken)
            if v.outcome is Outcome.FAILED:
                ET.SubElement(case, "failure", message=v.reason).text = "\n".join(map(str, v.finding.checks))
            elif v.outcome is Outcome.NOT_RUN:
                ET.SubElement(case, "skipped", message=v.reason)
    ET.indent(root)
    found: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return found
