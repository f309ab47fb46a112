"""Loading scenarios, and the JSON Schema of their files. pydantic is imported only when it is needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.library import find

if TYPE_CHECKING:
    from scenarios.runnable import RunnableScenario


def load(path_or_name: str | Path, overrides: Sequence[str] = ()) -> RunnableScenario:
    """Read a scenario.

    Args:
        path_or_name: a YAML file, or the name of a shipped scenario.
        overrides: "a.b=value" each, as after ``--set``; list items go by number or by their id, name or use.

    Raises:
        ScenarioError: with everything that is wrong, each finding with its file and line.
    """
    from scenarios.runnable import RunnableScenario
    from scenarios.schema.reading import read_scenario

    return read_scenario(find(str(path_or_name)), overrides, RunnableScenario)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a scenario file, for editors: what is inherited or taken from the file may be left out."""
    from scenarios.schema import Scenario

    schema = Scenario.model_json_schema()
    required = [key for key in schema.pop("required") if key not in ("name", "purpose")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "anyOf": [{"required": ["extends"]}, {"required": required}],
    }


def write_schema(path: str | Path) -> None:
    """Write the JSON Schema to a file."""
    Path(path).write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
