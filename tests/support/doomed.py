"""Promotions in processes that are killed, or made to wait, before a chosen step.

Run as a program: it imports MLflow once, opens no database, and forks for each order that it
reads, one JSON object per line::

    {"home": ..., "decision": {...}, "kill": 3}        SIGKILL before the step of this number
    {"home": ..., "decision": {...}, "pause": "set_terminated"}    say so, go on after a line
    {"home": ..., "rollback": "model", "kill": 0}

and answers each with one: the exit status, and the error or the names of all steps.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from backend.core.errors import StoreError
from backend.core.records import PromotionDecision
from backend.core.trainer import TrainerSpec
from backend.tracking.home import Home
from backend.tracking.packaging import save_served_model
from backend.tracking.registry import Registry
from tests.support.registering import CONFIG, judged
from tests.support.spots import load_spec

CHANGING = ("create_", "set_", "log_", "delete_", "finalize_", "update_")
Step = Callable[[int, str], None]


@contextmanager
def watched(before: Step) -> Iterator[list[str]]:
    """Call ``before`` with number and name of each step: a call that changes what MLflow holds."""
    steps: list[str] = []

    def wrap(name: str, method: Any) -> Any:
        @wraps(method)
        def step(*args: Any, **kwargs: Any) -> Any:
            steps.append(name)
            before(len(steps) - 1, name)
            return method(*args, **kwargs)

        return step

    with pytest.MonkeyPatch.context() as patch:
        for name in dir(MlflowClient):
            if name.startswith(CHANGING):
                patch.setattr(MlflowClient, name, wrap(name, getattr(MlflowClient, name)))
        yield steps


def main() -> None:
    """Serve orders until the input ends; the argument is the folder of a plugin."""
    spec = load_spec(Path(sys.argv[1]))
    _warm_up(spec)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _obey(order, spec)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            _say({"killed": os.WTERMSIG(status)})


def _warm_up(spec: TrainerSpec) -> None:
    """What MLflow does once per process, so that the children need not."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        save_served_model(Path(folder) / "model", judged(home, 1), spec, CONFIG, None)


def _obey(order: dict[str, Any], spec: TrainerSpec) -> None:
    def before(number: int, name: str) -> None:
        if number == order.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name == order.get("pause"):
            _say({"paused": name})
            sys.stdin.readline()

    home = Home(Path(order["home"]))
    with watched(before) as steps:
        try:
            if "rollback" in order:
                Registry(home).rollback(order["rollback"])
            else:
                decision = PromotionDecision.model_validate(order["decision"])
                Registry(home).register(decision, spec, CONFIG)
            _say({"steps": steps})
        except StoreError as error:
            _say({"error": str(error)})
    os._exit(0)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
