import subprocess
import sys

import pytest
from pydantic import ValidationError

from backend.runner.config import RunnerConfig
from tests.support.runner_toy import RunnerToyConfig


def test_a_spec_can_have_it_without_a_training_stack() -> None:
    code = (
        "import sys, backend.runner.config\n"
        "print(sorted({'torch', 'mmengine', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_groups_rate_is_an_ordinary_key() -> None:
    config = RunnerToyConfig(data="x").replace({"runner.optimizer.lr.head": 0.5})  # type: ignore[arg-type]
    assert config.runner.optimizer.lr == {"backbone": 0.01, "head": 0.5}
    assert config.flat()["runner.optimizer.lr.head"] == "0.5"


@pytest.mark.parametrize(
    "wrong",
    [{"optimizer": {"lr": {"all": 0}}}, {"amp": "half"}, {"validation": {"interval": 0}},
     {"batchsize": 3}, {"checkpoints": {"resume_interval": 2}}],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RunnerConfig.model_validate(wrong)
