"""The real pynvml against a library of our own that stands in for the driver's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.hardware.machine import Machine
from tests.support.fake_library import build

pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")

CODE = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])  # pynvml then finds it by its name
from backend.hardware.machine import survey
print(survey().model_dump_json())
"""
SAMPLES = """
import ctypes, json, sys
ctypes.CDLL(sys.argv[1])
from backend.hardware.sampling import Gpus
first, second = Gpus(), Gpus()  # as two runs of a study have them
looks = [first.look()]
first.close()
looks.append(second.look())
second.close()
looks.append(second.look())
print(json.dumps([[gpu.model_dump() for gpu in look] for look in looks]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = build(tmp_path_factory.mktemp("nvml"))
    if out is None:
        pytest.skip("no C compiler to build the stand-in with")
    return out


def printed(code: str, library: Path, **environment: str) -> str:
    plain = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    ended = subprocess.run(
        [sys.executable, "-c", code, str(library)],
        env={**plain, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ended.stdout


def seen(library: Path, **environment: str) -> Machine:
    return Machine.model_validate_json(printed(CODE, library, **environment))


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


def test_samples_and_what_cards_will_not_tell(library: Path) -> None:
    out = printed(
        SAMPLES, library, FAKE_GPUS="24576:20000,lost,40960:40000:mig,1024:24",
        FAKE_USE="87:215500:71,,50:9000:40,0:30000",
    )  # fmt: skip
    both, one, closed = json.loads(out)
    assert both == one, "the library stays open as long as one of them has it open"
    assert [told(gpu) for gpu in both] == [
        (0, "Fake 0", 87.0, 4576 << 20, 24576 << 20, 215.5, 71.0),
        (1, "Fake 2", None, 240 << 20, 10240 << 20, 9.0, 40.0),
        (2, "Fake 3", 0.0, 1000 << 20, 1024 << 20, 30.0, None),
    ]
    assert [told(gpu) for gpu in closed] == [
        (0, "Fake 0", None, None, 24576 << 20, None, None),
        (1, "Fake 2", None, None, 10240 << 20, None, None),
        (2, "Fake 3", None, None, 1024 << 20, None, None),
    ]


def told(gpu: dict[str, Any]) -> tuple[object, ...]:
    keys = ("index", "name", "utilization", "memory", "total", "power", "temperature")
    return tuple(gpu[key] for key in keys)


ATTEMPT = """
import ctypes, sys
from pathlib import Path
ctypes.CDLL(sys.argv[1])
from backend.core.trainer import TrainOutcome
from backend.hardware.attempts import Attempts, Site
from backend.hardware.estimate import Need
from backend.hardware.machine import GIB
from backend.hardware.recovery import read_memo
from backend.trainers.yolo.spec import KNOBS, YoloConfig
import os
folder, cuda = Path(os.environ["FOLDER"]), os.environ["CUDA"] == "yes"
config = YoloConfig.model_validate({
    "model": "auto", "data": "data.yaml", "device": os.environ["DEVICE"],
    "hardware": {"auto_scale": True},
})
class Quiet:
    def reason(self): return None
def attempt(config, part):
    for event in part.events:
        print(event.level, event.message)
    print(config.model, config.batch, config.imgsz)
    return TrainOutcome(status="finished", best=None)
need = lambda config: Need(fixed=GIB, per_sample=int(float(os.environ["EACH"]) * GIB))
Attempts(config, folder, KNOBS, Site((0,) if cuda else ()), need).run(attempt, None, Quiet())
memo = read_memo(folder)
print(memo.tier, memo.asked["batch"], memo.planned["batch"])
"""


def planned(library: Path, folder: Path, **environment: str) -> list[str]:
    """What is said of a YOLO run that is scaled to the machine, what it trains with, and what is
    remembered."""
    common = {"FOLDER": str(folder), "CUDA": "yes", "DEVICE": "auto", "EACH": "0.1"}
    return printed(ATTEMPT, library, **common | environment).splitlines()


def test_a_plan_that_fits_is_the_tiers(library: Path, tmp_path: Path) -> None:
    said, *rest = planned(library, tmp_path, FAKE_GPUS="12288:12000")
    assert said.startswith("info scaled to tier high (Fake 0, 12.00 GiB): batch 16 -> 32")
    assert rest == ["yolov8l.pt 32 640", "high 32 32"]


def test_the_estimate_caps_the_tiers_batch_and_both_are_told(
    library: Path, tmp_path: Path
) -> None:
    _, warning, *rest = planned(library, tmp_path, FAKE_GPUS="81920:81920", EACH="1")
    assert warning == "warning the tier's batch is 64; by the estimate 32 fit"
    assert rest == ["yolov8x.pt 32 800", "server 64 32"]


def test_where_not_even_the_smallest_batch_fits_that_is_told(
    library: Path, tmp_path: Path
) -> None:
    _, warning, *rest = planned(library, tmp_path, FAKE_GPUS="8192:8192", EACH="4")
    assert "by the estimate not even 2 fits: it takes 12.6 GiB, and 8.0 GiB are free" in warning
    assert rest == ["yolov8m.pt 2 640", "medium 16 2"]


def test_a_gpu_that_torch_does_not_see_is_a_loud_warning(library: Path, tmp_path: Path) -> None:
    """As with a driver, and a torch that was built for the CPU."""
    said, warning, *rest = planned(library, tmp_path, FAKE_GPUS="24576:24000", CUDA="no")
    assert said.startswith("info scaled to tier cpu (trains on the CPU): batch 16 -> 4")
    assert warning.startswith(
        "warning the driver (999.1) has a GPU (Fake 0), but torch sees none, so this run trains "
        "on the CPU; install a torch with CUDA"
    )
    assert rest == ["yolov8n.pt 4 320", "cpu 4 4"]


def test_who_asked_for_the_cpu_is_not_warned(library: Path, tmp_path: Path) -> None:
    said = planned(library, tmp_path, FAKE_GPUS="24576:24000", CUDA="no", DEVICE="cpu")
    assert len(said) == 3
    assert "warning" not in "".join(said)
