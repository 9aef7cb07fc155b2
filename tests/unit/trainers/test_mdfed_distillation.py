"""Stage 2: the student comes closer, the teacher stays as it is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backend.core.errors import CheckpointError
from backend.nn.finetune.weights import save_weights
from backend.runner.training import Point, Training
from backend.synthetic.rallies import ELEMENTS as TENNIS
from backend.synthetic.skeletons import write_spotting
from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.checkpoint import Saved, read_checkpoint
from backend.trainers.mdfed.distillation import DISTILL, Distillation, distiller
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.losses import LossSums
from backend.trainers.mdfed.model.network import MdFed, Outputs, build_network
from backend.trainers.mdfed.model.visual import VisualEncoder
from backend.trainers.mdfed.parts import HEADS, NETWORK, part_of, parts_of
from backend.trainers.mdfed.spec import MdFedConfig
from backend.trainers.mdfed.training import build
from tests.support.mdfed_batches import made_batch, mdfed_config, picked

ELEMENTS = ("near", "far", "serve", "stroke")
VISUAL = {"size": 32, "width": 8}


def config_of(path: Path, **model: object) -> MdFedConfig:
    chosen = {"preset": "tiny", "pretrained": str(path), **model}
    return mdfed_config(stage=2, visual=VISUAL, model=chosen)


def teacher_at(path: Path, context: bool = False, elements: tuple[str, ...] = ELEMENTS) -> Saved:
    """A checkpoint of stage 1 with batch norms that have seen data."""
    torch.manual_seed(5)
    config = mdfed_config(model={"preset": "tiny", "context": context})
    network = build_network(config, len(elements)).train()
    network(made_batch())
    with torch.no_grad():
        network.lcl.bias.copy_(torch.tensor([0.3, -0.3]))
    facts = {
        "trainer": "mdfed", "stage": 1, "elements": list(elements), "separator": "_",
        "groups": [], "length": 24, "stride": 2, "visual": VISUAL,
        "model": config.model.model_dump(mode="json"),
    }  # fmt: skip
    weights = {f"{NETWORK}{name}": tensor for name, tensor in network.state_dict().items()}
    save_weights(path, weights, facts)
    return read_checkpoint(path)


def learner_at(folder: Path, context: bool = False) -> tuple[Learner, MdFedConfig]:
    path = folder / "teacher.safetensors"
    saved = teacher_at(path, context)
    torch.manual_seed(6)
    config = config_of(path, context=context)
    return distiller(config, saved, ELEMENTS), config


def teacher_of(learner: Learner) -> MdFed:
    assert isinstance(learner.criterion, Distillation)
    return learner.criterion.teacher


def seen() -> Batch:
    batch = made_batch()
    random = torch.Generator().manual_seed(2)
    return replace(batch, frames=torch.rand((*batch.valid.shape, 3, 32, 32), generator=random))


def bits(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(module: nn.Module, before: dict[str, Tensor]) -> list[str]:
    return [
        name for name, now in module.state_dict().items() if not torch.equal(now, before[name])
    ]


def steps(learner: Learner, count: int) -> list[float]:
    batch, losses = seen(), []
    trainable = [one for one in learner.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=3e-3)
    for _ in range(count):
        optimizer.zero_grad()
        loss = learner.loss(batch)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_the_teacher_is_the_checkpoint_and_lends_its_heads(tmp_path: Path) -> None:
    learner, _ = learner_at(tmp_path, context=True)
    teacher, saved = teacher_of(learner), read_checkpoint(tmp_path / "teacher.safetensors")
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, saved.weights[f"{NETWORK}{name}"]), name
    for head in HEADS:
        own = getattr(learner.network, head).state_dict()
        for name, tensor in getattr(teacher, head).state_dict().items():
            assert torch.equal(own[name], tensor)
            assert own[name].data_ptr() != tensor.data_ptr(), "a copy"


def test_the_loss_is_the_mean_square_over_frames_that_are_there(tmp_path: Path) -> None:
    learner, _ = learner_at(tmp_path)
    learner.eval()
    batch, teacher = seen(), teacher_of(learner)
    total, values = 0.0, 0
    with torch.no_grad():
        student, wanted = learner.network.features(batch), teacher.features(batch)
    for window, frame in batch.valid.nonzero().tolist():
        for one, other in zip(student[window, frame], wanted[window, frame], strict=True):
            total, values = total + float(one - other) ** 2, values + 1
    losses = learner.loss(batch)
    assert list(losses) == [DISTILL, "loss"]
    assert losses["loss"].item() == pytest.approx(total / values, rel=1e-5)
    assert losses[DISTILL].item() == losses["loss"].item()
    sums = LossSums(learner.criterion)
    for rows in ([0], [1, 2]):
        frames = batch.frames[rows] if batch.frames is not None else None
        part = replace(picked(batch, rows), frames=frames)
        sums.add(learner.criterion(learner.network(part), part))
    assert sums.means()["loss"] == pytest.approx(total / values, rel=1e-5)


def test_a_batch_without_a_frame_loses_nothing(tmp_path: Path) -> None:
    learner, _ = learner_at(tmp_path)
    batch = seen()
    loss = learner.loss(replace(batch, valid=torch.zeros_like(batch.valid)))["loss"]
    assert loss.item() == 0


def test_labels_have_no_influence(tmp_path: Path) -> None:
    learner, _ = learner_at(tmp_path)
    learner.eval()
    batch = seen()
    other = replace(batch, coarse=1 - batch.coarse, fine=1 - batch.fine)
    assert torch.equal(learner.loss(batch)["loss"], learner.loss(other)["loss"])


def test_the_student_comes_closer_and_nothing_else_moves(tmp_path: Path) -> None:
    learner, _ = learner_at(tmp_path)
    learner.train()
    teacher, before = bits(teacher_of(learner)), bits(learner.network)
    losses = steps(learner, 15)
    assert losses[-1] < 0.8 * losses[0]
    assert moved(teacher_of(learner), teacher) == []
    parts = {part_of(name) for name in moved(learner.network, before)}
    assert parts == {"encoder", "temporal"}


def test_a_teacher_in_training_mode_would_drift(tmp_path: Path) -> None:
    """What the guard is for: the same steps with the teacher's batch norms left on."""
    learner, _ = learner_at(tmp_path)
    learner.train()
    assert not any(module.training for module in teacher_of(learner).modules())
    nn.Module.train(teacher_of(learner), True)
    before = bits(teacher_of(learner))
    steps(learner, 1)
    assert any("running_mean" in name for name in moved(teacher_of(learner), before))


def test_the_plan_trains_encoder_and_gru_of_the_student(tmp_path: Path) -> None:
    learner, config = learner_at(tmp_path)
    parts = parts_of(learner, config)
    trained = {name for name, _ in learner.named_parameters()} - parts.frozen
    assert {parts.part_of(name) for name in trained} == {"encoder", "temporal"}
    assert all(name.startswith(NETWORK) for name in trained)
    assert {parts.part_of(name) for name in parts.frozen} == {"teacher", "lcl", "mlc"}


def test_a_student_who_feels_the_same_says_the_same(tmp_path: Path) -> None:
    learner, _ = learner_at(tmp_path)
    learner.eval()
    teacher, batch = teacher_of(learner), seen()
    told: Outputs = teacher(batch)
    assert told.features is not None
    assert torch.equal(learner.network.lcl(told.features), told.event_logits)
    assert torch.equal(learner.network.mlc(told.features), told.element_logits)
    assert learner.criterion.means(learner.criterion(told, batch))["loss"].item() == 0


def test_a_teacher_of_other_elements_or_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    saved = teacher_at(path)
    with pytest.raises(CheckpointError, match=r"other elements than .*\(lob\); distil on data"):
        distiller(config_of(path), saved, (*ELEMENTS, "lob"))
    with pytest.raises(CheckpointError, match=r"other elements than .*their order"):
        distiller(config_of(path), saved, ELEMENTS[::-1])
    with pytest.raises(CheckpointError, match=r"model.preset=tiny, the student base; set model"):
        distiller(config_of(path, preset="base"), saved, ELEMENTS)
    with pytest.raises(CheckpointError, match=r"model.context=False, the student True"):
        distiller(config_of(path, context=True), saved, ELEMENTS)


@pytest.fixture(scope="module")
def rallies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spotting(tmp_path_factory.mktemp("d") / "r", train=2, val=3, holdout=1)


def training_of(rallies: Path, folder: Path, stage: int, pretrained: Path) -> Training:
    config = mdfed_config(
        data=str(rallies), stage=stage, visual=VISUAL, clips={"length": 24},
        model={"preset": "tiny", "pretrained": str(pretrained)}, runner={"batch": 3},
    )  # fmt: skip
    return build(config, folder / "work")


def distilling(rallies: Path, folder: Path) -> Training:
    teacher_at(folder / "teacher.safetensors", elements=TENNIS[14])
    return training_of(rallies, folder, 2, folder / "teacher.safetensors")


def test_a_distillation_is_validated_by_distance_and_by_what_is_found(
    rallies: Path, tmp_path: Path
) -> None:
    training = distilling(rallies, tmp_path)
    assert training.losses == (DISTILL,)
    assert training.survey is not None
    assert training.survey().baselines == (), "there are no labels to guess"
    with torch.no_grad():
        found = training.validate(training.model.eval(), Point(1, 2, 1, 1), {}).metrics
    assert found["val/distill_loss"] == found["val/loss"] > 0
    assert {"val/f1_lcl", "val/ap_frame"} <= set(found)
    assert "val/lcl_loss" not in found


def test_the_probe_permutes_what_the_student_sees_and_not_the_teacher(
    rallies: Path, tmp_path: Path
) -> None:
    training = distilling(rallies, tmp_path)
    assert training.probe is not None
    learner = training.model.eval()
    assert isinstance(learner, Learner)
    seeing = training.probe(learner, 50)
    assert seeing is not None
    assert seeing.permuted[DISTILL] != seeing.losses[DISTILL]
    assert isinstance(learner.network.encoder, VisualEncoder)
    nn.init.zeros_(learner.network.encoder.project.weight)
    nn.init.ones_(learner.network.encoder.project.bias)
    blind = training.probe(learner, 50)
    assert blind is not None
    assert blind.permuted[DISTILL] == blind.losses[DISTILL]
    assert blind.samples > 3


def test_the_student_goes_on_alone(rallies: Path, tmp_path: Path) -> None:
    """Stage 3 takes the student of a checkpoint that holds the teacher too."""
    training = distilling(rallies, tmp_path)
    path = tmp_path / "student.safetensors"
    save_weights(path, training.model.state_dict(), dict(training.facts))
    tuned = training_of(rallies, tmp_path, 3, path)
    assert isinstance(training.model, Learner)
    assert isinstance(tuned.model, Learner)
    for name, tensor in training.model.network.state_dict().items():
        assert torch.equal(tuned.model.network.state_dict()[name], tensor), name
    assert all(name.startswith(NETWORK) for name in tuned.model.state_dict())
    assert all(parameter.requires_grad for parameter in tuned.model.parameters())
    assert tuned.losses == ("lcl_loss", "mlc_loss")
    batch = tuned.data.collate([tuned.data.samples[0], tuned.data.samples[1]])
    assert tuned.model.loss(batch)["loss"].isfinite()
