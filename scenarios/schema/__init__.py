"""The words of a scenario as pydantic models: one file a topic, ``Scenario`` is the whole."""

from scenarios.schema.scenario import Scenario

__all__ = ["Scenario"]
