"""Errors that end a command with one sentence.

AssayError                    a user can mend it; the command line prints it and exits 1
├── ConfigError               a config file, an override or a policy
├── DataError                 a dataset on disk
├── CheckpointError           a weight file
├── TrainingError             the training process failed or died
├── StoreError                MLflow or Optuna database, a work directory
│   └── BusyError             another process holds it
├── StudyError                a study and its file do not agree
└── ComparisonError           two evaluations that may not be compared
"""


class AssayError(Exception):
    """Says in one sentence what came, what was expected and what to do."""


class ConfigError(AssayError):
    """A config file, an override or a policy is wrong."""


class DataError(AssayError):
    """A dataset on disk is missing, empty or inconsistent."""


class CheckpointError(AssayError):
    """A weight file is missing, damaged, unsafe or of another architecture."""


class TrainingError(AssayError):
    """The training process failed or died."""


class StoreError(AssayError):
    """A tracking or study database cannot be used."""


class BusyError(StoreError):
    """Another process holds what is wanted."""


class StudyError(AssayError):
    """A study and what is stored of it do not agree."""


class StudyStoppedError(StudyError):
    """Somebody stopped a study; the same command continues it."""


class ComparisonError(AssayError):
    """Two evaluations that may not be compared."""
