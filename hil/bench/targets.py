"""Targets by name. What they need of other rooms comes with them: a target is a function that gives a laboratory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches
from typing import Any, Final

from hil.bench.address import laboratory_at
from hil.bench.laboratory import Laboratory
from hil.watchdog import Arming
from vpp.kernel.errors import DeviceError

# Name -> module:function, loaded when it is asked for. Others are given as module:function on the command line, or as an
# address (see `hil.bench.address`).
TARGETS: Final = {"model": "scenarios.bench:model", "emulator": "hil.bench.address:emulator"}


def open_target(name: str, arming: Arming | None = None) -> AbstractContextManager[Laboratory]:
    """The laboratory of a target; leaving the context closes its links.

    Args:
        name: of a target, module:function, or an address.
        arming: leave to write to a device that is not a model.

    Raises:
        DeviceError: there is no such target.
        LinkError: nobody is at the address, or the device is not armed.
    """
    if "://" in name:
        return laboratory_at(name, arming)
    made = load(TARGETS.get(name, name), name)()
    return nullcontext(made) if isinstance(made, Laboratory) else made


def load(place: str, name: str) -> Callable[[], Any]:
    """What stands at module:function. Raises `DeviceError`."""
    module, _, function = place.partition(":")
    if not function:
        close = get_close_matches(name, TARGETS, 1)
        there = f"did you mean {close[0]}?" if close else f"there are {', '.join(TARGETS)}, module:function and sunspec://…"
        raise DeviceError(name, f"no such target; {there}")
    try:
        made: Callable[[], Any] = getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise DeviceError(name, f"the target cannot be loaded: {error}") from error
    return made
