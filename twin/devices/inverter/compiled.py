"""The decorator of this package's kernels: compiled code on disk knows which layout it was compiled for.

Kernels hold the numbers of `columns` and what they call of one another. numba looks at the text of a kernel's own file
only, so after a change elsewhere it would load a kernel that reads other rows. Here the text of the whole package counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from numba import njit

_F = TypeVar("_F", bound=Callable[..., Any])


def digest(folder: Path) -> str:
    """A digest of the texts of all modules in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


LAYOUT: Final = digest(Path(__file__).parent)


def kernel(function: _F) -> _F:
    """Compile with numba, without checks of division; what is kept on disk is void after any change in this package."""
    made: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    file = made._cache._cache_file  # where numba compares the stamp of a file's text with that of the kept index
    file._source_stamp = (*file._source_stamp, LAYOUT)
    return cast(_F, made)
