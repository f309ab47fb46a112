"""YAML as a tree that remembers, for every value, the file and line it came from.

YAML 1.2 (core schema): ``off`` and ``12:00`` are texts, only ``true`` and ``false`` are truth values. A key that
stands twice is a finding. Trees merge (``extends``) and take single values (``--set``) without losing places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scenarios.near import did_you_mean
from vpp.kernel.errors import Finding

Where = tuple[str | int, ...]
_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
SET = "--set"


@dataclass(frozen=True, slots=True)
class Tree:
    """A value (mapping or list of trees, or a scalar) and where it was written. Line 0: on the command line."""

    value: Any
    file: str
    line: int


def read(path: Path, findings: list[Finding]) -> Tree | None:
    """Read a YAML file; None, and findings, where it cannot be read or is not one mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        findings.append(Finding(f"no such file{did_you_mean(path.name, beside)}", str(path)))
        return None
    except (OSError, UnicodeDecodeError) as error:
        findings.append(Finding(f"cannot be read: {error}", str(path)))
        return None
    tree = parse(text, str(path), findings)
    if tree is not None and not isinstance(tree.value, dict):
        findings.append(Finding("a scenario is a mapping of keys to values", str(path), tree.line or 1))
        return None
    return tree


def parse(text: str, file: str, findings: list[Finding]) -> Tree | None:
    """Parse YAML text; None, and a finding, where its syntax is wrong."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark and file != SET else 0
        what = " ".join(filter(None, (error.context, error.problem)))
        findings.append(Finding(f"not YAML: {what}", file, line))
        return None
    except yaml.YAMLError as error:
        findings.append(Finding(f"not YAML: {' '.join(str(error).split())}", file))
        return None
    return Tree(None, file, 0) if node is None else _tree(node, file, findings, ())


def _tree(node: yaml.Node, file: str, findings: list[Finding], above: tuple[yaml.Node, ...]) -> Tree:
    """Turn a YAML node into a tree; ``above`` are the nodes around it."""
    line = 0 if file == SET else node.start_mark.line + 1
    if node in above:
        findings.append(Finding("an alias that contains itself", file, line))
        return Tree(None, file, line)
    if isinstance(node, yaml.SequenceNode):
        return Tree([_tree(child, file, findings, (*above, node)) for child in node.value], file, line)
    if isinstance(node, yaml.ScalarNode):
        return Tree(_scalar(node), file, line)
    entries: dict[str, Tree] = {}
    for key_node, child in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        at = 0 if file == SET else key_node.start_mark.line + 1
        if key in entries:
            findings.append(Finding(f"key {key!r} stands twice, first in line {entries[key].line}", file, at))
            continue
        entries[key] = Tree(_tree(child, file, findings, (*above, node)).value, file, at)
    return Tree(entries, file, line)


def _scalar(node: yaml.ScalarNode) -> Any:
    """Read a scalar as YAML 1.2 does."""
    text = str(node.value)
    if node.style is not None:
        return text
    if _INT.match(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    return float(text) if _FLOAT.match(text) else _WORDS.get(text, text)


def merge(base: Tree, over: Tree) -> Tree:
    """Lay one tree over another: mappings merge key by key, everything else replaces."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    entries = dict(base.value)
    for key, child in over.value.items():
        entries[key] = merge(entries[key], child) if key in entries else child
    return Tree(entries, over.file, over.line)


def plain(tree: Tree) -> Any:
    """The values alone."""
    if isinstance(tree.value, dict):
        return {key: plain(child) for key, child in tree.value.items()}
    return [plain(child) for child in tree.value] if isinstance(tree.value, list) else tree.value


def walk(tree: Tree, at: Where = ()) -> Iterator[tuple[Where, Tree]]:
    """Every value with its path, outer ones first."""
    yield at, tree
    if isinstance(tree.value, dict | list):
        for key, child in tree.value.items() if isinstance(tree.value, dict) else enumerate(tree.value):
            yield from walk(child, (*at, key))


def assign(tree: Tree, override: str, findings: list[Finding]) -> Tree:
    """Apply one ``a.b.0.c=value``; list items go by number or by their id, name or use."""
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        findings.append(Finding("an override is written path=value, e.g. time.days=7", SET, 0, path.strip(), override))
        return tree
    value = parse(text, SET, findings)
    return tree if value is None else _put(tree, keys, value, override, findings)


def _put(tree: Tree, keys: list[str], value: Tree, override: str, findings: list[Finding]) -> Tree:
    """Return the tree with ``value`` at ``keys``, rebuilding only what lies on the way."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(tree.value, list):
        names = [_name(child) for child in tree.value]
        index = int(key) if key.isdigit() else names.index(key) if key in names else -1
        if not 0 <= index < len(names):
            there = f"0…{len(names) - 1}: {', '.join(filter(None, names))}" if names else "the list is empty"
            findings.append(Finding(f"no item {key!r} here ({there})", SET, 0, override.partition("=")[0], override))
            return tree
        items = list(tree.value)
        items[index] = _put(items[index], rest, value, override, findings)
        return Tree(items, tree.file, tree.line)
    if isinstance(tree.value, dict) or tree.value is None:
        entries = dict(tree.value or {})
        entries[key] = _put(entries.get(key, Tree(None, SET, 0)), rest, value, override, findings)
        return Tree(entries, tree.file, tree.line)
    message = f"there is nothing inside {tree.value!r} to set {key!r} in"
    findings.append(Finding(message, SET, 0, override.partition("=")[0], override))
    return tree


def _name(tree: Tree) -> str:
    """What a list item is called, "" if nothing."""
    entries = tree.value if isinstance(tree.value, dict) else {}
    return next((str(entries[key].value) for key in ("id", "name", "use") if key in entries), "")
