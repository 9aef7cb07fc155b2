"""Checkpoint files: complete, self-describing, and never code."""

import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backend.core.digest import sha256
from backend.core.errors import CheckpointError, TrainingError
from backend.nn.finetune.resuming import full_disk_explained
from backend.nn.finetune.weights import (
    load_state,
    load_weights,
    read_facts,
    save_state,
    save_weights,
)
from tests.support.hostile import Bomb

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.steps": torch.tensor(7)}
FACTS = {"names": ["a", "ä"], "epoch": 3, "metrics": {"val/mAP50-95": 0.25}}


def test_weights_and_facts_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "epoch-003.safetensors"
    digest = save_weights(path, STATE, FACTS)
    state, facts = load_weights(path)
    assert digest == sha256(path)
    assert facts == FACTS
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert state["layer.steps"].dtype == torch.int64


def test_the_json_beside_repeats_the_facts_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "epoch-003.safetensors"
    save_weights(path, STATE, FACTS)
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) == FACTS
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "epoch-003.json",
        "epoch-003.safetensors",
    ]


@pytest.mark.parametrize("save", [save_state, lambda path, state: save_weights(path, state, {})])
def test_a_limit_of_a_files_size_is_named_with_the_file(
    save: Callable[[Path, dict[str, torch.Tensor]], object], tmp_path: Path
) -> None:
    path = tmp_path / "epoch-003.safetensors"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(TrainingError) as told, full_disk_explained(tmp_path):
            save(path, {"layer.weight": torch.zeros(2**20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(told.value) == (
        f"{path}: larger than a file may be here (ulimit -f); raise that limit and resume, the "
        "run continues after what it saved last"
    )
    assert {file.name for file in tmp_path.iterdir()} <= {"epoch-003.json"}


def test_weights_that_share_memory_or_are_transposed_are_saved(tmp_path: Path) -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    save_weights(tmp_path / "x.safetensors", {"t": matrix.T}, {})
    assert torch.equal(load_weights(tmp_path / "x.safetensors")[0]["t"], matrix.T)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a safetensors file"),
        (b"PK\x03\x04 something else entirely", "not a safetensors file"),
        (struct.pack("<Q", 10) + b"[1, 2", "not a safetensors file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        load_weights(path)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_weights(path, STATE, FACTS)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="damaged"):
        load_weights(path)


def test_weights_without_facts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(STATE, path)
    with pytest.raises(CheckpointError, match="no facts"):
        read_facts(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors: no such checkpoint"):
        read_facts(tmp_path / "nowhere.safetensors")


def test_a_training_state_comes_back(tmp_path: Path) -> None:
    state = {"epoch": 3, "model": STATE, "betas": (0.9, 0.99), "best": None}
    save_state(tmp_path / "last.pt", state)
    loaded = load_state(tmp_path / "last.pt")
    assert loaded["betas"] == (0.9, 0.99)
    assert loaded["best"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_hostile_training_state_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"epoch": 3, "bomb": Bomb(mark)}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="not written by Assay"):
        load_state(tmp_path / "last.pt")
    assert not mark.exists()
    torch.load(tmp_path / "last.pt", weights_only=False)
    assert mark.exists()  # the file was dangerous indeed


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_state(path, {"epoch": 1})
    with pytest.raises((TypeError, AttributeError)):
        save_state(path, {"epoch": 2, "impossible": (n for n in range(3))})
    assert load_state(path) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits a file's size the POSIX way")
def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    """A real failing write: the system refuses files above a size in this process."""
    path = tmp_path / "last.pt"
    save_state(path, {"epoch": 1})
    code = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from backend.nn.finetune.weights import save_state\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    save_state(Path(sys.argv[1]), {'epoch': 2, 'model': torch.zeros(100_000)})\n"
        "except OSError:\n"
        "    sys.exit(7)\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ended = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=False)
    assert ended.returncode == 7
    assert load_state(path)["epoch"] == 1
