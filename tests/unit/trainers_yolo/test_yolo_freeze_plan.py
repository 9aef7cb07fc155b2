"""What a strategy means for networks of several generations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from backend.config.schema import CUSTOM
from backend.core.errors import ConfigError
from backend.trainers.yolo.architecture import build, read_architecture
from backend.trainers.yolo.freeze import Plan, declared, make_plan
from backend.trainers.yolo.spec import STRATEGIES, OptimizerConfig, YoloFreezeConfig
from tests.support.shapes import TINY

NAMED = [strategy for strategy in STRATEGIES if strategy != CUSTOM]
SHIPPED = ("yolov8n.yaml", "yolo11n.yaml", "yolov10n.yaml", "yolo26n.yaml", "yolov5n.yaml")


def plan_of(network: Any, strategy: str, fresh: Sequence[str] = (), **freeze: object) -> Plan:
    choice = YoloFreezeConfig.model_validate({"strategy": strategy, **freeze})
    return make_plan(network, choice, fresh)


def custom(network: Any, modules: object, fresh: Sequence[str] = ()) -> Plan:
    return plan_of(network, CUSTOM, fresh, modules=modules)


def tiny() -> Any:
    return build(yaml.safe_load(yaml.safe_dump(TINY)), ("a", "b"), 2, "tiny")


@pytest.fixture(scope="module", params=[None, *SHIPPED])
def network(request: pytest.FixtureRequest) -> Any:
    if request.param is None:
        return tiny()
    return build(read_architecture(Path(request.param)), ("a", "b"), 2, request.param)


@pytest.mark.parametrize(
    "freeze",
    [
        *({"strategy": strategy} for strategy in NAMED),
        *({"strategy": CUSTOM, "modules": modules} for modules in (3, [0, 4], ["1.conv", "6"])),
    ],
    ids=str,
)
def test_ultralytics_freezes_exactly_what_is_planned(
    network: Any, freeze: dict[str, object]
) -> None:
    """Its rule, written down again: a name is frozen if it contains ``model.<entry>.``."""
    plan = make_plan(network, YoloFreezeConfig.model_validate(freeze))
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
    frozen = [plan_of(network, strategy).frozen for strategy in NAMED]
    assert frozen[0] == frozenset()
    assert frozen[0] < frozen[1] < frozen[2] < frozen[3]


def test_the_backbone_is_what_the_architecture_says(network: Any) -> None:
    count = len(network.yaml["backbone"])
    frozen = plan_of(network, "backbone").frozen
    assert {int(name.split(".")[1]) < count for name in frozen} == {True}
    rest = {name for name, _ in network.named_parameters()} - frozen
    assert min(int(name.split(".")[1]) for name in rest) >= count


def test_head_only_trains_the_last_convolution_of_each_branch(network: Any) -> None:
    plan = plan_of(network, "head-only")
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
    plan = plan_of(tiny(), "head-only", ["model.0.conv.weight"])
    assert not {"model.0.conv.weight", "model.0.bn.weight", "model.0.bn.bias"} & plan.frozen
    assert not any(name.startswith("model.0.") for name in plan.statistics)
    assert "model.1.conv.weight" in plan.frozen


def test_a_fresh_output_layer_thaws_nothing_else() -> None:
    plan = plan_of(tiny(), "head-only", ["model.14.cv3.0.2.bias"])
    assert plan.frozen == plan_of(tiny(), "head-only").frozen


def test_parameters_are_counted_once(network: Any) -> None:
    total = sum(parameter.numel() for parameter in network.parameters())
    for strategy in NAMED:
        report = declared(plan_of(network, strategy), OptimizerConfig())
        assert [group.name for group in report.groups] == ["backbone", "neck", "head"]
        assert total == sum(g.trainable + g.frozen + g.always_frozen for g in report.groups)


def indices(plan: Plan) -> set[int]:
    return {int(name.split(".")[1]) for name in plan.frozen}


def test_a_number_freezes_the_first_modules_and_a_list_those_with_these_places() -> None:
    assert indices(custom(tiny(), 3)) == {0, 1, 2}
    assert indices(custom(tiny(), [3])) == indices(custom(tiny(), "3")) == {3}
    assert indices(custom(tiny(), "model.3")) == {3}
    assert custom(tiny(), 8).frozen == plan_of(tiny(), "backbone").frozen


def test_a_module_inside_of_another_is_frozen_by_its_name() -> None:
    plan = custom(tiny(), ["14.cv2", "14.cv3.1"])
    assert plan.modules == ("14.cv2", "14.cv3.1")
    assert {name.rpartition(".")[0].split(".")[2] for name in plan.frozen} == {"cv2", "cv3"}
    assert not any("cv3.0" in name for name in plan.frozen)
    assert all(name.startswith("model.14.") for name in plan.statistics)
    assert not plan.frozen & plan.always


def test_the_fixed_weights_of_a_frozen_head_are_counted_apart() -> None:
    head = tiny()
    report = declared(custom(head, ["14"]), OptimizerConfig()).groups[2]
    assert (report.trainable, report.always_frozen) == (0, 16)
    assert report.frozen == sum(p.numel() for p in head.model[14].parameters()) - 16


def test_fresh_class_rows_are_trained_though_their_module_is_frozen() -> None:
    fresh = ["model.14.cv3.0.2.weight", "model.14.cv3.0.2.bias"]
    plan = custom(tiny(), ["14.cv3"], fresh)
    assert not plan.frozen & set(fresh)
    assert "model.14.cv3.0.1.conv.weight" in plan.frozen
    assert "model.14.cv3.1.2.weight" in plan.frozen


@pytest.mark.parametrize(
    ("modules", "sentence"),
    [
        (16, "freeze.modules 16: the network has 15 modules"),
        (["20"], "there is no module '20'; there are 0 to 14"),
        (["head"], "there is no module 'head'; there are 0 to 14"),
        (["14.cv9"], "there is no module '14.cv9'; module 14 has cv2, cv3, dfl"),
        (["0.conv.weight"], "there is no module '0.conv.weight'; module 0.conv has none inside"),
        (["8"], "freeze.modules 8: nothing in there can be frozen"),
        (["14.dfl"], "freeze.modules 14.dfl: nothing in there can be frozen"),
        (15, "freeze.strategy 'custom' leaves nothing to train"),
    ],
)
def test_modules_that_cannot_be_frozen_are_one_sentence(modules: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        custom(tiny(), modules)
    assert sentence in str(raised.value)


def test_a_plan_ends_when_its_epochs_are_over() -> None:
    plan = plan_of(tiny(), "backbone", unfreeze_at=2)
    assert plan.at(0) is plan.at(1) is plan
    later = plan.at(2)
    assert (later.frozen, later.modules, later.statistics) == (frozenset(), (), ())
    assert later.always == plan.always
    assert plan_of(tiny(), "backbone").at(10**6).frozen == plan.frozen


def test_a_parameter_outside_of_the_numbered_modules_is_refused() -> None:
    network = tiny()
    network.extra = nn.Linear(1, 1)
    with pytest.raises(ConfigError, match=r"extra\.weight belongs to no numbered module"):
        plan_of(network, "backbone")


def test_the_tiny_architecture_is_what_its_comment_says() -> None:
    path = Path(__file__).parents[3] / "configs/models/yolo-tiny.yaml"
    network = build(read_architecture(path), ("a", "b", "c", "d"), 4, str(path))
    assert len(network.model) == 15
    assert network.stride.tolist() == [8, 16]
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(0.87e6, rel=0.01)
