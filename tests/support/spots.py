"""Trainers as plugins: modules that lie outside of every package."""

import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from backend.core.trainer import TrainerSpec

SUPPORT = Path(__file__).parent
REQUIREMENTS = ("numpy", "pydantic", "not-a-package")
CLIP_TRAINERS = {
    "tracking": "TrackTrainer", "temporal": "ActionTrainer", "spotting": "SpotTrainer",
}  # fmt: skip


def write_plugin(folder: Path) -> Path:
    """The folder with copies of the modules under the names by which they are imported."""
    folder.mkdir(exist_ok=True)
    shutil.copy(SUPPORT / "served.py", folder / "spot_plugin.py")
    shutil.copy(SUPPORT / "toy_tasks.py", folder / "clip_plugin.py")
    return folder


def load_spec(folder: Path, task: str = "detection") -> TrainerSpec:
    """The trainer of a task in ``folder``, which becomes importable for this process."""
    sys.path.insert(0, str(folder))
    if task == "detection":
        module = _load(folder, "spot_plugin")
        kind, config, entry = "spots", module.SpotConfig, "spot_plugin:SpotTrainer"
    else:
        module = _load(folder, "clip_plugin")
        kind, config, entry = "clips", module.ClipConfig, f"clip_plugin:{CLIP_TRAINERS[task]}"
    return TrainerSpec(
        kind=kind, title=kind.title(), task=task, config=config, entry=entry, metrics=(),
        headline="val/m", primary="m", strategies={}, pip_requirements=REQUIREMENTS,
    )  # fmt: skip


def _load(folder: Path, name: str) -> ModuleType:
    found = spec_from_file_location(name, folder / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module
