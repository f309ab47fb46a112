"""Runs a script of the subset: which objects there are, with which properties, from which line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from vpp.grid.dss.classes import (
    ALIASES,
    IGNORED_CLASSES,
    IGNORED_COMMANDS,
    IGNORED_OPTIONS,
    PASSED,
    READ,
)
from vpp.grid.dss.text import DssSyntaxError, Statement, Token, number, numbers, statements, truth
from vpp.kernel.errors import Finding

_DEPTH = 20  # files that redirect to one another


@dataclass(frozen=True, slots=True)
class Property:
    """A property as it was set."""

    name: str
    value: Any
    file: Path
    line: int
    command: int  # which command of the script set it


@dataclass(slots=True)
class DssObject:
    """An object with its properties in the order in which they were set."""

    kind: str
    name: str
    file: Path
    line: int
    properties: list[Property] = field(default_factory=list)
    enabled: bool = True

    def get(self, name: str, default: Any = None) -> Any:
        """Look up what was last set."""
        for prop in reversed(self.properties):
            if prop.name == name:
                return prop.value
        return default

    def by_command(self) -> list[list[Property]]:
        """Properties in groups, as commands set them; OpenDSS draws its conclusions at the end of each."""
        return [list(group) for _, group in groupby(self.properties, key=lambda prop: prop.command)]

    def has(self, *names: str) -> bool:
        """Say whether any of these was set."""
        return any(prop.name in names for prop in self.properties)


class Script:
    """Objects, options and findings of a script and the files that it redirects to."""

    def __init__(self) -> None:
        """Start empty."""
        self.circuit = ""
        self.objects: dict[tuple[str, str], DssObject] = {}
        self.f_hz = 60.0
        self.voltage_bases_kv: tuple[float, ...] = ()
        self.xy: dict[str, tuple[float, float]] = {}
        self.findings: list[Finding] = []
        self.passed_over: dict[str, int] = {}
        self._command = 0

    def of(self, kind: str) -> list[DssObject]:
        """List the enabled objects of a class, in the order of their definition."""
        return [o for (k, _), o in self.objects.items() if k == kind and o.enabled]

    def report(self, file: Path, line: int, message: str, value: str = "") -> None:
        """Keep a finding."""
        self.findings.append(Finding(message, str(file), line, value=value))

    def run(self, file: Path, depth: int = 0) -> None:
        """Run a file."""
        try:
            text = file.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            self.report(file, 0, f"cannot be read: {error.strerror}")
            return
        for statement in statements(text, lambda line, message: self.report(file, line, message)):
            try:
                self._statement(file, statement, depth)
            except DssSyntaxError as error:
                self.report(file, statement.line, str(error))

    def _statement(self, file: Path, statement: Statement, depth: int) -> None:
        """Run one command."""
        self._command += 1
        head, rest = statement.tokens[0], statement.tokens[1:]
        if head.name.count(".") >= 2:  # Class.Name.property=value
            kind, _, tail = head.name.partition(".")
            name, _, prop = tail.rpartition(".")
            self._edit(file, Token("", f"{kind}.{name}", head.line), [Token(prop, head.value, head.line), *rest])
            return
        command = (head.name or head.value).lower()
        if command in ("new", "edit"):
            target = rest[0] if rest else Token("", "", head.line)
            if target.name not in ("", "object"):
                raise DssSyntaxError(f"{command} needs a class and a name first, Class.Name")
            (self._new if command == "new" else self._edit)(file, target, rest[1:])
        elif command == "set":
            for token in rest:
                self._option(file, token)
        elif command in ("redirect", "compile"):
            self._redirect(file, head if head.name else rest[0] if rest else head, depth)
        elif command == "buscoords":
            self._coordinates(file, rest[0] if rest else head)
        elif command in IGNORED_COMMANDS:
            self._pass(f"command {command}")
        else:
            raise DssSyntaxError(f"command {command!r} is outside the subset")

    def _pass(self, what: str) -> None:
        """Count what is passed over."""
        self.passed_over[what] = self.passed_over.get(what, 0) + 1

    def _redirect(self, file: Path, token: Token, depth: int) -> None:
        """Run another file, relative to this one."""
        path = _beside(file, token.value)
        if depth >= _DEPTH:
            raise DssSyntaxError(f"more than {_DEPTH} files redirect to one another")
        if not path.is_file():
            raise DssSyntaxError(f"no file {token.value}")
        self.run(path, depth + 1)

    def _option(self, file: Path, token: Token) -> None:
        """Take ``set name=value``."""
        if token.name == "defaultbasefrequency":
            self.f_hz = number(token.value)
        elif token.name == "voltagebases":
            self.voltage_bases_kv = tuple(numbers(token.value))
        elif token.name in IGNORED_OPTIONS:
            self._pass(f"option {token.name}")
        else:
            self.report(file, token.line, f"option {token.name or token.value} is outside the subset")

    def _split(self, target: Token) -> tuple[str, str]:
        """Class and name of an object, lower case."""
        kind, dot, name = target.value.lower().partition(".")
        if not dot or not name:
            raise DssSyntaxError(f"{target.value!r} is not Class.Name")
        return kind, name

    def _new(self, file: Path, target: Token, rest: Iterable[Token]) -> None:
        """Define an object."""
        kind, name = self._split(target)
        if kind in IGNORED_CLASSES:
            self._pass(f"class {kind}")
            return
        if kind == "circuit":
            if self.circuit:
                raise DssSyntaxError("a second circuit")
            self.circuit, name = name, "source"
        kind = ALIASES.get(kind, kind)
        if kind not in READ:
            raise DssSyntaxError(f"class {kind!r} is outside the subset" + _suggest(kind, READ))
        if (kind, name) in self.objects:
            raise DssSyntaxError(f"{kind}.{name} is defined twice")
        made = DssObject(kind, name, file, target.line)
        self.objects[kind, name] = made
        self._properties(file, made, rest)

    def _edit(self, file: Path, target: Token, rest: Iterable[Token]) -> None:
        """Change an object."""
        kind, name = self._split(target)
        if kind in IGNORED_CLASSES:
            return
        known = self.objects.get((kind, name))
        if known is None:
            names = [n for k, n in self.objects if k == kind]
            raise DssSyntaxError(f"there is no {kind}.{name}" + _suggest(name, names))
        self._properties(file, known, rest)

    def _properties(self, file: Path, target: DssObject, rest: Iterable[Token]) -> None:
        """Read properties, one finding for each that cannot be used."""
        readers = READ[target.kind]
        for token in rest:
            if not token.name:
                self.report(file, token.line, f"{target.kind}.{target.name}: values need their property's name", token.value)
            elif token.name == "like":
                self._like(file, target, token)
            elif token.name == "enabled":
                self._read(file, token, truth, lambda value: setattr(target, "enabled", value))
            elif token.name in readers:
                place = (file, token.line, self._command)
                keep = partial(_append, target, token.name, place)
                self._read(file, token, readers[token.name], keep)
            elif token.name in PASSED[target.kind]:
                self._pass(f"{target.kind}.{token.name}")
            else:
                known = [*readers, *PASSED[target.kind]]
                message = f"property {token.name!r} of {target.kind} is outside the subset" + _suggest(token.name, known)
                self.report(file, token.line, message)

    def _read(self, file: Path, token: Token, reader: Any, keep: Any) -> None:
        """Read a value, or report it."""
        try:
            keep(reader(token.value))
        except DssSyntaxError as error:
            self.report(file, token.line, f"{token.name}: {error}")

    def _like(self, file: Path, target: DssObject, token: Token) -> None:
        """Copy another object's properties."""
        other = self.objects.get((target.kind, token.value.lower()))
        if other is None:
            self.report(file, token.line, f"like: there is no {target.kind}.{token.value}")
        else:
            target.properties += other.properties

    def _coordinates(self, file: Path, token: Token) -> None:
        """Read a file of bus, x, y."""
        path = _beside(file, token.value)
        if not path.is_file():
            raise DssSyntaxError(f"no file {token.value}")
        for line, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            parts = text.replace(",", " ").split()
            if not parts:
                continue
            try:
                self.xy[parts[0].lower()] = (float(parts[1]), float(parts[2]))
            except (IndexError, ValueError):
                self.report(path, line, "expected bus, x, y", text)


def _append(target: DssObject, name: str, place: tuple[Path, int, int], value: Any) -> None:
    """Keep a property."""
    target.properties.append(Property(name, value, *place))


def _beside(file: Path, text: str) -> Path:
    """Path of a file named in another one, whichever slash it uses."""
    return (file.parent / text.replace("\\", "/")).resolve()


def _suggest(name: str, known: Iterable[str]) -> str:
    """Write "; did you mean a?" where a known name is near."""
    near = difflib.get_close_matches(name, list(known), 1, 0.7)
    return f"; did you mean {near[0]}?" if near else ""
