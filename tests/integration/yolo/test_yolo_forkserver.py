"""Trials are forked from a server that has loaded the training stack."""

import multiprocessing
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from backend.trainers.yolo.spec import SPEC, YoloConfig
from tests.support.yolo_runs import Training, fit


def child(config: str, work: str, answers: "SimpleQueue[tuple[str, list[str]]]") -> None:
    run = fit(YoloConfig.model_validate_json(config), Path(work))
    answers.put((run.outcome.status, [e.checkpoint.sha256 for e in run.saved()]))


def test_a_forked_training_equals_one_in_a_fresh_process(
    tuning: YoloConfig, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*SPEC.preload])
    answers = context.SimpleQueue()
    text = tuning.replace({"threads": 1}).model_dump_json()
    children = [
        context.Process(target=child, args=(text, str(tmp_path / name), answers))
        for name in ("one", "two")
    ]
    for process in children:
        process.start()
    results = [answers.get() for _ in children]
    for process in children:
        process.join()
    assert [process.exitcode for process in children] == [0, 0]
    here: Training = fit(tuning.replace({"threads": 1}), tmp_path / "here")
    expected = ("finished", [e.checkpoint.sha256 for e in here.saved()])
    assert results == [expected, expected]
