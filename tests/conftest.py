"""What holds for every test: no deadlines on a shared machine, no life outside of it."""

import gc
import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", ORT_DISABLE_TELEMETRY="1")
settings.register_profile(
    "assay", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("assay")


def pytest_collection_finish() -> None:
    """Ultralytics collects garbage in each epoch: what all tests import need not be looked at."""
    gc.collect()
    gc.freeze()
