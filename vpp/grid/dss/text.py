"""The OpenDSS script language as text: statements of tokens, values of numbers, arrays, matrices.

A statement is a line with its continuations (``~`` or ``more``); comments are ``!``, ``//`` and ``/* */``. Values
may stand in quotes or brackets; a number may be an expression in reverse Polish notation, ``(0.00625 12 * 1 +)``.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_PAIRS = {'"': '"', "'": "'", "(": ")", "[": "]", "{": "}"}
_WORD = re.compile(r"[^\s,=\"'(\[{]+")
_SPLIT = re.compile(r"[\s,]+")
_BINARY: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
}
_UNARY: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "sqr": lambda x: x * x,
    "inv": lambda x: 1.0 / x,
    "sin": lambda x: math.sin(math.radians(x)),
    "cos": lambda x: math.cos(math.radians(x)),
}


class DssSyntaxError(ValueError):
    """A text that cannot be read; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Token:
    """A parameter: ``name=value``, or a value alone (name "")."""

    name: str  # lower case
    value: str  # without its quotes or brackets
    line: int


@dataclass(slots=True)
class Statement:
    """One command with its parameters."""

    line: int
    tokens: list[Token]


def uncomment(text: str) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a script without comments; empty ones are left out."""
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        rest, kept = line, ""
        while rest:
            if inside:
                _, closed, rest = rest.partition("*/")
                inside = not closed
                continue
            found = re.search(r"!|//|/\*", rest)
            if found is None:
                kept, rest = kept + rest, ""
            elif found.group() == "/*":
                kept, rest, inside = kept + rest[: found.start()], rest[found.end() :], True
            else:
                kept, rest = kept + rest[: found.start()], ""
        if kept.strip():
            yield number, kept.strip()


def tokens(text: str, line: int) -> list[Token]:
    """Split a line into parameters; DssSyntaxError where a bracket is not closed."""
    out: list[Token] = []
    at, name = 0, ""
    while at < len(text):
        if text[at].isspace() or text[at] == ",":
            at += 1
            continue
        if text[at] == "=":
            raise DssSyntaxError("'=' without a name before it")
        value, at = _value(text, at)
        if not name:
            after = re.compile(r"\s*=\s*").match(text, at)
            if after is not None:
                name, at = value.lower(), after.end()
                if at >= len(text):
                    raise DssSyntaxError(f"{name} has no value")
                continue
        out.append(Token(name, value, line))
        name = ""
    return out


def _value(text: str, at: int) -> tuple[str, int]:
    """Read one word or bracketed text; returns it and the position behind it."""
    closing = _PAIRS.get(text[at])
    if closing is not None:
        end = text.find(closing, at + 1)
        if end < 0:
            raise DssSyntaxError(f"{text[at]} is not closed")
        return text[at + 1 : end].strip(), end + 1
    found = _WORD.match(text, at)
    if found is None:
        raise DssSyntaxError(f"cannot read {text[at:]!r}")
    return found.group(), found.end()


def statements(text: str, report: Callable[[int, str], None]) -> list[Statement]:
    """Read a script; what cannot be read is reported by line and left out."""
    out: list[Statement] = []
    for line, content in uncomment(text):
        word, _, rest = content.partition(" ")
        more = word.lower() in ("more", "m") or content.startswith("~")
        try:
            found = tokens((content[1:] if content.startswith("~") else rest) if more else content, line)
        except DssSyntaxError as error:
            report(line, str(error))
            continue
        if not more:
            out.append(Statement(line, found))
        elif out:
            out[-1].tokens += found
        else:
            report(line, "continues a statement, but there is none before it")
    return out


def number(text: str) -> float:
    """Read a number or an expression in reverse Polish notation."""
    try:
        return float(text)
    except ValueError:
        pass
    stack: list[float] = []
    for word in _words(text):
        try:
            if word in _BINARY:
                b, a = stack.pop(), stack.pop()
                stack.append(_BINARY[word](a, b))
            elif word.lower() in _UNARY:
                stack.append(_UNARY[word.lower()](stack.pop()))
            else:
                stack.append(float(word))
        except (ValueError, IndexError, ZeroDivisionError) as error:
            raise DssSyntaxError(f"{text!r} is not a number") from error
    if len(stack) != 1:
        raise DssSyntaxError(f"{text!r} is not a number")
    return stack[0]


def whole(text: str) -> int:
    """Read a whole number."""
    value = number(text)
    if value != int(value):
        raise DssSyntaxError(f"{text!r} is not a whole number")
    return int(value)


def truth(text: str) -> bool:
    """Read yes or no."""
    if text[:1].lower() in ("y", "t"):
        return True
    if text[:1].lower() in ("n", "f"):
        return False
    raise DssSyntaxError(f"{text!r} is neither yes nor no")


def _words(text: str) -> list[str]:
    """Split at blanks and commas."""
    return [word for word in _SPLIT.split(text.strip()) if word]


def words(text: str) -> list[str]:
    """Read an array of words, lower case."""
    return [word.strip("\"'").lower() for word in _words(text)]


def numbers(text: str) -> list[float]:
    """Read an array of numbers."""
    return [number(word) for word in _words(text)]


def matrix(text: str) -> list[list[float]]:
    """Read a symmetric matrix, rows parted by ``|``, whole or its lower triangle."""
    rows = [numbers(row) for row in text.split("|")]
    n = len(rows)
    if all(len(row) == k + 1 for k, row in enumerate(rows)):
        return [[rows[max(i, j)][min(i, j)] for j in range(n)] for i in range(n)]
    if all(len(row) == n for row in rows):
        return rows
    raise DssSyntaxError(f"{text!r} is neither a lower triangle nor a square matrix")


def bus(text: str) -> tuple[str, tuple[int, ...]]:
    """Split ``name.1.2.3`` into the bus's name (lower case) and its node numbers."""
    name, *nodes = text.lower().split(".")
    if not name or not all(node.isdigit() and int(node) <= 4 for node in nodes):
        raise DssSyntaxError(f"{text!r} is not a bus with nodes 0 to 4")
    return name, tuple(int(node) for node in nodes)
