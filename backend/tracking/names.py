"""The tags by which our runs, models and versions are found again."""

import re
from typing import Literal

Kind = Literal["training", "study", "comparison", "recipes", "decision"]

KIND = "kind"
RUN = "run"
TRAINER = "trainer"
STUDY = "study"
TRIAL = "trial"
STATUS = "status"
REASON = "reason"
HEADLINE = "headline"
EPOCHS = "epochs"
WORK_DIR = "work_dir"
DATA_SHA = "data_sha"
BEST_EPOCH = "best.epoch"
BEST_STEP = "best.step"
BEST_PATH = "best.path"
BEST_MODEL = "best.model_id"
REPLACES = "replaces"
UPDATED = "updated"
DIAGNOSIS = "diagnosis"
FINDING = "finding."
HARDWARE = "hardware"
SYSTEM = "system/"
COMPARISON = "comparison"
RECIPES = "recipes"
DECISION = "decision"
MODEL = "model"
BY = "by"
OWNER = "owner"
PENDING = "pending"

CHECKPOINT = "checkpoint"
PATH = "path"
SHA256 = "sha256"
STEP = "step"
EPOCH = "epoch"
REMOVED = "removed"

PARENT_RUN = "mlflow.parentRunId"
GIT_COMMIT = "mlflow.source.git.commit"
EXTERNAL_MODEL = "mlflow.model.isExternal"

BEST = "best/"

STUDY_FILE = "study.json"
COMPARISON_FILE = "comparison.json"
RECIPES_FILE = "recipes.json"
DECISION_FILE = "decision.json"
EXPERTS_FOLDER = "experts"
FINAL_EXPERTS = f"{EXPERTS_FOLDER}/final.json"
DIAGNOSIS_FILE = "diagnosis.json"
EVIDENCE_FOLDER = "evidence"

CHAMPION = "champion"
PREVIOUS = "previous"


def experts_file(step: int) -> str:
    """Where the experts of a validation are told; the names sort by step."""
    return f"{EXPERTS_FOLDER}/step-{step:07d}.json"


def evidence_file(part: int) -> str:
    """A part of what a run told of itself, an event per line; the names sort in order."""
    return f"{EVIDENCE_FOLDER}/part-{part:05d}.jsonl"


def in_time(metric: str) -> bool:
    """Is a metric one of the machine? It has several values at a step, and each of them counts."""
    return metric.startswith((SYSTEM, f"{HARDWARE}/"))


def metric_key(text: str) -> str:
    """A metric's name in the letters that MLflow allows: ``mAP@0.5`` becomes ``mAP_0.5``."""
    return re.sub(r"[^\w\-. :/]", "_", text)
