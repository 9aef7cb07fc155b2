"""Toys that were really trained: a poor one and a good one."""

from backend import launch
from backend.core.workdir import WorkDir
from backend.tracking.home import Home
from tests.support.toy import SPEC, ToyConfig

OLD, NEW = "old", "new"


def train(
    home: Home,
    config: ToyConfig,
    workers: launch.Workers,
    name: str,
    rate: float,
    study: str = "",
) -> WorkDir:
    """A finished run, in MLflow too; its work directory."""
    named = config.replace({"name": name, "optimizer.lr0": rate})
    work = launch.prepare(home, named, SPEC, parent=study)
    launch.run(home, work, workers)
    return work
