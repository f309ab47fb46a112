"""Building the units of the tests: FMI 2.0 by pythonfmu, FMI 3.0 by the C compiler."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import fmpy
from pythonfmu import FmuBuilder

HERE = Path(__file__).parent


def build_store(folder: Path, *, keeps_state: bool = True, only_once: bool = False) -> Path:
    """The store for FMI 2.0."""
    folder.mkdir(parents=True, exist_ok=True)
    abilities = {"canGetAndSetFMUstate": keeps_state, "canSerializeFMUstate": keeps_state}
    once = {"canBeInstantiatedOnlyOncePerProcess": only_once}
    return Path(FmuBuilder.build_FMU(HERE / "store.py", dest=folder, **abilities, **once))


def build_boiler(folder: Path) -> Path:
    """The boiler for FMI 3.0; the headers are those that fmpy ships."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "no C compiler: install gcc and libc6-dev (Debian), this test builds a unit of its own"
    library = folder / f"boiler{fmpy.sharedLibraryExtension}"
    headers = Path(fmpy.__file__).parent / "c-code"
    options = ["-shared", "-fPIC", "-O1", "-ffp-contract=off", f"-I{headers}", "-o", str(library)]
    made = subprocess.run([compiler, *options, str(HERE / "boiler.c"), "-lm"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"{compiler} (with libc6-dev) cannot compile boiler.c:\n{made.stderr}"
    binary = f"binaries/{fmpy.platform_tuple}/{library.name}"
    return pack(folder / "boiler.fmu", (HERE / "boiler.xml").read_text(), {binary: library})


def pack(path: Path, description: str, files: dict[str, Path]) -> Path:
    """A unit's file made of its description and its binaries."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("modelDescription.xml", description)
        for name, file in files.items():
            archive.write(file, name)
    return path
