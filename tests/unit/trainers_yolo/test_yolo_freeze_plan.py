"""What a strategy means for networks of several generations."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from backend.core.errors import ConfigError
from backend.trainers.yolo.architecture import build, read_architecture
from backend.trainers.yolo.freeze import declared, make_plan
from backend.trainers.yolo.spec import STRATEGIES, OptimizerConfig
from tests.support.shapes import TINY

SHIPPED = ("yolov8n.yaml", "yolo11n.yaml", "yolov10n.yaml", "yolo26n.yaml", "yolov5n.yaml")


def tiny() -> Any:
    return build(yaml.safe_load(yaml.safe_dump(TINY)), ("a", "b"), 2, "tiny")


@pytest.fixture(scope="module", params=[None, *SHIPPED])
def network(request: pytest.FixtureRequest) -> Any:
    if request.param is None:
        return tiny()
    return build(read_architecture(Path(request.param)), ("a", "b"), 2, request.param)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ultralytics_freezes_exactly_what_is_planned(network: Any, strategy: str) -> None:
    """Its rule, written down again: a name is frozen if it contains ``model.<entry>.``."""
    plan = make_plan(network, strategy)
    patterns = [f"model.{entry}." for entry in plan.modules]
    names = {name for name, _ in network.named_parameters()}
    assert {n for n in names if any(p in n for p in patterns)} == plan.frozen
    quiet = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and any(p in name for p in patterns)
    }
    assert {name.rpartition(".")[0] for name in plan.statistics} == quiet
    assert plan.always == {name for name in names if ".dfl." in name}


def test_strategies_freeze_more_and_more(network: Any) -> None:
    frozen = [make_plan(network, strategy).frozen for strategy in STRATEGIES]
    assert frozen[0] == frozenset()
    assert frozen[0] < frozen[1] < frozen[2] < frozen[3]


def test_the_backbone_is_what_the_architecture_says(network: Any) -> None:
    count = len(network.yaml["backbone"])
    frozen = make_plan(network, "backbone").frozen
    assert {int(name.split(".")[1]) < count for name in frozen} == {True}
    rest = {name for name, _ in network.named_parameters()} - frozen
    assert min(int(name.split(".")[1]) for name in rest) >= count


def test_head_only_trains_the_last_convolution_of_each_branch(network: Any) -> None:
    plan = make_plan(network, "head-only")
    left = sorted(plan.sizes.keys() - plan.frozen - plan.always)
    head = network.model[-1]
    outputs = {
        id(parameter)
        for name in ("cv2", "cv3", "one2one_cv2", "one2one_cv3")
        for branch in getattr(head, name, None) or ()
        for parameter in branch[-1].parameters()
    }
    assert {id(p) for name, p in network.named_parameters() if name in left} == outputs
    assert all(name.endswith((".weight", ".bias")) for name in left)


def test_fresh_tensors_are_trained_with_the_norm_beside_them() -> None:
    plan = make_plan(tiny(), "head-only", ["model.0.conv.weight"])
    assert not {"model.0.conv.weight", "model.0.bn.weight", "model.0.bn.bias"} & plan.frozen
    assert not any(name.startswith("model.0.") for name in plan.statistics)
    assert "model.1.conv.weight" in plan.frozen


def test_a_fresh_output_layer_thaws_nothing_else() -> None:
    plan = make_plan(tiny(), "head-only", ["model.14.cv3.0.2.bias"])
    assert plan.frozen == make_plan(tiny(), "head-only").frozen


def test_parameters_are_counted_once(network: Any) -> None:
    total = sum(parameter.numel() for parameter in network.parameters())
    for strategy in STRATEGIES:
        report = declared(make_plan(network, strategy), OptimizerConfig())
        assert [group.name for group in report.groups] == ["backbone", "neck", "head"]
        assert total == sum(g.trainable + g.frozen + g.always_frozen for g in report.groups)


def test_a_parameter_outside_of_the_numbered_modules_is_refused() -> None:
    network = tiny()
    network.extra = nn.Linear(1, 1)
    with pytest.raises(ConfigError, match=r"extra\.weight belongs to no numbered module"):
        make_plan(network, "backbone")


def test_the_tiny_architecture_is_what_its_comment_says() -> None:
    path = Path(__file__).parents[3] / "configs/models/yolo-tiny.yaml"
    network = build(read_architecture(path), ("a", "b", "c", "d"), 4, str(path))
    assert len(network.model) == 15
    assert network.stride.tolist() == [8, 16]
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(0.87e6, rel=0.01)
