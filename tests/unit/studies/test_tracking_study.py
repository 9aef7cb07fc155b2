"""The search space of MOTRv2: what is drawn is valid and keeps its proportions."""

from pathlib import Path

import optuna
import pytest

from backend.core.errors import StudyError
from backend.tracking.home import Home
from backend.trainers.mdfed.spec import MdFedConfig
from backend.trainers.motrv2.spec import SPEC, Motrv2Config
from studies import _spec
from studies._run import StudyRun, run_study

SEARCHED = {
    "freeze.strategy", "runner.optimizer.lr.all", "runner.optimizer.lr.backbone", "epochs",
    "runner.schedule.milestones",
}  # fmt: skip


def config(**given: object) -> Motrv2Config:
    base = {"name": "here", "data": "players", "source": "people"}
    return Motrv2Config.model_validate({**base, "model": {"pretrained": "one.pth"}, **given})


def drawn(base: Motrv2Config, count: int = 60) -> list[Motrv2Config]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, spec = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), found()
    for params in spec.first(base):
        study.enqueue_trial(params)
    return [base.replace(spec.suggest(study.ask(), SPEC, base)) for _ in range(count)]


def found() -> _spec.StudySpec:
    return _spec.find("tracking")


def test_it_looks_for_hota_up_and_forgetting_down() -> None:
    aims = [(aim.metric, aim.direction) for aim in found().objectives(SPEC)]
    assert aims == [("val/cls_HOTA", "maximize"), ("source/forgetting", "minimize")]
    known = {spec.name: spec.direction for spec in SPEC.metrics}
    assert all(known[key.partition("/")[2]] == direction for key, direction in aims)


def test_plain_full_fine_tuning_comes_first_and_moderate_next() -> None:
    plain, moderate = drawn(config(), 2)
    assert plain == config()
    assert moderate == config(freeze={"strategy": "moderate"})


def test_strategy_rate_and_epochs_are_searched() -> None:
    configs = drawn(config())
    flats = [one.flat() for one in configs]
    assert {key for key in flats[0] if len({flat[key] for flat in flats}) > 1} == SEARCHED
    assert {one.freeze.strategy for one in configs} == set(SPEC.strategies) - {"custom"}
    assert {one.epochs for one in configs} == {5, 10, 15}


def test_the_backbone_follows_and_epochs_keep_their_place() -> None:
    base = config(clips={"lengths": (2, 3), "epochs": (2,)})
    for one in drawn(base):
        rates, factor = one.runner.optimizer.lr, one.epochs // base.epochs
        followed = rates["all"] / 10 if one.freeze.strategy == "full" else 2e-5
        assert rates["backbone"] == pytest.approx(followed)
        assert one.runner.schedule.milestones == (4 * factor,)
        assert one.clips.epochs == (2 * factor,)


def test_minimal_is_tried_only_with_heads_that_learn() -> None:
    blind = config(freeze={"train_new": False})
    assert "minimal" not in {one.freeze.strategy for one in drawn(blind)}


def test_own_modules_are_no_part_of_the_search() -> None:
    own = config(freeze={"strategy": "custom", "modules": ("QIM",)})
    assert {one.freeze.modules for one in drawn(own)} == {()}


@pytest.mark.parametrize(
    ("base", "refusal"),
    [
        (config(source=None), r"source/forgetting, .* has no 'source'; .* --set source=PATH"),
        (None, r"searches what only motrv2 has, and the config is of kind 'mdfed'"),
    ],
)
def test_a_config_that_cannot_be_searched_is_refused_at_once(
    base: Motrv2Config | None, refusal: str, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    given = base or MdFedConfig.model_validate({"name": "here", "data": "rallies"})
    run = StudyRun(home=home, spec=found(), base=given, name="both", trials=1)
    with pytest.raises(StudyError, match=refusal):
        run_study(run)
    assert not home.root.exists(), "nothing was begun"
