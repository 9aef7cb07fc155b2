"""mmengine's Runner without what it does besides training."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from backend.runner.loop import TrainLoop
from backend.runner.mm import Hook, MessageHub, MMLogger, Runner
from backend.runner.progress import state_path
from backend.runner.session import Session

NAME = "assay"
UNUSED = ("runtime_info", "timer", "sampler_seed", "logger", "checkpoint")


class QuietRunner(Runner):
    """Runs a built session: it surveys no environment, writes no file, and moves no model.

    Nothing of it enters mmengine's tables of named instances, so that several runs fit in one
    process (as in tests). It keeps the order of hooks and the stepping of schedules.
    """

    def __init__(self, session: Session, loop: TrainLoop, hooks: Sequence[Hook]) -> None:
        super().__init__(
            model=session.trained,
            work_dir=str(state_path(session.work_dir).parent),
            train_dataloader=session.stream,
            train_cfg=loop,
            optim_wrapper=session.optimization,
            param_scheduler=session.schedules or None,
            default_hooks=dict.fromkeys(UNUSED),
            custom_hooks=list(hooks),
            default_scope=None,
            randomness={"seed": session.training.config.seed},
        )
        loop.attach(self)

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """No start method, file limits or process group of its own."""
        self._rank, self._world_size = 0, 1
        self._timestamp = ""  # it would name a folder for its log

    def set_randomness(self, **_: Any) -> None:
        """``seeds`` does it, batch by batch."""
        self._seed, self._deterministic = 0, False

    def build_logger(self, log_level: int | str = "INFO", **_: Any) -> MMLogger:
        """Warnings only, and no file."""
        return MMLogger(name=NAME, log_level="WARNING")

    def build_message_hub(self, message_hub: Any = None) -> MessageHub:
        """Metrics are events; this one stays empty."""
        return MessageHub(NAME)

    def build_visualizer(self, visualizer: Any = None) -> None:
        """Nothing is drawn; mmengine's would load matplotlib."""

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """The session put it on its device and, if need be, into DDP."""
        return model

    def dump_config(self) -> None:
        """The resolved config lies in the work directory already."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """``RunStarted`` tells what matters."""
