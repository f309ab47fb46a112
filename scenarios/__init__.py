"""Scenarios: from one YAML file to a running system. ``load("lv-rural-street").run()``.

Importing this package is light: models, networks and simulators come in only when they are needed.
"""

from scenarios.library import list_scenarios
from scenarios.load import json_schema, load, write_schema

__all__ = ["json_schema", "list_scenarios", "load", "write_schema"]
