import os

import pytest

from backend.core.errors import ConfigError
from backend.runner.device import resolve_device


def test_gpus_are_counted_as_nvidias_tools_count_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert resolve_device("cpu").type == "cpu"
    assert os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST", "a person's own choice"
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    resolve_device("cpu")
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("name", "processes", "message"),
    [
        ("gpu7", 1, "device 'gpu7' is unknown; use cpu, cuda:0 or auto"),
        ("mps", 1, "device 'mps' is not supported"),
        ("cuda:0", 2, "is one for 2 processes; use auto"),
        ("99", 1, r"device '99' \(cuda:99\) is not there"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused(name: str, processes: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_device(name, processes)
