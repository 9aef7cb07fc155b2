from backend.analysis.changes import changes
from backend.core.comparisons import Change, Contender
from tests.support.detections import contender


def side(label: str = "a", **known: object) -> Contender:
    return contender(label).model_copy(update=known)


def test_equal_sides_have_no_changes() -> None:
    both = side(params={"lr": "0.1"}, data={"train": "d" * 64}, code="abc", environment={"x": "1"})

    assert changes(both, both) == ()


def test_what_differs_is_listed_by_kind_and_name() -> None:
    old = side(
        params={"lr": "0.1", "epochs": "9", "freeze": "full"},
        data={"train": "1", "val": "2"},
        code="abc",
        environment={"torch": "2.0", "numpy": "2.3"},
    )
    new = side(
        params={"lr": "0.2", "epochs": "9", "moe": "4"},
        data={"train": "1", "val": "3"},
        code="def",
        environment={"torch": "2.1", "numpy": "2.3"},
    )

    assert changes(old, new) == (
        Change(kind="config", name="freeze", baseline="full", candidate=None),
        Change(kind="config", name="lr", baseline="0.1", candidate="0.2"),
        Change(kind="config", name="moe", baseline=None, candidate="4"),
        Change(kind="data", name="val", baseline="2", candidate="3"),
        Change(kind="code", name="commit", baseline="abc", candidate="def"),
        Change(kind="environment", name="torch", baseline="2.0", candidate="2.1"),
    )


def test_a_side_that_tells_nothing_is_not_compared() -> None:
    known = side(params={"lr": "0.1"}, data={"train": "1"}, code="abc", environment={"x": "1"})

    assert changes(side(), known) == ()
    assert changes(known, side()) == ()
