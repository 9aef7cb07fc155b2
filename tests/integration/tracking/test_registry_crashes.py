"""Whatever happens between two steps of a promotion, one champion stands and nothing is left."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from backend.core.errors import BusyError, StoreError
from backend.core.records import PromotionDecision
from backend.core.trainer import TrainerSpec
from backend.tracking.client import connect
from backend.tracking.home import Home
from backend.tracking.registry import Registry
from backend.tracking.store import MlflowStore
from tests.support.doomed import Step, watched
from tests.support.mlflow_home import copy_home
from tests.support.registering import CONFIG, MODEL, aliases, judged, snapshot
from tests.support.spots import load_spec, write_plugin

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plugin(tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def spec(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> TrainerSpec:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "spot_plugin", sys)  # so that it is taken out again
    return load_spec(plugin)


class Doomed:
    """The other process (``tests/support/doomed.py``)."""

    def __init__(self, plugin: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.doomed", str(plugin)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def order(self, home: Home, decision: PromotionDecision | None = None, **how: Any) -> Any:
        """What it says: that it was killed, waits, or what came of it."""
        asked = {"home": str(home.root), **how}
        if decision is not None:
            asked["decision"] = decision.model_dump(mode="json")
        return self.say(json.dumps(asked))

    def say(self, line: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def doomed(plugin: Path) -> Iterator[Doomed]:
    process = Doomed(plugin)
    yield process
    process.close()


@pytest.fixture
def home(tmp_path: Path, template_home: Path, spec: TrainerSpec) -> Home:
    """A home whose model has a champion and the version before."""
    home = copy_home(template_home, tmp_path / "home")
    for number, before in ((1, ""), (2, "1")):
        Registry(home).register(judged(home, number, previous=before), spec, CONFIG)
    return home


def test_a_failure_before_any_step_leaves_all_as_it_was(home: Home, spec: TrainerSpec) -> None:
    """Up to the step that counts; what fails after it is completed by the next call."""
    registry, champion, before = Registry(home), "2", snapshot(home)
    failed, completed = [], []
    for doom in count():

        def fail(at: int, name: str, doom: int = doom) -> None:
            if at == doom:
                raise OSError(28, f"No space left on device ({name})")

        decision = judged(home, 3 + len(completed), previous=champion)
        with watched(fail) as steps, suppress(StoreError):
            registry.register(decision, spec, CONFIG)
        if doom >= len(steps):
            break
        now = registry.champion_version(MODEL)
        if now == champion:
            failed.append(steps[doom])
            assert snapshot(home) == before, steps[doom]
            assert not completed, "no step after the one that counts may undo it"
        else:
            completed.append(steps[doom])
            assert registry.settle(MODEL) == decision.key
            assert aliases(home) == {"champion": now, "previous": champion}
            champion, before = now, snapshot(home)
    assert failed[-1] == "set_registered_model_alias"
    assert len(failed) > 7
    assert len(completed) > 1
    decisions = MlflowStore(home).promotions(MODEL)
    assert len(decisions) == 2 + len(completed) + 1, "one for each that became champion"


def test_a_full_disk_is_told_and_what_failed_after_the_change_is_not(
    home: Home, spec: TrainerSpec
) -> None:
    def full(alias: str) -> Step:
        moves = iter(("champion", "previous"))

        def fail(at: int, name: str) -> None:
            if name == "set_registered_model_alias" and next(moves) == alias:
                raise OSError(28, "No space left on device")

        return fail

    decision = judged(home, 3, previous="2")
    with watched(full("champion")), pytest.raises(StoreError, match="the disk is full"):
        Registry(home).register(decision, spec, CONFIG)
    assert aliases(home) == {"champion": "2", "previous": "1"}
    with watched(full("previous")):
        done = Registry(home).register(decision, spec, CONFIG)
    assert aliases(home) == {"champion": done.version, "previous": "1"}
    assert Registry(home).rollback(MODEL) == "2", "the interrupted promotion is completed first"


def test_an_answer_lost_on_its_way_does_not_undo_what_happened(
    home: Home, spec: TrainerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = MlflowClient.set_registered_model_alias

    def lost(client: MlflowClient, model: str, alias: str, version: str) -> None:
        move(client, model, alias, version)
        if alias == "champion":
            raise TimeoutError("timed out")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", lost)
        done = Registry(home).register(judged(home, 3, previous="2"), spec, CONFIG)
    assert done.version == "3"
    assert aliases(home) == {"champion": "3", "previous": "2"}


def test_what_another_home_has_under_way_is_left_alone(home: Home) -> None:
    client = connect(home)
    theirs = {"pending": "promote-9", "decision": "promote-9", "owner": "elsewhere:/home"}
    client.create_model_version(MODEL, "file:///elsewhere", tags=theirs)
    before = snapshot(home)
    assert Registry(home).settle(MODEL) == ""
    assert snapshot(home) == before


def test_a_process_killed_before_any_step_leaves_the_champion_and_a_second_try_finishes(
    home: Home, spec: TrainerSpec, doomed: Doomed
) -> None:
    before = snapshot(home)
    decision = judged(home, 3, previous="2")
    for doom in count():
        assert doomed.order(home, decision, kill=doom) == {"killed": signal.SIGKILL}
        if Registry(home).champion_version(MODEL) != "2":
            break  # that step came after the one that counts
        assert Registry(home).settle(MODEL) == ""
        assert snapshot(home) == before, f"step {doom}"
    assert doom > 7
    done = Registry(home).register(decision, spec, CONFIG)
    assert MlflowStore(home).promotions(MODEL)[0] == done
    assert aliases(home) == {"champion": done.version, "previous": "2"}
    assert "pending" not in connect(home).get_model_version(MODEL, done.version).tags


def test_a_killed_first_promotion_leaves_no_model_and_a_second_try_finishes(
    home: Home, spec: TrainerSpec, doomed: Doomed
) -> None:
    decision = judged(home, 3, model="new")
    steps = doomed.order(home, judged(home, 4, model="other"))["steps"]
    before = snapshot(home)
    for doomed_step in ("create_model_version", "set_registered_model_alias"):
        killed = doomed.order(home, decision, kill=steps.index(doomed_step))
        assert killed == {"killed": signal.SIGKILL}
        assert Registry(home).settle("new") == ""
        assert snapshot(home) == before
    doomed.order(home, decision, kill=steps.index("set_registered_model_alias"))
    done = Registry(home).register(decision, spec, CONFIG)
    assert aliases(home, "new") == {"champion": done.version}
    assert MlflowStore(home).promotions("new") == [done]


def test_a_second_try_is_a_decision_of_its_own(
    home: Home, spec: TrainerSpec, doomed: Doomed
) -> None:
    """As the command line makes it: judged anew, under another key."""
    decision = judged(home, 3, previous="2")
    steps = doomed.order(home, judged(home, 4, model="other"))["steps"]
    doom = steps.index("set_registered_model_alias")
    assert doomed.order(home, decision, kill=doom) == {"killed": signal.SIGKILL}
    again = decision.model_copy(update={"key": "again"})
    done = Registry(home).register(again, spec, CONFIG)
    assert aliases(home) == {"champion": done.version, "previous": "2"}
    versions = connect(home).search_model_versions(f"name = '{MODEL}'")
    assert len(versions) == 3
    keys = [d.key for d in MlflowStore(home).promotions(MODEL)]
    assert keys[0] == "again"
    assert decision.key not in keys


def test_a_rollback_killed_before_any_step_happens_or_does_not(home: Home, doomed: Doomed) -> None:
    before = snapshot(home)
    for doom in count():
        answer = doomed.order(home, rollback=MODEL, kill=doom)
        if "steps" in answer:
            break
        moved = Registry(home).champion_version(MODEL) != "2"
        assert bool(Registry(home).settle(MODEL)) == moved
        if moved:
            assert aliases(home) == {"champion": "1", "previous": "2"}
            Registry(home).rollback(MODEL)
            before = snapshot(home)
        assert snapshot(home) == before, f"step {doom}"
    assert doom > 5


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(
    home: Home, spec: TrainerSpec, doomed: Doomed
) -> None:
    theirs, ours = (judged(home, number, previous="2") for number in (3, 4))
    waiting = doomed.order(home, theirs, pause="set_registered_model_alias")
    assert waiting == {"paused": "set_registered_model_alias"}
    with pytest.raises(BusyError, match="another process is promoting"):
        Registry(home).register(ours, spec, CONFIG)
    with pytest.raises(BusyError, match="another process is promoting"):
        Registry(home).rollback(MODEL)
    assert doomed.say("go on") == {"paused": "set_registered_model_alias"}  # of 'previous'
    assert "steps" in doomed.say("go on")
    with pytest.raises(
        StoreError, match=r"was version 2 when .* is version 3 now; judge it again"
    ):
        Registry(home).register(ours, spec, CONFIG)
    assert aliases(home) == {"champion": "3", "previous": "2"}
    assert MlflowStore(home).promotions(MODEL)[0].key == theirs.key


def test_who_promotes_past_the_lock_wins_and_the_other_is_told(home: Home, doomed: Doomed) -> None:
    """Another home at the same server, or a hand in MLflow's own pages."""
    decision = judged(home, 3, previous="2")
    assert doomed.order(home, decision, pause="set_terminated") == {"paused": "set_terminated"}
    connect(home).set_registered_model_alias(MODEL, "champion", "1")
    told = doomed.say("go on")
    assert "was version 2 when this checkpoint was judged and is version 1 now" in told["error"]
    assert aliases(home)["champion"] == "1"
    assert decision.key not in [d.key for d in MlflowStore(home).promotions(MODEL)]
    assert len(connect(home).search_model_versions(f"name = '{MODEL}'")) == 2
