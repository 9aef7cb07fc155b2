"""A checkpoint of other classes: what fits is carried over by name, the rest is trained."""

from pathlib import Path

import pytest
import torch

from backend.core.errors import CheckpointError
from backend.core.events import Noted
from backend.nn.finetune.weights import load_weights, save_weights
from backend.trainers.yolo.architecture import base_classes, build, read_architecture
from backend.trainers.yolo.model import load_network, open_source, prepare
from backend.trainers.yolo.spec import YoloConfig
from tests.support.shapes import write_dataset
from tests.support.yolo_runs import Training, fit

OUTPUTS = [f"model.14.cv3.{level}.2.{kind}" for level in (0, 1) for kind in ("weight", "bias")]


def notes(run: Training) -> list[str]:
    return [event.message for event in run.events if isinstance(event, Noted)]


def test_class_outputs_follow_their_names(tuning: YoloConfig, trained: Training) -> None:
    prepared = prepare(tuning, ("disc", "Square ", "star", "triangle"))
    before, _ = load_weights(trained.best())
    after = prepared.network.state_dict()
    assert prepared.report is not None
    assert set(prepared.report.partial) == set(prepared.report.fresh) == set(OUTPUTS)
    for name in OUTPUTS:
        assert torch.equal(after[name][[0, 1, 3]], before[name][[1, 0, 2]])
    others = [name for name in before if name not in OUTPUTS]
    assert all(torch.equal(after[name], before[name]) for name in others)


def test_the_same_classes_in_another_order_are_carried_over_whole(
    tuning: YoloConfig, trained: Training
) -> None:
    prepared = prepare(tuning, ("triangle", "disc", "square"))
    before, _ = load_weights(trained.best())
    assert prepared.report is not None
    assert prepared.report.fresh == ()
    for name in OUTPUTS:
        assert torch.equal(prepared.network.state_dict()[name], before[name].flip(0))


def test_as_many_other_classes_start_in_order_and_that_is_told(tuning: YoloConfig) -> None:
    prepared = prepare(tuning, ("one", "two", "three"))
    assert prepared.report is not None
    assert prepared.report.fresh == ()
    assert any("knows none of the dataset's classes" in note for note in prepared.notes)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ["square", "disc", "triangle", "star", "moon"]
    return write_dataset(tmp_path_factory.mktemp("five"), {"train": 16, "val": 8}, names)


def test_fresh_outputs_are_trained_although_all_else_is_frozen(
    tuning: YoloConfig, five: Path, tmp_path: Path
) -> None:
    config = tuning.replace({"data": str(five), "freeze.strategy": "head-only"})
    run = fit(config, tmp_path)
    assert run.freezing("verified").violations == ()
    (note,) = (n for n in notes(run) if "start fresh" in n)
    assert all(name in note for name in OUTPUTS)
    network, source = load_network(run.best())
    assert source.names == ("square", "disc", "triangle", "star", "moon")
    assert network.model[-1].nc == 5


def test_fine_tuned_checkpoints_can_be_fine_tuned_back(
    tuning: YoloConfig, five: Path, tmp_path: Path
) -> None:
    run = fit(tuning.replace({"data": str(five), "epochs": 1}), tmp_path / "five")
    back = fit(tuning.replace({"model": str(run.best()), "epochs": 1}), tmp_path / "back")
    assert load_network(back.best())[1].names == ("square", "disc", "triangle")


def test_hidden_layers_that_were_sized_for_many_classes_are_kept(
    scratch: YoloConfig, five: Path, tmp_path: Path
) -> None:
    """A head's hidden width follows its class count; a checkpoint of 80 keeps 80."""
    architecture = read_architecture(Path(scratch.model))
    many = [f"class {number}" for number in range(80)]
    network = build(architecture, many, 80, "test")
    assert network.model[-1].cv3[0][-1].in_channels == 80
    facts = open_source_facts(architecture, many)
    save_weights(tmp_path / "many.safetensors", network.state_dict(), facts)
    config = scratch.replace(
        {"model": str(tmp_path / "many.safetensors"), "data": str(five), "epochs": 1}
    )
    prepared = prepare(config, ("a", "b"))
    assert prepared.report is not None
    assert set(prepared.report.fresh) == set(OUTPUTS)
    state = prepared.network.state_dict()
    assert base_classes(architecture, ("a", "b"), state, "test") == 80
    run = fit(config, tmp_path / "work")
    tuned, source = load_network(run.best())
    assert source.base == 80
    assert tuned.model[-1].cv3[0][-1].in_channels == 80
    assert tuned.model[-1].cv3[0][-1].out_channels == 5


def open_source_facts(architecture: dict[str, object], names: list[str]) -> dict[str, object]:
    """What a checkpoint of these classes would say of itself."""
    count = len(names)
    return {
        **{"architecture": architecture, "names": names, "nc": count, "base": count},
        **{"imgsz": 64, "epoch": 1, "step": 1, "ultralytics": "8", "trainer": "yolo"},
    }


def test_a_checkpoint_of_which_nothing_fits_is_refused(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    facts = open_source_facts(read_architecture(Path(scratch.model)), ["a"])
    save_weights(tmp_path / "odd.safetensors", {"other.weight": torch.zeros(3)}, facts)
    with pytest.raises(CheckpointError, match="none of its tensors fits"):
        prepare(scratch.replace({"model": str(tmp_path / "odd.safetensors")}), ("a",))
    with pytest.raises(CheckpointError, match="do not fit the architecture"):
        load_network(tmp_path / "odd.safetensors")


def test_facts_of_something_else_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "m.safetensors", {"w": torch.zeros(1)}, {"trainer": "toy"})
    with pytest.raises(CheckpointError, match="not a checkpoint of yolo, but of toy"):
        open_source(tmp_path / "m.safetensors")
