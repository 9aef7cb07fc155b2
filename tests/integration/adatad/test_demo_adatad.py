"""The demo from end to end, with next to no training: every step, table and next command."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.catalog import load_config
from backend.tracking.home import Home
from backend.trainers.adatad.pretraining import Pretraining
from studies._demo_adatad import MODEL, POLICY, STRATEGIES, Demo, Size
from studies._demo_parts import Parts

TINY = Size(
    train=4,
    val=1,
    holdout=2,
    pretraining=Pretraining(clips=16, unseen=8, steps=2, batch=4, warmup=1),
    changes={
        "epochs": 2,
        "diagnostics.stop": "never",  # so few videos do not have every class
        "windows.per_video": 1,
        "runner.schedule.warmup_steps": 1,
        "runner.checkpoints.interval": 1,
    },
)


EASY = f"""
extends: {POLICY}
min_units: 2
findings: ignore
"""
"""A gate that lets a first version pass that has hardly been trained."""


@pytest.mark.timeout(600)
def test_the_demo_says_what_each_strategy_finds_and_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, policy = Home(tmp_path / "mlruns"), tmp_path / "policy.yaml"
    policy.write_text(EASY, encoding="utf-8")
    size = replace(TINY, policy=policy)
    Demo(home, size).run()
    told = capsys.readouterr().out
    assert [f"{part}/6" in told for part in range(1, 7)] == [True] * 6
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line.strip()}
    assert all(name in rows for name in STRATEGIES)
    assert "trainable parameters" in told
    assert told.count("→ untrimmed") == 3
    assert "models:/untrimmed@champion, loaded in a fresh process, on holdout_0001.mp4" in told
    assert "mAP50 " not in told, "the policy is one for detectors of actions"
    reports = list(home.work.glob("*/report.html"))
    assert any(str(path) in told for path in reports)
    parts = Parts(home, "adatad")  # a second demo continues where the first ended
    runs = parts.store.runs()
    parts.train_all([load_config(Path(run.work_dir) / "config.yaml") for run in runs])
    champion = next(one for one in parts.store.promotions(MODEL) if one.version)
    parts.promote(champion.checkpoint.run, MODEL, policy)
    again = capsys.readouterr().out
    assert again.count("trained before") == len(STRATEGIES)
    assert "made before" in again
