"""The section *Hardware* without a browser: what is read, drawn and said."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from dash import Patch, no_update

from backend.catalog import CATALOG
from backend.core.records import Series
from backend.hardware.sampling import EVENTS_PER_WIDTH
from dashboard.curves import CHART_POINTS
from dashboard.hardware import Hardware, Sampled, hardware_of
from dashboard.pages.convergence_data import subject_of
from dashboard.pages.hardware_section import drawn, section
from dashboard.view import View
from tests.support.hardware_runs import (
    CARD,
    REQUESTED,
    add_run,
    add_sampled,
    hardware_store,
    put,
)
from tests.support.memory_store import MemoryStore
from tests.support.shown import text_of

STORE = hardware_store(200)
GIB = 2**30


def known(key: str, store: MemoryStore = STORE) -> Hardware:
    return hardware_of(store, [store.run(key)], CATALOG)


def show(query: str, store: MemoryStore = STORE, shown: Any = ()) -> tuple[Any, Any, list[Any]]:
    return section(store, CATALOG, query, "0", "light", shown)


def rows(query: str, store: MemoryStore = STORE) -> Any:
    subject = subject_of(store, View.parse(query))
    assert subject is not None
    return drawn(hardware_of(store, subject.ordered, CATALOG), subject)


def figure_of(children: Any) -> Any:
    return children[1].figure


def test_memory_is_in_gibibytes_beside_what_there_is_of_it() -> None:
    memory = next(one for one in known("recovered").samples if one.quantity == "gpu memory")
    assert memory.total == pytest.approx(24.0, abs=1e-3)
    logged = STORE.curves["recovered", "system/gpu_0_memory_usage_megabytes"].values
    assert memory.values.tolist() == pytest.approx([v * 1e6 / GIB for v in logged])


def test_samples_are_in_order_of_time_and_without_what_is_no_number() -> None:
    store = MemoryStore()
    run = add_run(store, "resumed", 1, {})
    put(store, run, "system/process_cpu_percentage",
        np.array([10.0, 30.0, 20.0, 40.0]), np.array([1.0, 3.0, 2.0, np.nan]))  # fmt: skip
    (one,) = known("resumed", store).samples
    assert one.seconds.tolist() == [10, 20, 30]
    assert one.values.tolist() == [1, 2, 3]


def test_a_recovery_has_its_time_and_is_known_once() -> None:
    store = hardware_store(20)
    store.told["recovered"] = (*store.told["recovered"], store.told["recovered"][0])
    found = known("recovered", store).recoveries
    assert [(one.told.attempt, one.seconds) for one in found] == [(1, 1900.0), (2, 4300.0)]


def test_the_batch_holds_its_value_until_memory_ran_out() -> None:
    courses = {one.key: one for one in known("recovered").courses}
    assert list(courses) == ["batch", "workers"]
    batch = courses["batch"]
    assert batch.requested == REQUESTED["batch"]
    assert {float(v) for v in batch.values[batch.seconds < 1900]} == {32.0}
    assert {float(v) for v in batch.values[batch.seconds >= 1900]} == {16.0}
    assert batch.seconds[-1] == 7200


def test_changes_within_a_second_are_in_order() -> None:
    store = MemoryStore()
    run = add_run(store, "quick", 1, {"batch": "32"})
    put(store, run, "hardware/batch", np.array([0.2, 0.5, 9.0]), np.array([32.0, 16.0, 8.0]))
    put(store, run, "system/process_cpu_percentage", np.array([9.0]), np.array([1.0]))
    (batch,) = known("quick", store).courses
    assert batch.seconds[0] == 0
    assert np.diff(batch.values).max() <= 0
    assert set(batch.values.tolist()) == {32.0, 16.0, 8.0}


def test_of_a_run_that_was_scaled_only_what_was_logged_is_known() -> None:
    store = MemoryStore()
    run = add_run(store, "scaled", 1, {"batch": "16", "hardware.auto_scale": "True"})
    put(store, run, "system/process_cpu_percentage", np.array([9.0]), np.array([1.0]))
    assert known("scaled", store).courses == []
    put(store, run, "hardware/batch", np.array([1.0]), np.array([64.0]))
    (batch,) = known("scaled", store).courses
    assert (batch.requested, set(batch.values.tolist())) == (16.0, {64.0})


def test_each_quantity_is_a_chart_and_all_share_the_axis() -> None:
    figure = figure_of(show("?runs=recovered")[0])
    titles = [note.text for note in figure.layout.annotations]
    assert titles == [
        "GPU utilisation (%)", "GPU memory (GiB)", "GPU power (W)", "GPU temperature (°C)",
        "CPU of the training and its loaders (% of one core)", "CPU of the whole machine (%)",
        "Memory (GiB); dotted: of the whole host", "batch", "workers",
    ]  # fmt: skip
    assert {trace.xaxis for trace in figure.data} == {None}
    places = [figure.layout[axis].domain for axis in
              ("yaxis", *(f"yaxis{n}" for n in range(2, len(titles) + 1)))]  # fmt: skip
    assert all(above[0] > below[1] for above, below in pairwise(places))
    assert figure.layout.hoversubplots == "axis"
    assert figure.layout.xaxis.title.text == "Time since start (h)"


def test_a_recovery_is_a_line_through_all_charts_with_cause_and_action() -> None:
    figure = figure_of(show("?runs=recovered")[0])
    marks = next(trace for trace in figure.data if trace.mode == "markers")
    assert list(marks.x) == pytest.approx([1900 / 3600, 4300 / 3600])
    assert marks.customdata[0] == (
        "GPU memory ran out (CUDA out of memory, training, step 812)<br>batch 32 → 16"
    )
    assert "unknown" not in marks.customdata[1]
    assert [(shape.x0, shape.y0, shape.y1) for shape in figure.layout.shapes] == [
        (x, 0, 1) for x in marks.x
    ]


def test_the_table_has_what_was_requested_beside_what_is_in_force() -> None:
    said = text_of(show("?runs=recovered")[1])
    for words in (
        "31 min 40 s", "training", "after step 812", "GPU memory", "CUDA out of memory",
        "batch 32 → 16", "unknown: the process was killed", "memory of the host", "cache",
        "Requested", "Effective since", " 8", " 4",
    ):  # fmt: skip
        assert words in said, words
    assert "imgsz" not in said


def test_numbers_say_what_the_charts_show() -> None:
    store = MemoryStore()
    run = add_run(store, "watched", 1, {"hardware.sample": "2.0"})
    for metric, values in {
        "system/gpu_0_utilization_percentage": [80.0, 90.0],
        "system/gpu_0_memory_usage_megabytes": [CARD / 4, CARD / 2],
        "system/gpu_0_memory_usage_percentage": [25.0, 50.0],
        "system/process_cpu_percentage": [300.0, 100.0],
    }.items():
        put(store, run, metric, np.array([2.0, 4.0]), np.array(values))
    said = text_of(show("?runs=watched", store)[1])
    for words in ("GPU 0", "85 %", "12.0 GiB (50%)", "24.0 GiB", "200 % of one core"):
        assert words in said, words


def test_without_a_gpu_there_are_no_gpu_charts() -> None:
    chart, tables, _ = show("?runs=on-cpu")
    titles = [note.text for note in figure_of(chart).layout.annotations]
    assert titles == [
        "CPU of the training and its loaders (% of one core)", "CPU of the whole machine (%)",
        "Memory (GiB); dotted: of the whole host", "batch",
    ]  # fmt: skip
    assert not any(word in text_of(tables) for word in ("GPU", "power", "temperature"))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("imported", "others trained this run"),
        ("earlier", "trained before samples were taken"),
        ("unwatched", "--set hardware.sample=2"),
        ("young", "the first look is still to come"),
        ("brief", "no look was kept"),
    ],
)
def test_a_run_without_samples_says_why_and_draws_nothing(key: str, words: str) -> None:
    store = hardware_store(20)
    add_run(store, "young", 8, {"hardware.sample": "2.0"}, status="running")
    add_run(store, "brief", 9, {"hardware.sample": "2.0"})
    chart, tables, _ = show(f"?runs={key}", store)
    assert chart is None
    assert words in text_of(tables)
    beside = text_of(show(f"?runs=on-cpu,{key}", store)[1])
    assert f"are not known of {key}: " in beside


def test_recoveries_of_a_run_that_was_not_sampled_are_shown() -> None:
    store = hardware_store(20)
    for name in [name for run, name in store.curves if run == "recovered"]:
        if name.startswith("system/"):
            del store.curves["recovered", name]
    chart, tables, _ = show("?runs=recovered", store)
    assert [note.text for note in figure_of(chart).layout.annotations] == ["batch", "workers"]
    assert "batch 32 → 16" in text_of(tables)


def test_several_runs_keep_their_colours_and_tell_of_the_chart_pointed_at() -> None:
    chart, tables, _ = show("?runs=recovered,two-gpus,on-cpu")
    figure = figure_of(chart)
    assert figure.layout.hoversubplots == "overlaying"
    load = [(t.name, t.line.dash) for t in figure.data if t.yaxis is None or t.yaxis == "y"]
    assert load == [
        ("recovered, GPU 0", "solid"), ("two-gpus, GPU 0", "solid"), ("two-gpus, GPU 1", "dash"),
    ]  # fmt: skip
    assert text_of(tables).count("two-gpus") == 4
    assert [t.name for t in figure.data if t.mode == "markers"] == ["recovered"]


def test_the_gpus_of_one_run_differ_in_colour() -> None:
    row = rows("?runs=two-gpus")[0][0]
    assert len({track.color for track in row.tracks}) == 2


def test_new_samples_touch_nothing_but_data() -> None:
    store = hardware_store(20)
    chart = show("?runs=on-cpu", store)[0]
    shown = [chart[1].id]
    old = store.curves["on-cpu", "system/process_cpu_percentage"]
    store.curves["on-cpu", "system/process_cpu_percentage"] = Series(
        steps=(*old.steps, 99), values=(*old.values, 5.0), times=(*old.times, old.times[-1] + 9)
    )
    again, _, figures = show("?runs=on-cpu", store, shown)
    assert again is no_update
    assert isinstance(figures[0], Patch)
    other, _, figures = show("?runs=recovered", store, shown)
    assert figure_of(other).data
    assert figures == [no_update]


def test_nothing_is_drawn_without_a_run() -> None:
    assert show("?runs=gone") == (None, None, [])


def test_long_runs_are_drawn_with_few_points_and_keep_their_peaks() -> None:
    store = MemoryStore()
    for number in range(3):
        add_sampled(store, f"long-{number}", number, gpus=1, points=5000)
    name = "system/process_cpu_percentage"
    peak = list(store.curves["long-0", name].values)
    peak[2500] = 9999.0
    store.curves["long-0", name] = store.curves["long-0", name].model_copy(
        update={"values": tuple(peak)}
    )
    found = rows("?runs=" + ",".join(f"long-{n}" for n in range(3)), store)[0]
    for row in found:
        assert sum(track.line.shown for track in row.tracks) <= CHART_POINTS
    cpu = next(row for row in found if row.title.startswith("CPU of the training"))
    assert max(float(track.line.y.max()) for track in cpu.tracks) == 9999.0


def test_the_mean_of_a_long_run_counts_every_look() -> None:
    """Its later values are of two looks each."""
    run, values = hardware_store(2).run("on-cpu"), np.repeat([0.0, 90.0], EVENTS_PER_WIDTH)
    one = Sampled(run, "cpu", "training", np.arange(len(values), dtype=float), values)
    assert one.mean == pytest.approx(60)
