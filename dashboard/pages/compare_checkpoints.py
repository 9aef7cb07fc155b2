"""Any two checkpoints of one run on *Compare*, and the course of all that were scored."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, no_update

from backend.analysis.checkpoint_course import course_of, evaluations
from backend.catalog import Catalog
from backend.core.comparisons import Comparison
from backend.core.errors import AssayError
from backend.core.records import Checkpoint
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components import checkpoints
from dashboard.components.browser import HIDDEN
from dashboard.scope import scope_of
from dashboard.view import View


def register_checkpoints(app: Dash, store: RunStore, catalog: Catalog) -> None:
    """Runs by what is selected, checkpoints by run, both sides by the chosen pair."""
    run = Input(ids.CHECKPOINTS_RUN, "value")
    app.callback(
        Output(ids.CHECKPOINTS_RUN, "data"),
        Output(ids.CHECKPOINTS_RUN, "value"),
        Output(ids.CHECKPOINTS, "style"),
        Input(ids.COMPARE_SCOPE, "data"),
        Input(ids.TOKEN, "data"),
        State(ids.CHECKPOINTS_RUN, "value"),
    )(partial(runs, store))
    app.callback(
        Output(ids.CHECKPOINTS_OLD, "data"),
        Output(ids.CHECKPOINTS_NEW, "data"),
        Output(ids.CHECKPOINTS_OLD, "value"),
        Output(ids.CHECKPOINTS_NEW, "value"),
        run,
        Input(ids.TOKEN, "data"),
        State(ids.CHECKPOINTS_OLD, "value"),
        State(ids.CHECKPOINTS_NEW, "value"),
        State(ids.URL, "search"),
        prevent_initial_call=True,
    )(partial(kept, store))
    app.callback(
        Output(ids.CHECKPOINTS_BODY, "children"),
        Input(ids.CHECKPOINTS_OLD, "value"),
        Input(ids.CHECKPOINTS_NEW, "value"),
        Input(ids.COMPARE_STORED, "data"),
        State(ids.CHECKPOINTS_RUN, "value"),
        State(ids.URL, "search"),
        prevent_initial_call=True,
    )(partial(pair, store, catalog))
    app.callback(
        Output(ids.CHECKPOINTS_COURSE, "children"),
        run,
        Input(ids.COMPARE_STORED, "data"),
        State(ids.SCHEME, "data"),
        prevent_initial_call=True,
    )(partial(course, store, catalog))


def runs(store: RunStore, scoped: str, token: str | None, shown: str | None) -> tuple[Any, ...]:
    """The selected runs that keep several checkpoints; the one that is shown stays."""
    scope = scope_of(store, View.parse(scoped))
    found = {run.key: run.name for run in scope.runs if len(store.checkpoints(run.key)) > 1}
    options = [{"value": key, "label": name or key} for key, name in found.items()]
    chosen = next((key for key in (shown, *found) if key in found), None)
    return options, chosen, {} if found else HIDDEN


def kept(
    store: RunStore, key: str | None, token: str | None, *state: str | None
) -> tuple[Any, ...]:
    """The checkpoints of a run, and two of them: those shown, those of the comparison that the
    address names, or the first and the best (the last, if that is the first)."""
    if not key:
        return no_update, no_update, None, None
    old, new, search = state
    run, found = store.run(key), store.checkpoints(key)
    options = [checkpoints.option(one, run, found) for one in found]
    values = [option["value"] for option in options]
    named = _named(store.comparisons(), View.parse(search).comparison, found)
    best = next((one for one in found[1:] if one.epoch == run.best_epoch), found[-1])
    usual = (str(found[0].step), str(best.step))
    pairs = ((old, new), named, usual)
    chosen = next(two for two in pairs if all(one in values for one in two))
    return options, options, *chosen


def _named(
    comparisons: Sequence[Comparison], key: str, found: Sequence[Checkpoint]
) -> tuple[str | None, ...]:
    """Both sides of the comparison of that key, as far as they are among these checkpoints."""
    steps = {one.sha256: str(one.step) for one in found}
    for one in comparisons:
        if one.key == key:
            sides = (one.baseline, one.candidate)
            return tuple(steps.get(side.checkpoint.sha256) for side in sides)
    return (None, None)


def pair(
    store: RunStore, catalog: Catalog, old: str | None, new: str | None, news: Any,
    *state: str | None,
) -> Any:  # fmt: skip
    """Two checkpoints: their validations, and their comparison or how to make it."""
    key, search = state
    if not (key and old and new):
        return None
    if old == new:
        return dmc.Text("Choose two different checkpoints.", size="sm", c="dimmed")
    run, found = store.run(key), {str(one.step): one for one in store.checkpoints(key)}
    if old not in found or new not in found:
        return None
    sides = (found[old], found[new])
    stored = _stored(store.comparisons(), sides)
    made = (
        checkpoints.wanted(run, [one.epoch for one in sides], catalog)
        if stored is None
        else checkpoints.stored(*stored, View.parse(search))
    )
    return [made, checkpoints.validations(*sides, run, catalog)]


def _stored(
    comparisons: Sequence[Comparison], sides: tuple[Checkpoint, Checkpoint]
) -> tuple[Comparison, bool] | None:
    """The newest comparison of these two, and whether it has them the other way round."""
    old, new = (one.sha256 for one in sides)
    for one in comparisons:
        both = (one.baseline.checkpoint.sha256, one.candidate.checkpoint.sha256)
        if both in ((old, new), (new, old)):
            return one, both != (old, new)
    return None


def course(store: RunStore, catalog: Catalog, key: str | None, news: Any, scheme: str) -> Any:
    """Every checkpoint of the run that was scored on the same data, with its interval."""
    if not key:
        return None
    run, scored = store.run(key), evaluations(key, store.comparisons())
    epochs = list(dict.fromkeys(one.epoch for one in store.checkpoints(key)))
    missing = len({one.epoch for one, _ in scored}) < len(epochs)
    parts = []
    if len(scored) > 1:
        try:
            parts.append(checkpoints.course(course_of(scored), run, scheme))
        except AssayError as error:
            parts.append(dmc.Text(f"No course: {error}.", size="sm", className="warn"))
    if missing and len(epochs) > 2:
        parts.append(checkpoints.more_to_score(run, epochs, catalog))
    return parts
