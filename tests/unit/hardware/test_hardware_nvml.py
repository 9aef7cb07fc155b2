"""The real pynvml against a library of our own that stands in for the driver's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.hardware.machine import Machine

pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")

CODE = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])  # pynvml then finds it by its name
from backend.hardware.machine import survey
print(survey().model_dump_json())
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in with")
    out = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("fake_nvml.c")
    name = "-Wl,-soname,libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", name, "-o", out, source], check=True)
    return out


def seen(library: Path, **environment: str) -> Machine:
    plain = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    ended = subprocess.run(
        [sys.executable, "-c", CODE, str(library)],
        env={**plain, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Machine.model_validate_json(ended.stdout)


def test_cards_mig_instances_and_what_they_will_not_tell(library: Path) -> None:
    machine = seen(library, FAKE_GPUS="24576:20000,lost,40960:40000:mig,mute")
    assert machine.driver == "999.1"
    assert [(g.index, g.uuid, g.name, g.mig) for g in machine.gpus] == [
        (0, "GPU-0", "Fake 0", False),
        (2, "MIG-2", "Fake 2", True),
        (3, "GPU-3", "Fake 3", False),
    ]
    assert [g.total and g.total >> 20 for g in machine.gpus] == [24576, 10240, None]
    assert [g.free and g.free >> 20 for g in machine.gpus] == [20000, 10000, None]
    assert machine.visible == machine.gpus


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"FAKE_INIT": "9"}, "NVIDIA's library says: Driver Not Loaded"),
        ({"FAKE_INIT": "999"}, "NVIDIA's library says: "),
        ({"FAKE_GPUS": ""}, "the driver knows no GPU"),
    ],
    ids=["no driver", "a broken one", "no card"],
)
def test_without_a_gpu_the_reason_is_told(
    environment: dict[str, str], reason: str, library: Path
) -> None:
    machine = seen(library, **environment)
    assert machine.gpus == ()
    assert reason in machine.reason
