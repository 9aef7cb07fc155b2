"""Which tier a machine is, and what it asks for."""

from pathlib import Path
from typing import Any

import pytest

from backend.catalog import CATALOG
from backend.config.hardware import HardwareConfig
from backend.core.errors import ConfigError
from backend.core.events import Setting
from backend.core.knobs import Knobs, Size
from backend.hardware.attempts import settings_of
from backend.hardware.machine import GIB, Gpu, Machine, survey
from backend.hardware.tiers import TIERS, choose, scaled
from backend.trainers.adatad.spec import SPEC as ADATAD
from backend.trainers.adatad.spec import AdaTadConfig


def gpu(gib: float | None, free: float | None = None, index: int = 0, mig: bool = False) -> Gpu:
    total = None if gib is None else int(gib * GIB)
    left = total if free is None else int(free * GIB)
    kind = "MIG" if mig else "GPU"
    return Gpu(index=index, uuid=f"{kind}-{index}f", name="card", total=total, free=left, mig=mig)


def machine(*gpus: Gpu, reason: str = "") -> Machine:
    return Machine(gpus=gpus, visible=gpus, reason=reason, cores=8)


@pytest.mark.parametrize(
    ("gib", "tier"),
    [
        (2, "low"), (5.7, "low"), (5.99, "medium"), (6, "medium"), (8, "medium"),
        (11, "medium"), (11.99, "high"), (12, "high"), (16, "high"), (24, "high"),
        (24.01, "high"), (31.8, "workstation"), (45.0, "workstation"),
        (47.5, "server"), (64, "server"), (139.8, "server"),
    ],
)  # fmt: skip
def test_tiers_by_memory(gib: float, tier: str) -> None:
    choice = choose(machine(gpu(gib)))
    assert choice.tier.name == tier
    assert choice.warnings == ()
    assert f"{gib:.2f} GiB" in choice.reason


def test_the_briefs_table() -> None:
    asked = {name: (tier.batch, tier.size) for name, tier in TIERS.items()}
    assert asked == {
        "cpu": (4, 320), "low": (8, 480), "medium": (16, 640), "high": (32, 640),
        "workstation": (64, 800), "server": (64, 800),
    }  # fmt: skip


def test_several_cards_count_as_the_smallest_in_use() -> None:
    both = machine(gpu(24), gpu(8, index=1))
    assert choose(both).tier.name == "high", "one process takes the first"
    assert choose(both, places=(1,)).tier.name == "medium"
    assert choose(both, places=(0, 1)).tier.name == "medium"


def test_a_mig_instance_is_what_it_has() -> None:
    choice = choose(machine(gpu(9.75, mig=True)))
    assert choice.tier.name == "medium"
    assert "a MIG instance" in choice.reason


def test_a_full_card_is_a_tier_less() -> None:
    choice = choose(machine(gpu(24, free=9.0)))
    assert choice.tier.name == "medium"
    assert "only 9.0 of 24.0 GiB are free" in choice.warnings[0]


@pytest.mark.parametrize(
    ("found", "places", "reason"),
    [
        (machine(reason="no driver"), None, "no driver"),
        (machine(gpu(None)), None, "no GPU tells how much memory it has"),
        (machine(gpu(24)), (), "trains on the CPU"),
        (machine(gpu(24)), (3,), "no GPU tells"),
    ],
)
def test_the_cpu_and_why(found: Machine, places: tuple[int, ...] | None, reason: str) -> None:
    choice = choose(found, places=places)
    assert choice.tier.name == "cpu"
    assert reason in choice.reason


def test_a_tier_may_be_asked_for() -> None:
    assert choose(machine(), "workstation").tier.batch == 64
    with pytest.raises(ConfigError, match="tier 'huge' is unknown; choose one of cpu, low"):
        choose(machine(), "huge")
    with pytest.raises(ValueError, match="'tier' is for auto_scale: true"):
        HardwareConfig(tier="low")


def test_what_a_tier_asks_a_trainer() -> None:
    asked: dict[str, Setting] = {
        **{"runner.batch": 8, "runner.workers": 2, "runner.prefetch": 2, "size": (480, 640)}
    }
    knobs = Knobs(size=Size("size"), by_tier={"runner.batch": {"high": 12}})
    assert scaled(asked, knobs, TIERS["workstation"], cores=32) == {
        "runner.batch": 64, "runner.workers": 16, "runner.prefetch": 4, "size": (576, 800),
    }  # fmt: skip
    assert scaled(asked, knobs, TIERS["high"], cores=4)["runner.batch"] == 12
    assert scaled(asked, knobs, TIERS["high"], cores=4)["runner.workers"] == 3
    clips = Knobs(size=Size("frames", multiple=8, floor=16, tiers={"low": 30}))
    assert scaled({**asked, "frames": 96}, clips, TIERS["low"], cores=1)["frames"] == 24


LOADERS: dict[str, Setting] = {"runner.batch": 8, "runner.workers": 3, "videos.threads": 2}
DECODERS = Knobs(prefetch=None, threads="videos.threads", by_tier={
    "runner.batch": {"server": 8}, "runner.workers": {"server": 12},
    "videos.threads": {"server": 12, "high": 6},
})  # fmt: skip


@pytest.mark.parametrize(
    ("cores", "keep", "workers", "threads"),
    [
        (None, (), 12, 12), (144, (), 12, 12), (48, (), 12, 4), (16, (), 12, 1), (8, (), 7, 1),
        (1, (), 0, 1), (16, ("runner.workers",), None, 5), (16, ("videos.threads",), 12, None),
    ],
)  # fmt: skip
def test_loaders_and_their_threads_stay_within_the_cores(
    cores: int | None, keep: tuple[str, ...], workers: int | None, threads: int | None
) -> None:
    asked = scaled(LOADERS, DECODERS, TIERS["server"], cores, keep)
    expected = {"runner.batch": 8, "runner.workers": workers, "videos.threads": threads}
    assert asked == {key: value for key, value in expected.items() if value is not None}


def test_a_tier_that_is_not_named_takes_the_usual() -> None:
    asked = scaled(LOADERS, DECODERS, TIERS["high"], None)
    assert asked == {"runner.batch": 32, "runner.workers": 8, "videos.threads": 6}
    assert scaled(LOADERS, DECODERS, TIERS["low"], None) == {
        "runner.batch": 8, "runner.workers": 4,
    }  # fmt: skip


def test_the_two_columns_of_the_brief_on_adatad() -> None:
    knobs = ADATAD.knobs
    assert knobs is not None
    requested = settings_of(AdaTadConfig(data=Path("videos")), knobs)
    asked = {name: scaled(requested, knobs, tier, None) for name, tier in TIERS.items()}
    assert asked["workstation"] == {
        "runner.batch": 4, "runner.workers": 6, "runner.prefetch": 4, "videos.threads": 8,
        "inference.batch": 1,
    }  # fmt: skip
    assert asked["server"] == {
        "runner.batch": 8, "runner.workers": 12, "runner.prefetch": 6, "videos.threads": 12,
        "inference.batch": 2,
    }  # fmt: skip
    assert all(values.keys() == asked["server"].keys() for values in asked.values())


@pytest.mark.parametrize("kind", ["yolo", "motrv2"])
def test_a_server_is_asked_for_what_a_workstation_is_by_the_other_trainers(kind: str) -> None:
    spec = CATALOG[kind]
    assert spec.knobs is not None
    config = spec.config.model_validate(
        {"kind": kind, "data": "folder"}
        | ({"model": "auto", "hardware": {"auto_scale": True}} if kind == "yolo" else {})
    )
    requested = settings_of(config, spec.knobs)
    one, other = TIERS["workstation"], TIERS["server"]
    assert scaled(requested, spec.knobs, one, 8) == scaled(requested, spec.knobs, other, 8)


class Nvml:
    """A library that is like pynvml, whose device calls fail as the test wants."""

    def __init__(self, fails: str = "", cards: int = 2) -> None:
        pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
        self.NVMLError = pynvml.NVMLError
        self.NVML_DEVICE_MIG_ENABLE = pynvml.NVML_DEVICE_MIG_ENABLE
        self._unsupported = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        self._fails = fails
        self._cards = cards

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlInit": None, "nvmlShutdown": None, "nvmlDeviceGetCount": self._cards,
            "nvmlSystemGetDriverVersion": "1", "nvmlDeviceGetMigMode": [0, 0],
        }  # fmt: skip

        def answer(*about: Any) -> Any:
            if name == self._fails:
                raise self._unsupported
            if name == "nvmlDeviceGetHandleByIndex":
                return about[0]
            if name == "nvmlDeviceGetUUID":
                return f"GPU-{'ab'[about[0]]}"
            if name == "nvmlDeviceGetMemoryInfo":
                return type("Memory", (), {"total": 8 * GIB, "free": 7 * GIB})
            return answers.get(name, "name")

        return answer


@pytest.mark.parametrize(
    ("wanted", "places"),
    [("0", [0]), ("1,0", [1, 0]), ("GPU-b", [1]), ("", []), ("-1", []), ("0,7,1", [0])],
)
def test_cuda_visible_devices(wanted: str, places: list[int]) -> None:
    found = survey(Nvml(), wanted)
    assert [gpu.index for gpu in found.visible] == places
    assert len(found.gpus) == 2
    assert bool(found.reason) == (not places)


@pytest.mark.parametrize(
    ("fails", "field"),
    [("nvmlDeviceGetMemoryInfo", "total"), ("nvmlDeviceGetUUID", "uuid"),
     ("nvmlDeviceGetName", "name")],
)  # fmt: skip
def test_what_is_not_supported_is_none_and_not_zero(fails: str, field: str) -> None:
    assert [getattr(gpu, field) for gpu in survey(Nvml(fails)).gpus] == [None, None]


def test_a_library_that_breaks_after_its_start_is_a_reason() -> None:
    found = survey(Nvml("nvmlDeviceGetCount"))
    assert found.gpus == ()
    assert "Not Supported" in found.reason
    assert found.cores >= 1
