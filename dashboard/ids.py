"""The names of everything that a callback reads or writes."""

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

CURVES = "curves"
EVIDENCE = "evidence"
STUDY = "study"


def graph(group: object, name: object) -> dict[str, object]:
    """The id of a graph; either part may be a pattern-matching wildcard."""
    return {"type": "graph", "group": group, "name": name}


def zoom(name: object) -> dict[str, object]:
    """The id of the store that holds a curve's zoom."""
    return {"type": "zoom", "name": name}


def caption(name: object) -> dict[str, object]:
    """The id of the line under a curve that says how many points are shown."""
    return {"type": "caption", "name": name}
