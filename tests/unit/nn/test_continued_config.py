"""Which settings a continued run may change."""

from pathlib import Path

import pytest

from backend.core.errors import ConfigError
from backend.nn.finetune.resuming import check_config
from backend.runner.progress import MAY_CHANGE as OF_RUNNER
from backend.trainers.yolo.progress import MAY_CHANGE as OF_YOLO
from backend.trainers.yolo.spec import YoloConfig

PLAIN = YoloConfig.model_validate({"model": "a.yaml", "data": "b.yaml"})


def check(may_change: tuple[str, ...], **changed: object) -> None:
    now = PLAIN.replace(dict(changed))
    check_config(Path("run"), PLAIN.model_dump_json(), now.model_dump_json(), may_change)


@pytest.mark.parametrize("may_change", [OF_RUNNER, OF_YOLO])
def test_what_no_epoch_depends_on_is_free_for_each_trainer(may_change: tuple[str, ...]) -> None:
    free = {"recover": False, "recover_order": "cache", "max_attempts": 3, "smallest_size": 64}
    more = {"tensorboard": True, "name": "other", "diagnostics.stop": "never"}
    check(may_change, **{f"hardware.{key}": v for key, v in free.items()}, **more)
    check(may_change, **{"hardware.sample": 0})


@pytest.mark.parametrize("may_change", [OF_RUNNER, OF_YOLO])
@pytest.mark.parametrize(
    "changed", [{"epochs": 7}, {"seed": 7}, {"hardware.auto_scale": True}, {"batch": 7}]
)
def test_what_decides_the_weights_is_not(
    may_change: tuple[str, ...], changed: dict[str, object]
) -> None:
    (key,) = changed
    with pytest.raises(ConfigError, match=rf"had {key} = .*, now it is"):
        check(may_change, **changed)
