"""Each ratio of made images takes the steps of the base config."""

import math

import pytest

from backend.core.errors import StudyError
from backend.trainers.yolo.plan import plan_of
from backend.trainers.yolo.spec import SPEC, YoloConfig
from studies import _spec
from studies.copy_paste import RATIOS

REAL = 320
FOLDERS = {"annotated_dir": "cups", "backgrounds_dir": "rooms"}


def base(**given: object) -> YoloConfig:
    plain = {"model": "m.safetensors", "data": "d.yaml", "synthetic": FOLDERS}
    return YoloConfig.model_validate(plain | given)


def first(config: YoloConfig) -> list[YoloConfig]:
    """The trials that come before the sampler's."""
    study = _spec.find("copy_paste")
    return [config.replace(study.overrides(p, SPEC, config)) for p in study.first(config)]


def steps(config: YoloConfig) -> int:
    images = REAL + round(config.synthetic.ratio * REAL)
    return plan_of(config, images, config.optimizer.nbs, ()).steps


@pytest.mark.parametrize("epochs", [7, 20, 50])
@pytest.mark.parametrize("own", [0.0, 1.0, 2.0])
def test_every_ratio_takes_the_steps_of_the_base_within_half_an_epoch(
    epochs: int, own: float
) -> None:
    config = base(epochs=epochs, synthetic={**FOLDERS, "ratio": own})
    trials = first(config)
    assert tuple(trial.synthetic.ratio for trial in trials) == RATIOS
    for trial in trials:
        in_an_epoch = math.ceil(REAL * (1 + trial.synthetic.ratio) / config.optimizer.nbs)
        assert abs(steps(trial) - steps(config)) <= in_an_epoch / 2 + 2
        assert trial.patience == 0, "stopping early would make the steps unequal"


def test_what_is_counted_in_epochs_is_scaled_with_them() -> None:
    config = base(epochs=20, augment={"close_mosaic": 6}, val_period=2,
                  synthetic={**FOLDERS, "ratio": 1.0, "close": 3})  # fmt: skip
    real_only = first(config)[0]
    assert (real_only.epochs, real_only.augment.close_mosaic) == (40, 12)
    assert (real_only.val_period, real_only.optimizer.warmup_epochs) == (4, 2.0)
    assert real_only.synthetic.close == 6
    assert first(config)[2].replace({"patience": config.patience}) == config


@pytest.mark.parametrize("synthetic", [{}, {**FOLDERS, "enabled": False}])
def test_without_folders_there_is_nothing_to_study(synthetic: dict[str, object]) -> None:
    with pytest.raises(StudyError, match=r"has nothing to paste; name synthetic\.annotated"):
        _spec.find("copy_paste").check(base(synthetic=synthetic))
