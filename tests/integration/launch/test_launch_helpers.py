"""Processes that a training starts for itself, such as a loader's."""

import multiprocessing
import sys
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from backend.core.workdir import WorkDir
from backend.worker import _enter


def child(work: str, answers: "SimpleQueue[tuple[str, int]]") -> None:
    _enter(WorkDir(Path(work)))
    helper = multiprocessing.Process(target=answers.put, args=(("", 0),))
    helper.start()
    helper.join()
    answers.put((multiprocessing.get_start_method(), helper.exitcode or 0))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere as Python has it")
def test_a_training_forks_its_helpers_whichever_way_it_was_started(tmp_path: Path) -> None:
    """A new interpreter would import torch anew for each of them, at each beginning of a loader,
    and get a copy of all images that are cached in memory."""
    context = multiprocessing.get_context("forkserver")
    answers = context.SimpleQueue()
    process = context.Process(target=child, args=(str(tmp_path), answers))
    process.start()
    assert answers.get() == ("", 0)
    assert answers.get() == ("fork", 0)
    process.join()
    assert process.exitcode == 0
