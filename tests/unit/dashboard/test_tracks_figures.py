"""What *Convergence* draws of a tracker's scores."""

from dashboard.figures import tracks
from dashboard.pages.convergence_charts import course_figures
from dashboard.pages.convergence_data import subject_of
from dashboard.view import View
from tests.support.convergence_runs import add_made
from tests.support.evidence_made import healthy
from tests.support.memory_store import MemoryStore
from tests.support.tracks_made import always, seeing

SEEN = seeing(top=0.46)


def test_scores_are_counted_in_equal_bins_before_the_threshold() -> None:
    figure = tracks.histogram(SEEN, "#111", "light", "r")
    (bars,) = figure.data
    assert len(bars.x) == len(SEEN.histogram)
    assert abs(bars.x[0] - 0.025) < 1e-9
    assert tuple(bars.y) == SEEN.histogram
    assert bars.customdata[0] == "0.00 to 0.05"
    assert figure.layout.yaxis.type == "log"
    assert [shape.x0 for shape in figure.layout.shapes] == [0.5]
    assert figure.layout.annotations[0].text == "threshold 0.5"


def test_tracks_at_each_threshold_are_numbered() -> None:
    (line,) = tracks.tracks_swept(SEEN, "#111", "dark", "r").data
    assert list(line.x) == [one.threshold for one in SEEN.swept]
    assert list(line.text)[:2] == ["250", "125"]


def test_hota_has_no_point_where_it_is_not_defined() -> None:
    first, *rest = SEEN.swept
    seen = SEEN.model_copy(update={"swept": (first.model_copy(update={"hota": None}), *rest)})
    hota, over_classes = tracks.hota_swept(seen, "light", "r").data
    assert hota.y[0] is None
    assert over_classes.y[0] is not None
    assert (hota.name, over_classes.name) == ("HOTA", "mean over classes")


def test_a_run_that_tracks_has_them_and_another_has_not() -> None:
    store = MemoryStore()
    add_made(store, "spots", healthy(), None, 1)
    add_made(store, "plain", always(top=0.3, swept=()), None, 2)
    add_made(store, "tracks", always(top=0.3), None, 3)
    drawn = {}
    for key in ("spots", "plain", "tracks"):
        view = View.parse(f"?runs={key}")
        subject = subject_of(store, view)
        assert subject is not None
        assert subject.focus.key == key
        names = course_figures(subject, view, "light")
        drawn[key] = [name for name in names if name.startswith("threshold/")]
    assert drawn["spots"] == []
    assert drawn["plain"] == ["threshold/scores"]
    assert drawn["tracks"] == ["threshold/scores", "threshold/tracks", "threshold/hota"]
