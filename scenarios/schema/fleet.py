"""The fleet: entries that each become one resource or many, and the groups that enclose them.

An entry's keys are declared beside its device's model, in ``twin/devices``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from twin.devices import DEVICES, load_installed
from twin.devices.entry import Bus, Entry
from vpp.fields import Name, Part, Where

load_installed()
if TYPE_CHECKING:
    FleetEntry = Entry
else:
    FleetEntry = Annotated[Union[tuple(model.entry for model in DEVICES.values())], Field(discriminator="kind")]  # noqa: UP007  made of a table


class Group(Part):
    """Resources with a common border: a feeder, a site, a transformer. ``pcc`` encloses everything and always exists."""

    name: Name = Field(description="name of the group")
    parent: str = Field("pcc", description="the group around it")
    members: tuple[str, ...] = Field((), description="fleet entry ids, or resource names with * and ?")
    buses: tuple[Bus, ...] = Field((), description="every resource at these buses")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The root is not declared."""
        if self.name == "pcc":
            yield ("name",), "pcc always exists and encloses everything; give this group another name"
