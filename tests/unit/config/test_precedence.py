"""Who decides a value: --set, then --fast, then the tier, then the file, then the default."""

from pathlib import Path

import pytest

from backend.catalog import CATALOG, Loaded, kept, load, resolve
from backend.config.compose import DEFAULT
from backend.core.errors import ConfigError
from backend.hardware.forecast import Forecast, forecast
from backend.hardware.machine import GIB, Gpu, Machine

CONFIGS = Path(__file__).parents[3] / "configs"
COMPETITION = {
    "model": "yolov8m.pt",
    "imgsz": "640",
    "epochs": "50",
    "batch": "16",
    "patience": "10",
    "optimizer.name": "AdamW",
    "optimizer.lr0": "0.001",
    "amp": "True",
    "cache": "True",
    "augment.close_mosaic": "10",
}


def card(gib: float) -> Machine:
    total = int(gib * GIB)
    gpu = Gpu(index=0, uuid="GPU-1", name="a card", total=total, free=total)
    return Machine(gpus=(gpu,), visible=(gpu,), cores=9)


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    """A user's file on the preset, scaled to its tier."""
    path = tmp_path / "mine.yaml"
    base = CONFIGS / "base" / "yolo-competition.yaml"
    path.write_text(f"extends: {base}\ndata: d.yaml\nhardware: {{auto_scale: true}}\n")
    return path


def told(loaded: Loaded, machine: Machine) -> Forecast:
    assert loaded.spec.knobs
    return forecast(loaded.config, loaded.spec.knobs, machine)


def planned(loaded: Loaded, machine: Machine) -> dict[str, object]:
    return {plan.key: plan.planned for plan in told(loaded, machine).plans}


def test_the_competition_preset_is_the_one_of_the_brief(preset: Path) -> None:
    flat = load(preset).config.flat()
    assert {key: flat[key] for key in COMPETITION} == COMPETITION
    assert {load(preset).origins[key] for key in COMPETITION} == {
        str(CONFIGS / "base" / "yolo-competition.yaml")
    }


def test_a_files_own_value_beats_its_parents_and_the_default(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("kind: yolo\nmodel: m.pt\nbatch: 4\nimgsz: 320\n")
    (tmp_path / "a.yaml").write_text("extends: base.yaml\ndata: d.yaml\nbatch: 8\n")
    loaded = load(tmp_path / "a.yaml")
    origins = {key: loaded.origins[key] for key in ("batch", "imgsz", "epochs")}
    assert origins == {
        "batch": str(tmp_path / "a.yaml"),
        "imgsz": str(tmp_path / "base.yaml"),
        "epochs": DEFAULT,
    }
    assert loaded.config.flat()["batch"] == "8"
    assert loaded.origins.keys() == loaded.config.flat().keys()


def test_the_tier_beats_the_file(preset: Path) -> None:
    assert planned(load(preset), card(4)) == {
        "batch": 8, "imgsz": 480, "workers": 4, "cache": True, "model": "yolov8m.pt",
    }  # fmt: skip
    assert planned(load(preset), card(24))["batch"] == 32


def test_without_scaling_the_tier_decides_nothing(preset: Path) -> None:
    loaded = load(preset, {"hardware.auto_scale": False})
    rows = told(loaded, card(4)).plans
    assert all(plan.planned == plan.requested for plan in rows)
    assert next(plan.tier for plan in rows if plan.key == "batch") == 8, "but it is shown"


def test_what_is_set_beats_the_tier(preset: Path) -> None:
    loaded = load(preset, {"batch": 12, "epochs": 3})
    assert loaded.config.flat()["hardware.keep"] == "['batch']", "epochs are no knob"
    assert planned(loaded, card(4)) == {
        "batch": 12, "imgsz": 480, "workers": 4, "cache": True, "model": "yolov8m.pt",
    }  # fmt: skip
    assert (loaded.origins["batch"], loaded.origins["hardware.keep"]) == ("--set", "what was set")


def test_what_the_file_keeps_stays_kept(preset: Path) -> None:
    keep = {"hardware.keep": ["imgsz"]}
    loaded = load(preset, {**keep, "workers": 1})
    assert loaded.config.flat()["hardware.keep"] == "['imgsz', 'workers']"
    assert planned(loaded, card(4))["imgsz"] == 640


def test_nothing_is_kept_where_nothing_is_scaled(preset: Path) -> None:
    loaded = load(preset, {"batch": 12, "hardware.auto_scale": False})
    assert loaded.config.flat()["hardware.keep"] == "[]"


def test_fast_beats_file_and_tier_and_what_is_set_beats_fast(preset: Path) -> None:
    fast = load(preset, {"device": "cpu"}, fast=True)
    changed = {"epochs": 10, "patience": 5, "augment.close_mosaic": 3, "model": "yolov8n.pt"}
    assert fast.fast == changed
    assert {key for key, origin in fast.origins.items() if origin == "--fast"} == set(changed)
    assert fast.config.flat()["hardware.keep"] == "['model']"
    both = load(preset, {"device": "cpu", "epochs": 2, "model": "yolov8m.pt"}, fast=True)
    flat = both.config.flat()
    assert (flat["epochs"], flat["model"], flat["patience"]) == ("2", "yolov8m.pt", "5")
    assert (both.origins["epochs"], both.origins["patience"]) == ("--set", "--fast")
    assert set(both.fast) == {"patience", "augment.close_mosaic"}


def test_fast_takes_the_model_of_the_tier_that_is_asked_for(preset: Path) -> None:
    loaded = load(preset, {"hardware.tier": "medium", "model": "auto"}, fast=True)
    assert loaded.config.flat()["model"] == "auto", "it was set"
    (preset.parent / "auto.yaml").write_text(f"extends: {preset}\nmodel: auto\n")
    loaded = load(preset.parent / "auto.yaml", {"hardware.tier": "medium"}, fast=True)
    assert loaded.config.flat()["model"] == "yolov8s.pt"
    assert planned(loaded, card(8))["model"] == "yolov8s.pt"


def test_weights_of_ones_own_stay_in_a_fast_training(preset: Path) -> None:
    (preset.parent / "own.yaml").write_text(f"extends: {preset}\nmodel: best.safetensors\n")
    loaded = load(preset.parent / "own.yaml", fast=True)
    assert loaded.config.flat()["model"] == "best.safetensors"
    assert "model" not in loaded.fast


def test_a_trainer_without_a_fast_training_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: mdfed\ndata: d\n")
    with pytest.raises(ConfigError, match="trainer 'mdfed' has no short first training"):
        load(tmp_path / "a.yaml", fast=True)


def test_a_section_that_is_set_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "kind: yolo\nmodel: m.pt\ndata: d.yaml\nfreeze: {strategy: backbone, unfreeze_at: 2}\n"
    )
    loaded = load(tmp_path / "a.yaml", {"freeze": {"strategy": "head-only"}})
    assert loaded.config.flat()["freeze.unfreeze_at"] == ""
    assert loaded.origins["freeze.strategy"] == "--set"
    assert loaded.origins["freeze.unfreeze_at"] == DEFAULT


def test_a_studys_overrides_are_kept_like_what_is_set() -> None:
    base = resolve(
        {
            "kind": "mdfed",
            "data": "d",
            "hardware": {"auto_scale": True, "keep": ["runner.workers"]},
        },
        {"runner": {"prefetch": 1}},
        "here",
    )
    config = kept(base, CATALOG["mdfed"], ("runner.batch", "seed"))
    assert (
        config.flat()["hardware.keep"] == "['runner.workers', 'runner.prefetch', 'runner.batch']"
    )


@pytest.mark.parametrize(
    ("device", "processes", "tier"),
    [
        ("auto", 1, "high"),
        ("cpu", 1, "cpu"),
        ("cuda:1", 1, "low"),
        ("1", 1, "low"),
        ("auto", 2, "low"),
    ],
)
def test_the_tier_is_that_of_the_device(device: str, processes: int, tier: str) -> None:
    (one,), (two,) = (card(gib).gpus for gib in (16, 4))
    machine = Machine(gpus=(one, two), visible=(one, two), cores=4)
    data = {"kind": "mdfed", "data": "d", "device": device, "runner": {"processes": processes}}
    config = resolve(data, {}, "here")
    knobs = CATALOG["mdfed"].knobs
    assert knobs
    seen = forecast(config, knobs, machine)
    assert seen.choice.tier.name == tier
    assert seen.gpu == (device != "cpu")


def test_an_unknown_device_is_one_sentence() -> None:
    config = resolve({"kind": "yolo", "model": "m.pt", "data": "d", "device": "tpu"}, {}, "here")
    knobs = CATALOG["yolo"].knobs
    assert knobs
    with pytest.raises(ConfigError, match="device 'tpu' is unknown; use cpu, cuda:0 or auto"):
        forecast(config, knobs, Machine())


def test_the_ladder_goes_down_from_what_is_planned(preset: Path) -> None:
    ladder = told(load(preset, {"hardware.max_attempts": 6}), card(4)).ladder
    assert ladder == (
        "batch 8 -> 4", "batch 4 -> 2", "imgsz 480 -> 448", "imgsz 448 -> 416", "imgsz 416 -> 384",
    )  # fmt: skip
    floor = {"hardware.smallest_size": 448, "hardware.recover_order": "cache"}
    assert told(load(preset, floor), card(4)).ladder[:2] == (
        "cache True -> False",
        "workers 4 -> 2",
    )
    assert "imgsz 480 -> 448" in told(load(preset, floor), card(4)).ladder
    assert not any("416" in step for step in told(load(preset, floor), card(4)).ladder)
    assert told(load(preset, {"hardware.recover": False}), card(4)).ladder == ()


def test_what_is_short_already_stays_in_a_fast_training(preset: Path) -> None:
    (preset.parent / "short.yaml").write_text(
        f"extends: {preset}\nepochs: 3\npatience: 5\naugment: {{close_mosaic: 0}}\n"
    )
    loaded = load(preset.parent / "short.yaml", {"model": "yolov8n.pt"}, fast=True)
    assert loaded.config.flat()["epochs"] == "3"
    assert loaded.fast == {}
