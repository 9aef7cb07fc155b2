"""Real annotations, disturbed: the command scores them as trackeval does."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from backend.cli import scoring
from tests.support.tracks import Judge, Rows

MOT15 = Path(__file__).parents[4] / "shared" / "data" / "mot15"
LENGTHS = {"TUD-Campus": 71, "TUD-Stadtmitte": 179}
pytestmark = pytest.mark.skipif(not MOT15.is_dir(), reason="../shared/data/mot15 is not here")


def annotated(name: str) -> Rows:
    return np.loadtxt(MOT15 / name / "gt" / "gt.txt", delimiter=",")


def disturbed(truth: Rows, seed: int) -> Rows:
    """Boxes missed, moved and made up; identities that change in the middle."""
    chance = np.random.default_rng(seed)
    found = truth[chance.random(len(truth)) < 0.85].copy()
    found[:, 2:6] += chance.normal(0, 0.08, (len(found), 4)) * found[:, [4, 5, 4, 5]]
    late = (found[:, 0] > truth[:, 0].max() / 2) & (found[:, 1] % 2 == 0)
    found[late, 1] += 100
    false = found[chance.random(len(found)) < 0.1].copy()
    false[:, 1] += 1000
    false[:, 2] += 150
    return np.concatenate([found, false])


def test_disturbed_annotations_score_as_trackeval_scores_them(tmp_path: Path) -> None:
    judge, results = Judge(), {}
    for seed, (name, length) in enumerate(LENGTHS.items()):
        shutil.copytree(MOT15 / name, tmp_path / "gt" / name)
        found = disturbed(annotated(name), seed)
        (tmp_path / "pred").mkdir(exist_ok=True)
        np.savetxt(tmp_path / "pred" / f"{name}.txt", found, delimiter=",", fmt="%.17g")
        results[name] = judge.result(annotated(name), found, length)
    app = typer.Typer()
    scoring.register(app)
    asked = ["score", "tracking", "--gt", str(tmp_path / "gt"), "--pred", str(tmp_path / "pred")]
    done = CliRunner().invoke(app, [*asked, "--json"], catch_exceptions=False)
    told = json.loads(done.output)
    expected = judge.combined(results.values())
    assert 0.3 < expected["HOTA"] < 0.9
    assert expected["IDSW"] > 0
    metrics = {name: told["metrics"][name] for name in expected}
    assert metrics == pytest.approx(expected, rel=0, abs=1e-12)
    for name, result in results.items():
        assert told["per_unit"][name] == pytest.approx(judge.named(result), rel=0, abs=1e-12)
