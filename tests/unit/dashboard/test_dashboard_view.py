"""The query string holds what is on screen, and survives anything."""

from hypothesis import given
from hypothesis import strategies as st

from dashboard.view import View

names = st.lists(
    st.text("abcXYZ019-_./ äé#&=+%", min_size=1, max_size=12), max_size=4, unique=True
).map(tuple)
views = st.builds(
    View,
    runs=names,
    baseline=st.text(max_size=10),
    metrics=names,
    x=st.sampled_from(["step", "epoch", "time"]),
    log=st.booleans(),
    smooth=st.sampled_from([0.0, 0.25, 0.6, 0.99]),
    values=st.sampled_from(["best", "last"]),
    params=st.sampled_from(["diff", "all"]),
    study=st.text(max_size=10),
    comparison=st.text(max_size=10),
    q=st.text(max_size=10),
    run=st.text(max_size=10),
    step=st.sampled_from(["", "50", "final"]),
    router=st.sampled_from(["", "token", "query/3"]),
    loss=st.sampled_from(["total", "object"]),
    other=st.text(max_size=10),
    other_step=st.sampled_from(["", "50", "final"]),
    sequence=st.text(max_size=10),
    frame=st.sampled_from(["", "1", "17495"]),
)


@given(views)
def test_a_view_is_what_its_query_string_says(view: View) -> None:
    assert View.parse(view.search()) == view


@given(st.text(max_size=60))
def test_any_text_is_some_view(text: str) -> None:
    assert View.parse("?" + text).x in ("step", "epoch", "time")


def test_unreadable_values_fall_back() -> None:
    view = View.parse("?x=furlong&smooth=nan&log=yes&values=&runs=a,,a,b&future=1")
    assert view == View(runs=("a", "b"))
    assert View.parse("?smooth=7").smooth == 0.99
    assert View.parse(None) == View()


def test_defaults_are_not_written() -> None:
    assert View().search() == ""
    assert View(runs=("a", "b"), baseline="a").search() == "?runs=a,b&baseline=a"


def test_a_link_changes_only_what_it_names() -> None:
    view = View(runs=("a",), metrics=("val/mAP50-95",), log=True)
    assert view.link("/compare", baseline="a") == (
        "/compare?runs=a&baseline=a&metrics=val/mAP50-95&log=1"
    )
