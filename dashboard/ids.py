"""The names of everything that a callback reads or writes."""

import string
from collections.abc import Mapping
from urllib.parse import quote, unquote

_SAFE = string.punctuation.replace("%", "") + " "

URL = "url"
CONTENT = "content"
TABS = "tabs"
PAGES = "pages"
SCHEME = "scheme"
READY = "ready"
SCHEME_TOGGLE = "scheme-toggle"
TEMPLATES = "templates"
LIVE = "live"
TICK = "tick"
TOKEN = "token"
PROBLEM = "problem"
HELP = "help"
HELP_BUTTON = "help-button"
BASELINE = "baseline"
MAIN = "main"

RUNS_GRID = "runs-grid"
RUNS_TABLE = "runs-table"
RUNS_BODY = "runs-body"
RUNS_EMPTY = "runs-empty"
RUNS_SUMMARY = "runs-summary"
RUNS_FILTER = "runs-filter"
RUNS_NO_MATCH = "runs-no-match"
RUNS_COUNT = "runs-count"
RUNS_COMPARE = "runs-compare"
RUNS_CONVERGENCE = "runs-convergence"
RUNS_BASELINE = "runs-set-baseline"
RUNS_CLEAR = "runs-clear"
RUNS_EXPORT = "runs-export"
RUNS_RESET = "runs-reset-columns"

COMPARE_BODY = "compare-body"
COMPARE_EMPTY = "compare-empty"
COMPARE_LEGEND = "compare-legend"
COMPARE_VERDICT = "compare-verdict"
COMPARE_TABLE = "compare-table"
COMPARE_CURVES = "compare-curves"
COMPARE_EVIDENCE = "compare-evidence"
COMPARE_PARAMS = "compare-params"
COMPARE_DEFAULTS = "compare-defaults"
COMPARE_SCOPE = "compare-scope"
COMPARE_DRAWING = "compare-drawing"
COMPARE_LISTING = "compare-listing"
COMPARE_STORED = "compare-stored"
COMPARE_NOTE = "compare-note"
COMPARE_SHARE = "compare-share"
CONTROL_METRICS = "control-metrics"
CONTROL_X = "control-x"
CONTROL_LOG = "control-log"
CONTROL_SMOOTH = "control-smooth"
CONTROL_VALUES = "control-values"
CONTROL_PARAMS = "control-params"

STUDIES_BODY = "studies-body"
STUDIES_EMPTY = "studies-empty"
STUDIES_NAME = "studies-name"
STUDIES_VERSION = "studies-version"
STUDIES_BEST = "studies-best"
STUDIES_CHARTS = "studies-charts"
STUDIES_PICK = "studies-pick"
STUDIES_SUMMARY = "studies-summary"
STUDIES_GRID = "studies-grid"
STUDIES_COMPARE = "studies-compare"

EXPERTS_SUMMARY = "experts-summary"
EXPERTS_EMPTY = "experts-empty"
EXPERTS_BODY = "experts-body"
EXPERTS_RUN = "experts-run"
EXPERTS_ROUTER = "experts-router"
EXPERTS_COURSE = "experts-course"
EXPERTS_MOMENT = "experts-moment"
EXPERTS_CARDS = "experts-cards"
EXPERTS_CHARTS = "experts-charts"
EXPERTS_LOSS = "experts-loss"
EXPERTS_STEP = "experts-step"
EXPERTS_STEP_TEXT = "experts-step-text"
EXPERTS_STEPS = "experts-steps"
EXPERTS_MATRICES = "experts-matrices"
EXPERTS_OTHER = "experts-other"
EXPERTS_OTHER_STEP = "experts-other-step"
EXPERTS_BESIDE = "experts-beside"
EXPERTS_CHANGES = "experts-changes"
EXPERTS_SHOWN = "experts-shown"
EXPERTS_POINTS = "experts-points"
EXPERTS_STUDY = "experts-study"

CONVERGENCE_SUMMARY = "convergence-summary"
CONVERGENCE_EMPTY = "convergence-empty"
CONVERGENCE_BODY = "convergence-body"
CONVERGENCE_RUNS = "convergence-runs"
CONVERGENCE_SCOPE = "convergence-scope"
CONVERGENCE_DRAWING = "convergence-drawing"
CONVERGENCE_MOMENT = "convergence-moment"
CONVERGENCE_VERDICTS = "convergence-verdicts"
CONVERGENCE_FINDINGS = "convergence-findings"
CONVERGENCE_NEWS = "convergence-news"
CONVERGENCE_TABLES = "convergence-tables"
CONVERGENCE_COURSE_FRAME = "convergence-course-frame"
CONVERGENCE_NETWORK = "convergence-network"
CONVERGENCE_CHARTS = "convergence-charts"
CONVERGENCE_LOG = "convergence-log"
CONVERGENCE_SMOOTH = "convergence-smooth"
CONVERGENCE_STEP = "convergence-step"
CONVERGENCE_STEP_TEXT = "convergence-step-text"
CONVERGENCE_STEPS = "convergence-steps"
CONVERGENCE_LABELS_FRAME = "convergence-labels-frame"
CONVERGENCE_LABELS = "convergence-labels"
CONVERGENCE_PREDICTIONS = "convergence-predictions"
CONVERGENCE_HARDWARE = "convergence-hardware"
CONVERGENCE_HARDWARE_TABLES = "convergence-hardware-tables"

CURVES = "curves"
COURSE = "course"
MOMENT = "moment"
EVIDENCE = "evidence"
STUDY = "study"
COURSES = "courses"
SHOWN = "shown"
LABELS = "labels"
HARDWARE = "hardware"


def graph(group: object, name: object) -> dict[str, object]:
    """The id of a graph; either part may be a pattern-matching wildcard."""
    return {"type": "graph", "group": group, "name": _plain(name)}


def zoom(name: object) -> dict[str, object]:
    """The id of the store that holds a curve's zoom."""
    return {"type": "zoom", "name": _plain(name)}


def caption(name: object) -> dict[str, object]:
    """The id of the line under a curve that says how many points are shown."""
    return {"type": "caption", "name": _plain(name)}


def name_of(id_: Mapping[str, str]) -> str:
    """The name that such an id was made with."""
    return unquote(id_["name"])


def _plain(name: object) -> object:
    """Dash loses ids whose values are not ASCII; a class may be called 车."""
    return quote(name, safe=_SAFE) if isinstance(name, str) else name
