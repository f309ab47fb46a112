"""The project's own files, for the house rules."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES: list[str] = CONFIG["tool"]["importlinter"]["root_packages"]
_NOT_OURS = {"build", "dist", "runs", "__pycache__"}


def files(root: Path = ROOT, pattern: str = "*") -> list[Path]:
    """Every file that belongs to the project: nothing hidden, built or run."""
    found: list[Path] = []
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not _foreign(name))
        found += [Path(folder, name) for name in sorted(names) if fnmatch(name, pattern)]
    return found


def _foreign(folder: str) -> bool:
    return folder in _NOT_OURS or folder.endswith(".egg-info") or (folder.startswith(".") and folder != ".ci")


def package_files(root: Path = ROOT) -> list[Path]:
    """The Python files of the packages that are shipped."""
    return [path for path in files(root, "*.py") if path.relative_to(root).parts[0] in PACKAGES]


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run this Python with these arguments, and keep what it says."""
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
