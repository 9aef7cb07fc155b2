import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backend.nn.observing.nonfinite import (
    lost_gradient,
    lost_input,
    lost_parameter,
    lost_part,
    names_of,
)


class Pair(NamedTuple):
    images: Tensor
    targets: list[dict[str, Tensor]]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    joints: Tensor
    roots: Tensor
    names: tuple[str, ...] = ("a", "b")


GOOD, BAD = torch.ones(2), torch.tensor([1.0, math.nan])


def test_the_input_is_found_in_whatever_a_batch_is() -> None:
    assert lost_input(GOOD) is None
    assert lost_input(torch.arange(3)) is None
    assert lost_input(BAD) == "batch"
    assert lost_input((GOOD, BAD)) == "1"
    assert lost_input(Pair(GOOD, [{"boxes": BAD}])) == "targets.0.boxes"
    assert lost_input(Window(GOOD, BAD)) == "roots"
    assert lost_input({"img": BAD / 0, "names": ["x"]}) == "img"
    assert lost_input(Window(GOOD, GOOD)) is None


def test_samples_are_named_where_the_batch_knows() -> None:
    assert names_of(Window(GOOD, GOOD)) == ("a", "b")
    assert names_of({"names": [7, 8]}) == ("7", "8")
    assert names_of(Pair(GOOD, [])) == ()
    assert names_of((GOOD, GOOD)) == names_of(GOOD) == names_of({"img": GOOD}) == ()


class Overflowing(nn.Module):
    """The root of zero has no gradient: it arises in ``second``."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(2, 2) for _ in range(3))
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.third(self.second(self.first(x)).sqrt())
        return out


def test_the_module_in_which_a_gradient_was_lost_is_found() -> None:
    net = Overflowing()
    assert lost_gradient(net) is None
    net(GOOD).sum().backward()
    assert lost_gradient(net) == "second"
    assert lost_parameter(net) is None
    nn.init.constant_(net.first.bias, math.inf)
    assert lost_parameter(net) == "first"
    assert lost_parameter(nn.ParameterList([BAD])) == "ParameterList"


def test_the_part_of_the_loss_is_found_before_the_total() -> None:
    nan, one = torch.tensor(math.nan), torch.tensor(1.0)
    assert lost_part({"loss": nan, "lcl_loss": one, "mlc_loss": nan}, "loss") == "mlc_loss"
    assert lost_part({"loss": nan, "lcl_loss": one}, "loss") == "loss"
    assert lost_part({"loss": one}, "loss") is None
