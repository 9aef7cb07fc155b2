"""What rests on Hugging Face stays offline and leaves the home alone; one process for all, for it
is their imports that take the time."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = """
import socket
def refuse(*args, **kwargs): raise SystemExit('the network was used')
socket.socket.connect = socket.getaddrinfo = refuse
from backend.trainers.moe_rtdetr.model.build import build_network
from backend.trainers.moe_rtdetr.spec import CLASSES, ModelConfig, MoeConfig
build_network(ModelConfig(preset='tiny'), MoeConfig(), CLASSES)
import backend.trainers.adatad.trainer
from huggingface_hub import constants
from backend.nn.hermetic import online
assert constants.HF_HUB_OFFLINE and constants.HF_HUB_DISABLE_TELEMETRY
with online(): assert not constants.HF_HUB_OFFLINE
assert constants.HF_HUB_OFFLINE
from backend.core.errors import CheckpointError
from backend.trainers.adatad.loading import find_file
try: find_file('MCG-NJU/videomae-small')
except CheckpointError as error: print(error)
"""


def test_no_network_is_needed_and_the_home_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-W", "error", "-c", CODE], cwd=ROOT, text=True,
                          env=environment, capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "neither a file nor in the local cache of Hugging Face" in done.stdout
    assert list(home.rglob("*")) == []
