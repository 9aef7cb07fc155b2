"""benchmarks/gpu/check_gpu.py where there is no GPU to check."""

import sys

import pytest

from benchmarks.gpu import check_gpu


def test_without_a_gpu_it_says_so_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(sys, "argv", ["check_gpu.py"])
    assert check_gpu.main() == check_gpu.NO_GPU
    said = capsys.readouterr().out
    assert said.startswith("no GPU to check: ")
    assert said.endswith("nothing was checked (exit code 77)\n")
