"""The tags by which our runs, models and versions are found again."""

from typing import Literal

Kind = Literal["training", "study", "comparison", "decision"]

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
COMPARISON = "comparison"
DECISION = "decision"
MODEL = "model"

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
DECISION_FILE = "decision.json"

CHAMPION = "champion"
PREVIOUS = "previous"
