"""Targets by name. What they need of other rooms comes with them: a target is a function that gives a laboratory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches
from typing import Final

from hil.bench.laboratory import Laboratory
from vpp.kernel.errors import DeviceError

# Name -> module:function, loaded when it is asked for. Others are given as module:function on the command line.
TARGETS: Final = {"model": "scenarios.bench:model"}

Target = Callable[[], "Laboratory | AbstractContextManager[Laboratory]"]


def open_target(name: str) -> AbstractContextManager[Laboratory]:
    """The laboratory of a target; leaving the context closes its links.

    Raises:
        DeviceError: there is no such target.
    """
    place = TARGETS.get(name, name)
    module, _, function = place.partition(":")
    if not function:
        close = get_close_matches(name, TARGETS, 1)
        there = f"did you mean {close[0]}?" if close else f"there are {', '.join(TARGETS)}, and module:function"
        raise DeviceError(name, f"no such target; {there}")
    try:
        make: Target = getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise DeviceError(name, f"the target cannot be loaded: {error}") from error
    made = make()
    return nullcontext(made) if isinstance(made, Laboratory) else made
