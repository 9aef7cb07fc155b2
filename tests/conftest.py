"""What holds for every test: no deadlines on a shared machine, no life outside of it."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
settings.register_profile("assay", deadline=None, derandomize=True)
settings.load_profile("assay")
