"""Ultralytics without its network, its telemetry and its files in the user's home.

The switches are read while it is imported, so this module must be imported before it, and
imports it itself: with a private settings folder that is gone when the import is done.
Afterwards its settings live in memory only, and a process forked later inherits them.
"""

import importlib
import importlib.util
import os
import sys
import tempfile

ENVIRONMENT = {
    "YOLO_OFFLINE": "1",  # no probes, no analytics, no update check
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "ULTRALYTICS_SAFE_LOAD": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "WANDB_MODE": "disabled",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: an id in the home, and uploads
}
FOLDERS = ("YOLO_CONFIG_DIR", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR")
SECRETS = ("ULTRALYTICS_API_KEY", "COMET_API_KEY", "WANDB_API_KEY")
OFF = (
    *("sync", "mlflow", "tensorboard", "wandb", "comet", "clearml", "dvc", "raytune"),
    *("vscode_msg", "openvino_msg"),
)
MODULES = (
    "ultralytics.models.yolo.detect",
    "ultralytics.utils.events",
    "torchvision",  # non-maximum suppression; else loaded at the first validation
)


def _import_quietly() -> None:
    utils = sys.modules.get("ultralytics.utils")
    if utils is not None and not utils.SAFE_LOAD:
        raise RuntimeError(
            "ultralytics was imported before Assay could switch its network and its telemetry "
            "off; import backend.trainers.yolo.hermetic first"
        )
    os.environ.update(ENVIRONMENT)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in SECRETS:
        os.environ.pop(name, None)
    kept = {name: os.environ.get(name) for name in FOLDERS}
    with tempfile.TemporaryDirectory(prefix="assay-yolo-") as folder:
        os.environ.update(dict.fromkeys(kept, folder))
        try:
            for module in MODULES:
                importlib.import_module(module)
        finally:
            _restore(kept)
    _settings_in_memory()
    _pillow_as_it_was()


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _settings_in_memory() -> None:
    """Switch everything off past the settings' own methods, which would write a file."""
    settings = importlib.import_module("ultralytics.utils").SETTINGS
    dict.update(settings, {**dict.fromkeys(OFF, False), "api_key": ""})


def _pillow_as_it_was() -> None:
    """Ultralytics answers a damaged image, of whoever reads one, with a search for pi-heif."""
    if importlib.util.find_spec("pi_heif") is None:
        image = importlib.import_module("PIL.Image")
        patches = importlib.import_module("ultralytics.utils.patches")
        setattr(image, "open", patches._image_open)  # noqa: B010 (mypy)


_import_quietly()
