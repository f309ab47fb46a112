"""Pydantic's errors as findings in plain words, each with the file and line of the value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scenarios.near import did_you_mean
from scenarios.schema.tree import Tree, Where
from vpp.kernel.errors import Finding

_WORDS = {
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "string_pattern_mismatch": "must be a name of letters, digits, - and _, beginning with a letter",
    "string_too_short": "must not be empty",
    "too_short": "has too few values: {actual_length} instead of {min_length}",
    "too_long": "has too many values: {actual_length} instead of {max_length}",
    "greater_than_equal": "must be {ge} or more",
}
_SHAPES = {"text": "a text", "list": "a list", "mapping": "a mapping", "number": "a number", "a sample": "{sample, of}"}


def explain(error: ValidationError, tree: Tree, model: type[BaseModel]) -> list[Finding]:
    """Turn every error into findings about ``tree``, from which the data were taken, in the order of the lines."""
    found = [finding for details in error.errors(include_url=False) for finding in _explain(details, tree, model)]
    return sorted(found, key=lambda f: (f.file, f.line))


def _explain(details: ErrorDetails, tree: Tree, model: type[BaseModel]) -> Iterator[Finding]:
    """One error; a contradiction may hold several findings."""
    kind, context = details["type"], details.get("ctx", {})
    where = path_in(tree, details["loc"], missing=kind == "missing")
    if kind == "contradiction":
        for path, message in context["found"]:
            yield locate(tree, (*where, *path), message)
        return
    if kind == "union_tag_invalid" and context["discriminator"].startswith("'"):
        where = (*where, context["discriminator"].strip("'"))
    yield locate(tree, where, _message(kind, context, details, where, model))


def _message(kind: str, context: dict[str, Any], details: ErrorDetails, where: Where, model: type[BaseModel]) -> str:
    """Say it in our words."""
    key = str(where[-1]) if where else ""
    if kind == "extra_forbidden":
        return f"unknown key {key!r}{did_you_mean(key, _keys(model, details['loc'][:-1]))}"
    if kind == "missing":
        return f"a value is missing after the first {key}" if key.isdigit() else f"{key} is missing"
    if kind == "union_tag_not_found":
        choices = sorted({c for m in _models(model, details["loc"]) for c in _choices(m, context["discriminator"].strip("'"))})
        return f"{context['discriminator'].strip(chr(39))} is missing{': one of ' if choices else ''}{', '.join(choices)}"
    if kind == "union_tag_invalid":
        choices = [c.strip(" '") for c in context["expected_tags"].split(",")]
        if context["discriminator"].startswith("'"):
            what, tag = context["discriminator"].strip("'"), str(context["tag"])
            return f"unknown {what} {tag!r}{did_you_mean(tag, choices)} (one of {', '.join(choices)})"
        return f"must be {' or '.join(_SHAPES.get(c, c) for c in choices)}"
    if kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return f"must be one of {', '.join(choices)}{did_you_mean(str(details['input']), choices)}"
    if kind == "bad":
        return str(context["message"])
    return _WORDS[kind].format(**context) if kind in _WORDS else details["msg"]


def path_in(tree: Tree, location: tuple[int | str, ...], *, missing: bool = False) -> Where:
    """Follow pydantic's location through the tree, leaving out the tags of unions."""
    where: Where = ()
    here: Any = tree.value
    for i, part in enumerate(location):
        if part in here if isinstance(here, dict) else isinstance(here, list) and part in range(len(here)):
            here = here[part].value
            where = (*where, part)
        elif missing and i == len(location) - 1:
            where = (*where, part)
    return where


def locate(tree: Tree, where: Where, message: str, severity: str = "error") -> Finding:
    """A finding about the value at ``where``; what is not written stands where its parent does."""
    here = tree
    for part in where:
        children = here.value if isinstance(here.value, dict | list) else {}
        if part not in children if isinstance(children, dict) else part not in range(len(children)):
            return Finding(message, here.file, here.line, _dotted(where), "", severity)
        here = children[part]  # type: ignore[index]
    return Finding(message, here.file, here.line, _dotted(where), shown(here), severity)


def shown(tree: Tree) -> str:
    """A scalar as the user wrote it, as far as it is short; mappings and lists are not repeated."""
    if isinstance(tree.value, dict | list):
        return ""
    text = "null" if tree.value is None else repr(tree.value) if isinstance(tree.value, str) else str(tree.value)
    return text if len(text) <= 60 else text[:57] + "..."


def _dotted(where: Where) -> str:
    return ".".join(map(str, where))


def _models(model: type[BaseModel], location: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """The models that may stand at a location of pydantic's."""
    now = [model]
    for part in location:
        if isinstance(part, int):
            continue
        annotations = [m.model_fields[part].annotation for m in now if part in m.model_fields]
        if annotations:
            now = [found for a in annotations for found in _inside(a)]
        else:
            now = [m for m in now if part in _choices(m, "kind") | _choices(m, "use")] or now
    return now


def _inside(annotation: Any) -> list[type[BaseModel]]:
    """Every model named in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _inside(part)]


def _choices(model: type[BaseModel], key: str) -> set[str]:
    """The values that a model's discriminator takes."""
    field = model.model_fields.get(key)
    return set(get_args(field.annotation)) if field else set()


def _keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that are known at a location."""
    return sorted({key for m in _models(model, location) for key in m.model_fields})
