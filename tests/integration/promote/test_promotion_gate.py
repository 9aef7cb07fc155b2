"""The gate, from references to aliases, on the toy trainer."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from backend import launch
from backend.analysis.policy import Policy
from backend.cli.checkpoints import sentences
from backend.cli.main import app
from backend.core.errors import BusyError, ConfigError, StoreError
from backend.core.events import MetricsLogged
from backend.core.records import PromotionDecision
from backend.core.sinks import JsonlSink, read_events
from backend.promote import Gate, promote, whoami
from backend.sides import find_side
from backend.tracking.home import Home
from backend.tracking.registry import Registry
from backend.tracking.store import MlflowStore
from tests.support.doomed import watched
from tests.support.toy import CATALOG, ToyConfig
from tests.support.trained import NEW, OLD, train

ROOT = Path(__file__).parents[3]


def gate(model: str, policy: dict[str, Any] | None = None, **how: Any) -> Gate:
    rules = Policy(**{"replicates": 200, **(policy or {})})
    return Gate(model=model, policy=rules, catalog=CATALOG, **how)


def failures(decision: PromotionDecision) -> list[str]:
    return [reason for reason in decision.reasons if reason.startswith("fail: ")]


def test_the_gate_promotes_refuses_forces_and_goes_back(
    home: Home, workers: launch.Workers
) -> None:
    store, asked = MlflowStore(home), gate("gated")
    first, evidence = promote(home, store, OLD, asked, workers)
    assert (first.promote, first.version, evidence) == (True, "1", None)
    better, evidence = promote(home, store, NEW, asked, workers)
    assert evidence is not None
    assert (better.promote, better.version, better.previous) == (True, "2", "1")
    assert better.evidence == evidence.key
    worse, _ = promote(home, store, OLD, asked, workers)
    assert (worse.promote, worse.version, worse.forced) == (False, "", False)
    assert any(reason.startswith("fail: mAP50-95 goes from") for reason in worse.reasons)
    assert store.champions()["gated"].sha256 == better.checkpoint.sha256
    how = {"force": True, "because": "a demo needs it", "by": "ada@lab"}
    pushed, _ = promote(home, store, OLD, gate("gated", **how), workers)
    assert (pushed.promote, pushed.forced, pushed.version) == (False, True, "3")
    assert "forced by ada@lab: a demo needs it" in sentences(pushed)
    assert Registry(home).rollback("gated") == "2"
    assert store.champions()["gated"].sha256 == better.checkpoint.sha256
    kept = store.promotions("gated")
    assert kept[1:] == [pushed, worse, better, first]
    assert kept[0].reasons == ("rolled back from version 3 to version 2",)
    shown = assay(home, "promotions", "gated").splitlines()
    told = [line for line in shown if "gated" in line and "because" not in line]
    outcomes = ("rolled back", "forced", "refused", "promoted", "promoted")
    assert all(outcome in line for outcome, line in zip(outcomes, told, strict=True))
    assert any(line.endswith("gated: because a demo needs it") for line in shown)
    listed = json.loads(assay(home, "promotions", "--json"))
    assert [d["key"] for d in listed if d["model"] == "gated"] == [d.key for d in kept]
    assert "version 1 again" in assay(home, "rollback", "gated", "--to", "1", "--by", "eve@lab")
    assert store.promotions("gated")[0].by == "eve@lab"


def assay(home: Home, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["--home", str(home.root), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_a_decision_rests_on_is_kept(home: Home, workers: launch.Workers) -> None:
    store = MlflowStore(home)
    first, _ = promote(home, store, OLD, gate("kept"), workers)
    better, evidence = promote(home, store, NEW, gate("kept"), workers)
    assert evidence is not None
    assert first.by == better.by == whoami()
    assert "@" in whoami()
    assert better.digests == {
        **find_side(home, store, NEW, CATALOG).contender.data,
        "checkpoint": better.checkpoint.sha256,
        "champion": first.checkpoint.sha256,
        "target": evidence.target.data_digest,
    }
    assert {"train", "val"} <= better.digests.keys()
    assert better.policy["replicates"] == 200
    assert (better.forced, better.because) == (False, "")


def test_force_needs_a_reason_before_anything_is_scored(
    home: Home, workers: launch.Workers
) -> None:
    before = sorted(home.work.iterdir())
    with pytest.raises(ConfigError, match="--because TEXT"):
        promote(home, MlflowStore(home), NEW, gate("x", force=True, because=" "), workers)
    assert sorted(home.work.iterdir()) == before


def test_data_by_which_the_candidate_was_picked_are_refused(
    home: Home, config: ToyConfig, workers: launch.Workers, tmp_path: Path
) -> None:
    """By its own run, or by another one of its study that was validated on the gate's split."""
    store = MlflowStore(home)
    own, _ = promote(home, store, NEW, gate("own", {"require_split": "val"}), workers)
    (refusal,) = failures(own)
    assert f"is the 'val' split of run {own.checkpoint.run}; judge on data" in refusal

    data = json.loads(config.data.read_text())
    leaked = tmp_path / "leaked.json"
    leaked.write_text(json.dumps({**data, "val": data["holdout"]}))
    train(home, config, workers, "honest", 0.3, study="leaky")
    other = train(
        home, config.replace({"data": str(leaked)}), workers, "peeked", 0.2, study="leaky"
    )
    refused, _ = promote(home, store, "honest", gate("studied"), workers)
    (refusal,) = failures(refused)
    assert (
        f"'holdout' that the gate scores by (sha256 {refused.digests['target'][:12]})" in refusal
    )
    assert f"is the 'val' split of run {other.path.name}" in refusal
    never = gate("studied", {"require_unseen": "never"}, dry_run=True)
    assert promote(home, store, "honest", never, workers)[0].promote


def test_data_that_nobody_has_seen_pass_and_what_is_unknown_is_told(
    home: Home, config: ToyConfig, workers: launch.Workers, tmp_path: Path
) -> None:
    store = MlflowStore(home)
    always = {"policy": {"require_unseen": "always"}, "dry_run": True}
    ours, _ = promote(home, store, NEW, gate("unseen", **always), workers)
    assert ours.promote
    assert any("is not among what run" in reason for reason in ours.reasons)
    stray = tmp_path / "stray.safetensors"
    shutil.copy(ours.checkpoint.path, stray)
    settings = home.work_dir(ours.checkpoint.run) / "config.yaml"
    refused, _ = promote(home, store, str(stray), gate("unseen", config=settings, **always),
                         workers)  # fmt: skip
    assert failures(refused) == [
        "fail: it cannot be established that the gate's data are unseen: the candidate comes "
        "from no run that is known; the policy requires it."
    ]


def test_an_error_in_the_candidates_run_is_refused(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work = train(home, config, workers, "diverged", 0.3)
    last = read_events(work.events)[-1]
    bad = MetricsLogged(step=2, epoch=1, metrics={"train/loss": float("nan")})
    sink = JsonlSink(work.events)
    sink.receive(last.model_copy(update={"seq": last.seq + 1, "event": bad}))
    sink.receive(last.model_copy(update={"seq": last.seq + 2}))
    sink.close()
    store = MlflowStore(home)
    refused, _ = promote(home, store, "diverged", gate("sound"), workers)
    (refusal,) = failures(refused)
    assert refusal.startswith("fail: At step 2 train/loss is nan (B06)")
    ignoring = gate("sound", {"findings": "ignore"}, dry_run=True)
    assert promote(home, store, "diverged", ignoring, workers)[0].promote


def test_a_model_that_is_being_changed_is_busy_but_can_be_looked_at(
    home: Home, workers: launch.Workers
) -> None:
    store = MlflowStore(home)
    before = sorted(home.work.iterdir())
    with Registry(home).hold("busy"):
        with pytest.raises(BusyError, match="models:/busy: another process is promoting"):
            promote(home, store, NEW, gate("busy"), workers)
        assert sorted(home.work.iterdir()) == before, "nothing was scored in vain"
        assert promote(home, store, NEW, gate("busy", dry_run=True), workers)[0].promote


def test_a_promotion_that_was_interrupted_at_its_end_is_completed_not_judged_again(
    home: Home, workers: launch.Workers
) -> None:
    store = MlflowStore(home)
    promote(home, store, OLD, gate("cut"), workers)

    def full(number: int, name: str) -> None:
        if name == "delete_model_version_tag":
            raise OSError(28, "No space left on device")

    with watched(full):
        done, evidence = promote(home, store, NEW, gate("cut"), workers)
    assert (done.version, done.previous) == ("2", "1")
    assert promote(home, store, NEW, gate("cut"), workers) == (done, evidence)
    assert len(store.promotions("cut")) == 2
    again, _ = promote(home, store, NEW, gate("cut"), workers)
    assert "the candidate is the same weight file" in failures(again)[0]


def test_a_champion_of_unknown_origin_is_not_overlooked(
    home: Home, workers: launch.Workers
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(home.tracking_uri, registry_uri=home.tracking_uri)
    client.create_registered_model("foreign")
    client.create_model_version("foreign", source="file:///nowhere")
    client.set_registered_model_alias("foreign", "champion", "1")
    with pytest.raises(StoreError, match="was registered by something else"):
        promote(home, MlflowStore(home), NEW, gate("foreign"), workers)


def test_an_impossible_model_name_is_refused_before_anything_is_scored(
    home: Home, workers: launch.Workers
) -> None:
    before = sorted(home.work.iterdir())
    with pytest.raises(ConfigError, match="model name 'a/b'"):
        promote(home, MlflowStore(home), NEW, gate("a/b"), workers)
    assert sorted(home.work.iterdir()) == before


def test_a_dry_run_changes_nothing(home: Home, workers: launch.Workers) -> None:
    store = MlflowStore(home)
    decision, _ = promote(home, store, NEW, gate("dry", dry_run=True), workers)
    assert decision.promote
    assert "dry" not in store.champions()
    assert store.promotions("dry") == []


def test_the_champion_serves_after_its_run_is_gone(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    store = MlflowStore(home)
    train(home, config, workers, "gone", 0.3)
    promote(home, store, "gone", gate("lasting"), workers)
    shutil.rmtree(home.work_dir(store.run("gone").key))
    champion = find_side(home, store, "lasting@champion", CATALOG)
    assert champion.config is not None
    assert champion.contender.checkpoint.epoch == 2
    worse, evidence = promote(home, store, OLD, gate("lasting"), workers)
    assert evidence is not None
    assert not worse.promote
    code = (
        "import json, mlflow.pyfunc, numpy as np\n"
        "model = mlflow.pyfunc.load_model('models:/lasting@champion')\n"
        "image = np.full((32, 32, 3), 40, np.uint8); image[2:10, 12:20] = 220\n"
        "print(json.dumps(model.predict([image]).to_dict('records')))\n"
    )
    environment = {
        "MLFLOW_TRACKING_URI": home.tracking_uri, "PATH": "/usr/bin:/bin", "HOME": str(home.root),
        "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment,
                          capture_output=True, text=True, check=True)  # fmt: skip
    (box,) = json.loads(done.stdout)
    assert (box["x1"], box["y1"], box["label"]) == (12.0, 2.0, "square")
