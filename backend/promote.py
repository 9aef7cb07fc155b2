"""The gate: judge a checkpoint against the champion, register it, keep the evidence."""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from backend import launch
from backend.analysis.promotion import Policy, Ruling, decide
from backend.catalog import CATALOG, Catalog
from backend.compare import Comparing, Side, compare, evaluate_one, find_side, shared_config
from backend.config import compose
from backend.config.schema import TrainConfig
from backend.core.errors import ConfigError, StoreError
from backend.core.events import FreezeReported
from backend.core.records import Comparison, EvalReport, PromotionDecision
from backend.core.sinks import read_events
from backend.core.store import RunStore
from backend.core.workdir import WorkDir
from backend.tracking.home import Home

if TYPE_CHECKING:
    from backend.tracking.registry import Registry

MODEL_NAME = re.compile(r"[\w .\-]+")


@dataclass(frozen=True)
class Gate:
    """What is asked of a checkpoint.

    ``config`` names data and settings to score by, where the run's own will not do. ``force``
    promotes whatever the policy says and is recorded; ``dry_run`` judges and changes nothing.
    """

    model: str
    policy: Policy
    config: Path | None = None
    force: bool = False
    dry_run: bool = False
    catalog: Catalog = field(default_factory=lambda: CATALOG)


def load_policy(path: Path | None) -> Policy:
    """A policy file; None: the usual rules (configs/policies/default.yaml). Raises ConfigError."""
    if path is None:
        return Policy()
    return compose.validate(Policy, compose.load_yaml(path), str(path))


def promote(
    home: Home,
    store: RunStore,
    reference: str,
    gate: Gate,
    workers: launch.Workers | None = None,
) -> tuple[PromotionDecision, Comparison | None]:
    """Judge ``reference`` against the model's champion; if the gate agrees, make it champion.

    Champion and candidate are scored now, by the same code on the same split. The decision is
    recorded whether or not it promotes. Without a champion the candidate alone is scored.
    """
    if not MODEL_NAME.fullmatch(gate.model):
        raise ConfigError(f"model name '{gate.model}': use letters, digits, blanks and _ . - only")
    candidate = find_side(home, store, reference, gate.catalog)
    champion = _champion(home, store, gate)
    config = shared_config(champion, candidate, {}, gate.config, gate.catalog)
    workers = workers or launch.Workers(launch.spec_for(config, gate.catalog).preload)
    split = gate.policy.require_split or "val"
    settings = gate.policy.settings(launch.spec_for(config, gate.catalog).primary)
    evidence: Comparison | None = None
    report: EvalReport | None = None
    if champion is None:
        report = evaluate_one(home, candidate, config, split, workers, gate.catalog)
    else:
        how = Comparing(config=config, split=split, settings=settings, catalog=gate.catalog)
        evidence = compare(home, champion, candidate, how, workers)
        report = evidence.target.candidate_report
    ruling = decide(
        gate.policy,
        evidence,
        candidate=candidate.contender.checkpoint,
        champion=champion.contender.checkpoint if champion else None,
        report=report,
        freeze=_freeze(home, candidate),
    )
    decision = _decision(home, gate, candidate, ruling, evidence)
    if decision.promote and _champion_now(store, gate) != _sha256(champion):
        raise StoreError(
            f"models:/{gate.model}@champion changed while this checkpoint was judged; judge it "
            "again"
        )
    return _carry_out(home, gate, decision, config, evidence), evidence


def _champion_now(store: RunStore, gate: Gate) -> str:
    checkpoint = store.champions().get(gate.model)
    return checkpoint.sha256 if checkpoint else ""


def _sha256(side: Side | None) -> str:
    return side.contender.checkpoint.sha256 if side else ""


def _champion(home: Home, store: RunStore, gate: Gate) -> Side | None:
    if gate.model in store.champions():
        return find_side(home, store, f"{gate.model}@champion", gate.catalog)
    if _registry(home).champion_version(gate.model):
        raise StoreError(
            f"models:/{gate.model}@champion was registered by something else, so it cannot be "
            "scored; promote under another --model"
        )
    return None


def _registry(home: Home) -> "Registry":
    from backend.tracking.registry import Registry  # noqa: PLC0415 (MLflow is slow to import)

    return Registry(home)


def _freeze(home: Home, side: Side) -> FreezeReported | None:
    """The proof of the candidate's run that frozen tensors did not change."""
    key = side.contender.checkpoint.run
    work = WorkDir(home.work_dir(key)) if key else None
    if work is None or not work.events.exists():
        return None
    reports = [e.event for e in read_events(work.events) if isinstance(e.event, FreezeReported)]
    return reports[-1] if reports else None


def _decision(
    home: Home, gate: Gate, candidate: Side, ruling: Ruling, evidence: Comparison | None
) -> PromotionDecision:
    return PromotionDecision(
        key=home.new_key("promote"),
        created=time.time(),
        model=gate.model,
        checkpoint=candidate.contender.checkpoint,
        policy=gate.policy.model_dump(mode="json"),
        evidence=evidence.key if evidence else "",
        promote=ruling.promote,
        forced=gate.force and not ruling.promote,
        reasons=ruling.reasons,
    )


def _carry_out(
    home: Home,
    gate: Gate,
    decision: PromotionDecision,
    config: TrainConfig,
    evidence: Comparison | None,
) -> PromotionDecision:
    """Record the decision, and register the checkpoint if it is to be champion."""
    if gate.dry_run:
        return decision
    registry = _registry(home)
    if not (decision.promote or decision.forced):
        registry.record(decision)
        return decision
    spec = launch.spec_for(config, gate.catalog)
    text = yaml.safe_dump(config.model_dump(mode="json"))
    return registry.register(decision, spec, text, evidence)
