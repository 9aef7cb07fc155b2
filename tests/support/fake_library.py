"""A library of our own that stands in for NVIDIA's, so that the real pynvml can be run."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "unit/hardware/fake_nvml.c"


def build(folder: Path) -> Path | None:
    """The library, to be loaded before pynvml looks for it by name; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    out = folder / "libnvidia-ml.so.1"
    name = "-Wl,-soname,libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", name, "-o", out, SOURCE], check=True)
    return out
