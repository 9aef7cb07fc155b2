"""The README's commands, run one after the other as a newcomer would, on tiny data."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from backend.synthetic.skeletons import write_spotting
from backend.synthetic.traffic import write_traffic
from backend.synthetic.untrimmed import write_untrimmed
from backend.synthetic.volleyball import write_volleyball
from tests.support import motrv2_files
from tests.support.pasting import write_annotated, write_backgrounds
from tests.support.readme_files import write_foreign_files
from tests.support.shapes import write_architecture, write_dataset

ROOT = Path(__file__).parents[2]
SCENES = "--set data=traffic --set epochs=1 --set runner.schedule.warmup_steps=2"
CLIPS = (
    "--set data=clips --set epochs=1 --set clips.per_epoch=16 --set runner.schedule.warmup_steps=1"
)
PLAYERS = (
    "--set data=volleyball/source --set epochs=1 --set clips.per_epoch=4 "
    "--set runner.schedule.warmup_steps=1"
)
VIDEOS = (
    "--set data=untrimmed --set epochs=1 --set windows.per_video=1 "
    "--set runner.batch=2 --set runner.schedule.warmup_steps=1 --set model.pretrained=null "
    "--set freeze.strategy=full"
)
SHORTER = {
    "epochs=20": "epochs=2",
    "--trials 20": "--trials 2",
    "assay demo moe": f"assay train configs/train/moe_rtdetr.yaml {SCENES}",
    "assay study run moe_top_k": f"assay study run moe_top_k --trials 1 {SCENES}",
    "assay demo mdfed": f"assay train configs/train/mdfed.yaml {CLIPS}",
    "assay check configs/train/mdfed.yaml": f"assay check configs/train/mdfed.yaml {CLIPS}",
    "assay study run copy_paste": "assay study run copy_paste --trials 1",
    "--name rallies --trials 8": f"--name rallies --trials 1 {CLIPS}",
    "assay demo motrv2": f"assay train configs/train/motrv2.yaml {PLAYERS}",
    "--name volleyball --trials 16": "--name volleyball --trials 1",
    "assay demo adatad": f"assay train configs/train/adatad.yaml {VIDEOS}",
    "--name untrimmed --trials 12": "--name untrimmed --trials 1",
}
MORE = {
    "assay train configs/train/yolo.yaml": " --set epochs=1",
    "assay train configs/train/mdfed.yaml": f" {CLIPS}",
    "assay train configs/train/motrv2.yaml": f" {PLAYERS}",
    "assay train configs/train/adatad.yaml": f" {VIDEOS}",
}
FOUND = {4, 5, 6}
"""How the diagnosis of a training of one epoch may end."""
ROBOT = """
extends: configs/base/yolo.yaml
model: {model}
data: {data}
source: {data}
epochs: 2
batch: 8
imgsz: 64
workers: 0
"""
VOLLEYBALL = """
extends: configs/demo/volleyball-target.yaml
data: volleyball/target
source: volleyball/source
model: {pretrained: people.safetensors}
epochs: 1
clips: {per_epoch: 4}
runner: {schedule: {warmup_steps: 1}}
"""

UNTRIMMED = """
extends: configs/demo/untrimmed.yaml
data: untrimmed
epochs: 1
windows: {per_video: 1}
runner: {batch: 2, schedule: {warmup_steps: 1}}
"""


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("assay ")]


class Newcomer:
    """A folder with a config and data, and a shell that knows ``assay``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data = write_dataset(folder / "data", {"train": 24, "val": 24, "holdout": 24})
        model = write_architecture(folder / "tiny.yaml")
        (folder / "robot.yaml").write_text(ROBOT.format(model=model, data=data))
        (folder / "configs").symlink_to(ROOT / "configs")
        write_annotated(folder / "cups")
        write_backgrounds(folder / "rooms")
        write_foreign_files(folder)
        write_traffic(folder / "traffic", frames=40)
        write_spotting(folder / "clips", train=12, val=6, holdout=6)
        for root in write_volleyball(folder / "volleyball", train=1, val=1).values():
            motrv2_files.shortened(root, 12)
        motrv2_files.saved(folder / "people.safetensors")
        (folder / "volleyball.yaml").write_text(VOLLEYBALL)
        write_untrimmed(folder / "untrimmed", train=4, val=2)
        (folder / "untrimmed.yaml").write_text(UNTRIMMED)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("ASSAY_")},
            "PYTHONPATH": str(ROOT), "COLUMNS": "160", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def assay(self, arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "backend.cli", *shlex.split(arguments)], cwd=self.folder,
            env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def runs(self) -> list[str]:
        found = sorted((self.folder / "mlruns" / "work").glob("*/checkpoints"))
        return [path.parent.name for path in found]

    def fill_in(self, command: str) -> str:
        """Put real names where the README has placeholders."""
        for long, short in SHORTER.items():
            command = command.replace(long, short)
        command += MORE.get(command, "")
        runs = self.runs()
        names = {"OLD": 0, "OLD_RUN": 0, "NEW_RUN": -1, "RUN": -1, "NEW_A": -1, "NEW_B": 1}
        names |= {f"{side}_{n}": n for side in ("OLD", "NEW") for n in range(3)}
        if runs:
            known = "|".join(sorted(names, key=len, reverse=True))
            command = re.sub(rf"\b({known})\b", lambda m: runs[names[m[0]]], command)
        return command


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    return Newcomer(tmp_path_factory.mktemp("newcomer"))


@pytest.mark.timeout(1200)
def test_every_command_of_the_readme_does_what_it_says(newcomer: Newcomer) -> None:
    assert newcomer.assay("demo --data-only").returncode == 0
    for command in readme_commands():
        real = newcomer.fill_in(command).removeprefix("assay ")
        if real.startswith("dashboard"):
            continue
        done = newcomer.assay(real)
        allowed = {0}
        if real.startswith("promote") and newcomer_has_champion(done):
            allowed = {0, 3}
        if real.startswith("rollback"):
            allowed = {0, 1}
        if real.startswith(("diagnose", "check")):
            allowed = {0, *FOUND}
        assert done.returncode in allowed, f"{real}\n{done.stdout}\n{done.stderr}"
        if done.returncode == 1:
            assert "no earlier champion to go back to" in done.stderr
        assert "Traceback" not in done.stderr


def newcomer_has_champion(done: subprocess.CompletedProcess[str]) -> bool:
    """A tiny model may well be refused; then every failed rule is named."""
    return done.returncode != 3 or "- fail: " in done.stdout


def test_the_dashboard_answers(newcomer: Newcomer) -> None:
    assert any(command.startswith("assay dashboard") for command in readme_commands())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = subprocess.Popen(
        [sys.executable, "-m", "backend.cli", "dashboard", "--port", str(port)],
        cwd=newcomer.folder, env=newcomer.environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "Assay" in answer(serving, f"http://127.0.0.1:{port}/")
    finally:
        serving.terminate()
        serving.communicate()


def answer(serving: subprocess.Popen[str], url: str) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert serving.poll() is None, serving.stderr and serving.stderr.read()
        try:
            with urllib.request.urlopen(url) as response:
                return str(response.read().decode())
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"{url} never answered")
