"""The gate: judge a checkpoint against the champion, register it, keep the evidence."""

import getpass
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from backend import launch
from backend.analysis.findings import find_findings
from backend.analysis.policy import Policy
from backend.analysis.promotion import Exposure, Facts, Ruling, decide
from backend.catalog import CATALOG, Catalog
from backend.compare import Comparing, compare, evaluate_one
from backend.config import compose
from backend.config.schema import TrainConfig
from backend.core.comparisons import Comparison
from backend.core.errors import CheckpointError, ConfigError, StoreError
from backend.core.events import Envelope, FreezeReported, RunStarted
from backend.core.records import EvalReport, PromotionDecision
from backend.core.sinks import first_event, read_events
from backend.core.store import RunStore
from backend.core.workdir import WorkDir
from backend.diagnose import read_config
from backend.sides import Side, find_side, shared_config
from backend.tracking.home import Home

if TYPE_CHECKING:
    from backend.tracking.registry import Registry

MODEL_NAME = re.compile(r"[\w .\-]+")


@dataclass(frozen=True)
class Gate:
    """What is asked of a checkpoint, and by whom.

    ``config`` names data and settings to score by, where the run's own will not do. ``force``
    promotes whatever the policy says, ``because`` of what is then recorded; ``dry_run`` judges
    and changes nothing. ``by`` empty: the user of this machine.
    """

    model: str
    policy: Policy
    config: Path | None = None
    force: bool = False
    because: str = ""
    by: str = ""
    dry_run: bool = False
    catalog: Catalog = field(default_factory=lambda: CATALOG)


class Judged(NamedTuple):
    """A decision that is not carried out yet, and what it rests on."""

    decision: PromotionDecision
    evidence: Comparison | None
    config: TrainConfig


def load_policy(path: Path | None) -> Policy:
    """A policy file; None: the usual rules (configs/policies/default.yaml). Raises ConfigError."""
    if path is None:
        return Policy()
    return compose.validate(Policy, compose.load_yaml(path), str(path))


def whoami() -> str:
    """Who is at work here: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


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
    Nobody else of this home can change the model meanwhile (BusyError). A promotion of this
    checkpoint that was interrupted after its last step is completed instead of judged again.
    """
    _refuse(gate)
    if gate.dry_run:
        judged = _judge(home, store, reference, gate, workers)
        return judged.decision, judged.evidence
    registry = _registry(home)
    with registry.hold(gate.model):
        completed = registry.settle(gate.model)
        if completed and (known := _known(home, store, reference, gate, completed)):
            return known
        judged = _judge(home, store, reference, gate, workers)
        return _carry_out(registry, gate, judged), judged.evidence


def _refuse(gate: Gate) -> None:
    """Raises ConfigError before anything is scored."""
    if not MODEL_NAME.fullmatch(gate.model):
        raise ConfigError(f"model name '{gate.model}': use letters, digits, blanks and _ . - only")
    if gate.force and not gate.because.strip():
        raise ConfigError("to force a promotion, say why: --because TEXT (it is recorded)")


def _known(
    home: Home, store: RunStore, reference: str, gate: Gate, key: str
) -> tuple[PromotionDecision, Comparison | None] | None:
    """A recorded decision, if it is about this checkpoint."""
    asked = find_side(home, store, reference, gate.catalog).contender.checkpoint.sha256
    for decision in store.promotions(gate.model):
        if decision.key == key and decision.checkpoint.sha256 == asked:
            evidence = [c for c in store.comparisons() if c.key == decision.evidence]
            return decision, next(iter(evidence), None)
    return None


def _judge(
    home: Home,
    store: RunStore,
    reference: str,
    gate: Gate,
    workers: launch.Workers | None,
) -> Judged:
    version = _registry(home).champion_version(gate.model)
    champion = _champion(home, store, gate, version)
    candidate = find_side(home, store, reference, gate.catalog)
    if candidate.report is not None:
        raise CheckpointError(f"{reference}: has predictions but no weights to promote")
    config = shared_config(champion, candidate, {}, gate.config, gate.catalog)
    spec = launch.spec_for(config, gate.catalog)
    workers = workers or launch.Workers(spec.preload)
    split = gate.policy.require_split or "val"
    evidence: Comparison | None = None
    if champion is None:
        report = evaluate_one(home, candidate, config, split, workers, gate.catalog)
    else:
        settings = gate.policy.settings(spec.primary)
        how = Comparing(config=config, split=split, settings=settings, catalog=gate.catalog)
        evidence = compare(home, champion, candidate, how, workers)
        report = evidence.target.candidate_report
    ruling = decide(
        gate.policy,
        evidence,
        candidate=candidate.contender.checkpoint,
        champion=champion.contender.checkpoint if champion else None,
        facts=_facts(store, candidate, report, gate.policy.primary or spec.primary),
    )
    decision = _decision(home, gate, candidate, ruling, evidence)
    digests = _digests(champion, candidate, report, evidence)
    decision = decision.model_copy(update={"previous": version, "digests": digests})
    return Judged(decision, evidence, config)


def _champion(home: Home, store: RunStore, gate: Gate, version: str) -> Side | None:
    if not version:
        return None
    if gate.model not in store.champions():
        raise StoreError(
            f"models:/{gate.model}@champion was registered by something else, so it cannot be "
            "scored; promote under another --model"
        )
    return find_side(home, store, f"{gate.model}@champion", gate.catalog)


def _registry(home: Home) -> "Registry":
    from backend.tracking.registry import Registry  # noqa: PLC0415 (MLflow is slow to import)

    return Registry(home)


def _facts(store: RunStore, side: Side, report: EvalReport, primary: str) -> Facts:
    """What the candidate's run and those of its study tell."""
    checkpoint = side.contender.checkpoint
    work = _works(store, side).get(checkpoint.run)
    told = read_events(work.events) if work and work.events.exists() else []
    config = read_config(work) if work else {}
    return Facts(
        report=report,
        primary=primary,
        freeze=_freeze(told),
        findings=find_findings(
            told, report, primary=primary, step=checkpoint.step or None, config=config
        ),
        exposure=_exposure(store, side),
    )


def _works(store: RunStore, side: Side) -> dict[str, WorkDir]:
    """The work directories of the candidate's run, first, and of all runs of its study."""
    checkpoint = side.contender.checkpoint
    if not checkpoint.run:
        return {}
    runs = {run.key: run for run in store.runs()}
    works = {checkpoint.run: WorkDir(Path(checkpoint.path).parent.parent)}  # if of another home
    if own := runs.get(checkpoint.run):
        works[own.key] = WorkDir(Path(own.work_dir))
        family = [run for run in runs.values() if own.study and run.study == own.study]
        works |= {run.key: WorkDir(Path(run.work_dir)) for run in family}
    return works


def _freeze(events: Sequence[Envelope]) -> FreezeReported | None:
    """The proof of the candidate's run that frozen tensors did not change: that of a planned
    thawing holds for good, also if the run was continued after it."""
    reports = [e.event for e in events if isinstance(e.event, FreezeReported)]
    thawed = [report for report in reports if report.phase == "verified" and report.until]
    return next(reversed(thawed or reports), None)


def _exposure(store: RunStore, side: Side) -> Exposure:
    """What was used in training and validation by the runs from which the candidate was picked."""
    works = _works(store, side)
    if not works:
        return Exposure("", unknown=("the candidate comes from no run that is known",))
    used: dict[str, str] = {}
    unknown = []
    for key, work in works.items():
        started = first_event(work.events)
        data = started.data if isinstance(started, RunStarted) else ()
        if not data or not all(item.digest for item in data):
            unknown.append(f"run {key} does not tell what data it used")
        for item in data:
            used.setdefault(item.digest, f"the '{item.split}' split of run {key}")
    run = side.contender.checkpoint.run
    many = f"the {len(works)} runs of the candidate's study"
    return Exposure(many if len(works) > 1 else f"run {run}", used, tuple(unknown))


def _decision(
    home: Home, gate: Gate, candidate: Side, ruling: Ruling, evidence: Comparison | None
) -> PromotionDecision:
    forced = gate.force and not ruling.promote
    return PromotionDecision(
        key=home.new_key("promote"),
        created=time.time(),
        model=gate.model,
        checkpoint=candidate.contender.checkpoint,
        policy=gate.policy.model_dump(mode="json"),
        evidence=evidence.key if evidence else "",
        promote=ruling.promote,
        forced=forced,
        reasons=ruling.reasons,
        by=gate.by or whoami(),
        because=gate.because if forced else "",
    )


def _digests(
    champion: Side | None, candidate: Side, report: EvalReport, evidence: Comparison | None
) -> dict[str, str]:
    """What the decision is about, so that nobody has to believe names."""
    found = {
        **candidate.contender.data,
        "checkpoint": candidate.contender.checkpoint.sha256,
        "target": report.data_digest,
        "source": evidence.source.data_digest if evidence and evidence.source else "",
        "champion": champion.contender.checkpoint.sha256 if champion else "",
    }
    return {name: digest for name, digest in found.items() if digest}


def _carry_out(registry: "Registry", gate: Gate, judged: Judged) -> PromotionDecision:
    """Record the decision, and register the checkpoint if it is to be champion."""
    decision, evidence, config = judged
    if not (decision.promote or decision.forced):
        registry.record(decision)
        return decision
    spec = launch.spec_for(config, gate.catalog)
    text = yaml.safe_dump(config.model_dump(mode="json"))
    return registry.register(decision, spec, text, evidence)
