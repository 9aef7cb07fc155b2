import pytest
import torch
from torch import Tensor, nn

from backend.core.events import MovementObserved
from backend.nn.finetune.freezing import Snapshot
from backend.nn.observing.movement import (
    Movement,
    fingerprints,
    frozen_modules,
    in_training,
)
from backend.nn.observing.sampling import LIMIT


def first_word(name: str) -> str:
    return name.partition(".")[0]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.teacher = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
        self.student = nn.Linear(6, 5)
        self.head = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.student(self.teacher(x)))
        return out


class Course:
    """A training whose plan freezes the teacher and the head's bias."""

    frozen = ("teacher.0.weight", "teacher.0.bias", "teacher.1.weight", "teacher.1.bias",
              "head.bias")  # fmt: skip

    def __init__(self, kept: tuple[str, ...] = frozen) -> None:
        self.net = Net()
        parameters = dict(self.net.named_parameters())
        for name in kept:
            parameters[name].requires_grad_(False)
        self.net.teacher.eval()
        moving = [p for p in parameters.values() if p.requires_grad]
        self.optimizer = torch.optim.SGD(moving, lr=0.1)
        start = Snapshot(self.net, self.frozen)
        self.movement = Movement(self.net, self.optimizer, self.frozen, first_word, start)

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.net(torch.randn(8, 4, generator=torch.manual_seed(1))).square().mean().backward()
        self.optimizer.step()


def rows(seen: MovementObserved) -> dict[tuple[str, str], tuple[int, int, int, int | None]]:
    return {
        (g.name, g.planned): (g.tensors, g.requires_grad, g.in_optimizer, g.changed)
        for g in seen.groups
    }


def test_a_healthy_training_moves_what_is_planned_and_nothing_else() -> None:
    course = Course()
    course.step()
    seen = course.movement.look(1)
    assert rows(seen) == {
        ("teacher", "frozen"): (4, 0, 0, 0),
        ("student", "trainable"): (2, 2, 2, 2),
        ("head", "trainable"): (1, 1, 1, 1),
        ("head", "frozen"): (1, 0, 0, 0),
    }
    assert list(rows(seen)) == [(g.name, g.planned) for g in seen.groups]
    assert (seen.step, seen.since, seen.thawed, seen.training) == (1, 0, (), ())
    changes = {(g.name, g.planned): g.change for g in seen.groups}
    assert changes["teacher", "frozen"] == 0
    assert (changes["student", "trainable"] or 0) > 1e-4


def test_the_change_is_relative_and_since_the_last_look() -> None:
    course = Course()
    with torch.no_grad():
        course.net.student.weight.mul_(1.5)
        course.net.student.bias.mul_(1.5)
    first = course.movement.look(3)
    second = course.movement.look(6)
    student = [next(g for g in seen.groups if g.name == "student") for seen in (first, second)]
    assert student[0].change == pytest.approx(0.5, rel=1e-5)
    assert (student[1].changed, student[1].change) == (0, 0.0)
    assert (second.since, second.step) == (3, 6)


def test_what_is_planned_to_train_and_does_not_is_seen_as_such() -> None:
    course = Course(kept=(*Course.frozen, "student.weight"))
    course.step()
    assert rows(course.movement.look(1))["student", "trainable"] == (2, 1, 1, 1)


def test_a_teacher_in_training_mode_thaws_and_is_named() -> None:
    course = Course()
    course.net.teacher.train()
    course.step()
    seen = course.movement.look(1)
    assert seen.training == ("teacher",)
    assert seen.thawed == (
        "teacher.1.num_batches_tracked", "teacher.1.running_mean", "teacher.1.running_var",
    )  # fmt: skip
    assert rows(seen)["teacher", "frozen"][3] == 0, "its parameters stay"


def test_a_frozen_parameter_that_moved_is_thawed_for_good() -> None:
    course = Course(kept=Course.frozen[1:])
    course.step()
    assert course.movement.look(1).thawed == ("teacher.0.weight",)
    later = course.movement.look(2)
    assert later.thawed == ("teacher.0.weight",), "compared with the start"
    assert rows(later)["teacher", "frozen"] == (4, 1, 1, 0), "compared with the last look"


def test_only_active_layers_of_modules_that_are_frozen_as_a_whole_count() -> None:
    net = Net()
    names = [name for name, _ in net.teacher.named_parameters(prefix="teacher")]
    assert in_training(frozen_modules(net, names)) == ("teacher",)
    assert in_training(frozen_modules(net, names[:-1])) == (), "not frozen as a whole"
    net.teacher[1].eval()
    assert in_training(frozen_modules(net, names)) == ("teacher",), "its dropout is active"
    net.teacher[2].eval()
    assert in_training(frozen_modules(net, names)) == (), "the container's own mode does nothing"
    gru = nn.ModuleDict({"gru": nn.GRU(2, 2, num_layers=2, dropout=0.1), "out": nn.Linear(2, 1)})
    inside = [name for name, _ in gru["gru"].named_parameters(prefix="gru")]
    assert in_training(frozen_modules(gru, inside)) == ("gru",)
    everything = [name for name, _ in gru.named_parameters()]
    assert in_training(frozen_modules(gru, everything)) == ("the whole model",)


def test_the_rate_is_a_share_of_its_peak() -> None:
    course = Course()
    torch.optim.lr_scheduler.LambdaLR(course.optimizer, lambda step: 0.25)
    course.step()
    rates = {(g.name, g.planned): g.rate for g in course.movement.look(1).groups}
    assert rates["student", "trainable"] == pytest.approx(0.25)
    assert rates["teacher", "frozen"] == 1


def test_the_rate_is_the_highest_of_the_steps_since_the_last_look() -> None:
    course = Course()
    shares = iter((0.0, 0.5, 0.25, 0.75, 1.0))
    schedule = torch.optim.lr_scheduler.LambdaLR(course.optimizer, lambda step: next(shares))

    def rate_after(steps: int) -> float:
        for _ in range(steps):
            course.step()
            schedule.step()
        groups = course.movement.look(1).groups
        return next(g.rate for g in groups if (g.name, g.planned) == ("student", "trainable"))

    assert rate_after(1) == 0, "the schedule is at 0.5 by now, which no step had"
    assert rate_after(2) == pytest.approx(0.5)
    assert rate_after(0) == 0, "no step"
    assert rate_after(1) == pytest.approx(0.75)


def test_what_no_gradient_reaches_stands_still_at_its_full_rate() -> None:
    course = Course()
    course.net.head(torch.ones(2, 5)).sum().backward()
    course.optimizer.step()
    seen = {(g.name, g.planned): g for g in course.movement.look(1).groups}
    student, head = seen["student", "trainable"], seen["head", "trainable"]
    assert (student.in_optimizer, student.changed, student.change) == (2, 0, 0.0)
    assert (student.rate, head.rate, head.changed) == (1.0, 1.0, 1)


def test_who_looks_no_more_leaves_the_optimizer_alone() -> None:
    course = Course()
    course.movement.end()
    course.step()
    rates = {(g.name, g.planned): g.rate for g in course.movement.look(1).groups}
    assert rates["student", "trainable"] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.int64])
def test_one_bit_of_a_large_tensor_changes_its_fingerprint(dtype: torch.dtype) -> None:
    tensor = torch.zeros(LIMIT * 3 + 1).to(dtype)
    before = fingerprints([tensor, torch.tensor(1.0)])
    tensor[4] = 1
    after = fingerprints([tensor, torch.tensor(1.0)])
    assert (before != after).tolist() == [True, False]
    other = torch.zeros(1).neg()
    assert fingerprints([other]) != fingerprints([torch.zeros(1)]), "-0 is another bit"
