"""The app in a real browser: pages, selection, zoom, history, themes, and its silence."""

import csv
import itertools
import re
from pathlib import Path

import pytest

from backend.core.records import TrialRecord
from tests.browser.visit import Visit
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.browser
OLD, NEW = "test-near-domain-00", "test-near-domain-03"
PAIR = f"/compare?runs={OLD},{NEW}"
RANGE = "document.querySelectorAll('.chart .js-plotly-plot')[%d]._fullLayout.xaxis.range"


def checkbox(key: str) -> str:
    return f".ag-row[row-id='{key}'] .ag-checkbox-input"


def selected(visit: Visit, keys: set[str]) -> None:
    """Until exactly these rows are ticked."""
    wanted = ",".join(sorted(keys))
    visit.wait(
        "[...new Set([...document.querySelectorAll('.ag-row-selected')]"
        f".map(row => row.getAttribute('row-id')))].sort().join(',') === '{wanted}'"
    )


def zoom_in(visit: Visit, chart: int) -> list[float]:
    """Drag along x over a part of a chart, and give the range that it shows then."""
    page = visit.page
    area = page.locator(".chart").nth(chart).locator(".nsewdrag")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    before = page.evaluate(RANGE % chart)
    page.mouse.move(box["x"] + 120, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 62, steps=6)
    page.mouse.up()
    visit.wait(f"{RANGE % chart}[0] !== {before[0]}")
    return list(page.evaluate(RANGE % chart))


def test_every_page_is_drawn_light_and_dark(visit: Visit, scheme: str) -> None:
    page = visit.open("/")
    page.wait_for_selector(checkbox(NEW))
    assert page.locator(".ag-floating-top").inner_text().startswith("test-near-domain #3")
    assert page.evaluate("document.documentElement.dataset.mantineColorScheme") == scheme
    page.goto(visit.root + PAIR)
    visit.drawn(10)
    traces = page.evaluate(
        "[...document.querySelectorAll('.chart .js-plotly-plot')]"
        ".map(g => g.querySelectorAll('.scatterlayer .trace').length)"
    )
    assert traces == [2] * 6
    page.goto(visit.root + "/studies")
    visit.drawn(4)
    text = page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.font.color")
    assert text == {"light": "#343a40", "dark": "#d7dbe0"}[scheme]


def test_select_compare_and_return(visit: Visit) -> None:
    page = visit.open("/")
    page.click(checkbox(OLD))
    page.click(checkbox(NEW))
    page.wait_for_url(f"**/?runs={OLD},{NEW}")
    page.click("text=Compare 2")
    page.wait_for_url(f"**{PAIR}")
    visit.drawn(10)
    assert page.title() == "Compare · Assay"
    assert "test-near-domain #3 is better than test-near-domain #0" in page.inner_text(".banner")
    page.click("a.page-tab:has-text('Studies')")
    visit.drawn(4)
    selected(visit, {OLD, NEW})
    page.go_back()
    visit.drawn(10)
    page.go_back()
    page.wait_for_selector(checkbox(OLD))
    selected(visit, {OLD, NEW})


def test_a_link_restores_the_view(visit: Visit) -> None:
    query = f"{PAIR}&baseline={OLD}&metrics=train/box_loss,val/mAP50&x=time&log=1&smooth=0.6"
    page = visit.open(query + "&params=all")
    visit.drawn(6)
    assert page.locator(".chart-title").all_inner_texts() == ["train/box_loss", "val/mAP50"]
    assert page.is_checked("#control-log")
    assert page.inner_text("#control-smooth-value") == "0.60"
    assert "augment.mosaic" in page.inner_text("#compare-params")
    assert page.locator(".chip.baseline").inner_text().startswith("test-near-domain #0")
    first = page.evaluate(
        "(() => { const l = document.querySelector('.chart .js-plotly-plot')._fullLayout;"
        " return [l.yaxis.type, l.xaxis.title.text] })()"
    )
    assert first == ["log", "Time since start (min)"]
    page.reload()
    visit.drawn(6)
    assert page.url.endswith(query + "&params=all")


def test_controls_write_the_address_and_back_undoes(visit: Visit) -> None:
    page = visit.open(PAIR)
    visit.drawn(10)
    page.click("label:has-text('Log scale')")
    page.wait_for_url("**&log=1")
    visit.wait("document.querySelector('.chart .js-plotly-plot')._fullLayout.yaxis.type === 'log'")
    page.click(".panel:has(#compare-params) label:has-text('All')")
    page.wait_for_url("**&params=all")
    page.go_back()
    page.go_back()
    visit.wait(
        "document.querySelector('.chart .js-plotly-plot')._fullLayout.yaxis.type === 'linear'"
    )
    assert page.url.endswith(PAIR)
    assert not page.is_checked("#control-log")


def test_a_zoom_outlives_a_refresh_and_brings_detail(visit: Visit, store: MemoryStore) -> None:
    for step in range(961, 3001):
        store.extend(NEW, "train/box_loss", step, 0.5 + (step % 7) / 50)
    page = visit.open(PAIR)
    visit.drawn(10)
    caption = page.locator(".chart").nth(1).locator(".chart-caption")
    assert "of 3,960 points shown" in caption.inner_text()
    zoomed = zoom_in(visit, 1)
    visit.wait("!document.querySelectorAll('.chart-caption')[1].textContent.includes('of')")
    before = caption.inner_text()
    store.extend(NEW, "train/box_loss", int(zoomed[0]) + 20, 0.5)
    visit.tick()
    visit.wait(f"document.querySelectorAll('.chart-caption')[1].textContent !== '{before}'")
    assert page.evaluate(RANGE % 1) == pytest.approx(zoomed)
    page.locator(".chart").nth(1).locator(".nsewdrag").dblclick()
    visit.wait("document.querySelectorAll('.chart-caption')[1].textContent.includes('of 3,961')")


def test_a_new_run_appears_and_the_table_stays_where_it_is(
    visit: Visit, store: MemoryStore
) -> None:
    page = visit.open(f"/?runs={NEW}")
    selected(visit, {NEW})
    body = page.locator("#runs-grid .ag-body-viewport")
    body.evaluate("e => e.scrollTop = 60")
    store.run_list.append(
        store.run(NEW).model_copy(update={"key": "fresh", "name": "a fresh run", "started": 9e9})
    )
    store.changed()
    visit.tick()
    visit.wait("document.querySelector('#runs-summary').textContent.includes('21 runs')")
    assert body.evaluate("e => e.scrollTop") == 60
    selected(visit, {NEW})


def test_a_study_that_grows_keeps_its_charts(visit: Visit, store: MemoryStore) -> None:
    page = visit.open("/studies")
    visit.drawn(4)
    page.evaluate("document.querySelector('.js-plotly-plot').dataset.mark = 'same'")
    study = store.study_list[0]
    trial = TrialRecord(number=10, state="complete", value=0.7, params=study.trials[0].params)
    store.study_list[0] = study.model_copy(update={"trials": (*study.trials, trial)})
    store.changed()
    visit.tick()
    visit.wait("document.querySelector('#studies-summary').textContent.includes('8 of 12')")
    visit.wait("document.querySelector('.js-plotly-plot').data.some(t => [...t.x].includes(10))")
    assert page.evaluate("document.querySelector('.js-plotly-plot').dataset.mark") == "same"


def test_keys_set_the_baseline_and_find_runs(visit: Visit) -> None:
    page = visit.open("/")
    page.click(f".ag-row[row-id='{OLD}'] [col-id='strategy']")
    page.keyboard.press("b")
    page.wait_for_url(f"**/?baseline={OLD}")
    visit.wait("document.querySelector('.ag-floating-top').innerText.includes('#0')")
    page.wait_for_load_state("networkidle")  # all rows are drawn against the new baseline
    visit.wait("document.activeElement.closest('.ag-cell') !== null")  # the cell has the keys
    page.keyboard.press("Space")
    selected(visit, {OLD})
    page.keyboard.press("/")
    page.keyboard.type("head-only")
    visit.wait("document.querySelector('#runs-count').textContent === '4 of 20 runs match'")
    selected(visit, set())
    page.fill("#runs-filter", "nothing like this")
    page.click("text=Clear the filter")
    selected(visit, {OLD})
    page.click("h1")
    page.keyboard.press("?")
    page.wait_for_selector("text=make it the baseline")
    page.keyboard.press("Escape")


def test_columns_are_remembered(visit: Visit) -> None:
    page = visit.open("/")
    page.wait_for_selector(checkbox(NEW))
    page.click(".ag-header-cell[col-id='value']")
    first = ".ag-center-cols-container .ag-row[row-index='0'] [col-id='value']"
    visit.wait(f"document.querySelector(\"{first}\").textContent === '0.6566'")
    visit.wait("JSON.stringify({...localStorage}).includes('desc')")
    page.reload()
    visit.wait(f"document.querySelector(\"{first}\")?.textContent === '0.6566'")
    page.click("text=Reset columns")
    visit.wait(f"document.querySelector(\"{first}\").textContent !== '0.6566'")


def test_selected_rows_are_exported(visit: Visit, tmp_path: Path) -> None:
    page = visit.open(f"/?runs={OLD},{NEW}")
    selected(visit, {OLD, NEW})
    with page.expect_download() as download:
        page.click("text=Export CSV")
    path = tmp_path / "runs.csv"
    download.value.save_as(path)
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert download.value.suggested_filename == "assay-runs.csv"
    assert {row["Run"] for row in rows} == {"test-near-domain #0", "test-near-domain #3"}
    assert all(0 < float(row["Headline at best"]) < 1 for row in rows)


def test_the_theme_switches_at_once_and_stays(visit: Visit) -> None:
    page = visit.open("/studies")
    visit.drawn(4)
    colors = "[...document.querySelectorAll('.js-plotly-plot')].map(g => g._fullLayout.font.color)"
    page.click("#scheme-toggle")
    visit.wait(f"{colors}.every(color => color === '#d7dbe0')")
    page.reload()
    visit.drawn(4)
    assert set(page.evaluate(colors)) == {"#d7dbe0"}
    assert page.evaluate("document.documentElement.dataset.mantineColorScheme") == "dark"


def test_a_store_that_cannot_be_read_is_told_until_it_can(
    visit: Visit, store: MemoryStore
) -> None:
    page = visit.open("/")
    page.wait_for_selector(checkbox(NEW))
    store.broken = "mlruns/mlflow.db: locked by another process"
    visit.tick()
    page.wait_for_selector("text=locked by another process")
    store.broken = ""
    visit.tick()
    page.wait_for_selector("text=locked by another process", state="hidden")


def test_live_can_be_paused(visit: Visit) -> None:
    page = visit.page
    page.clock.install()
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if "token.data" in (r.post_data or "") else 0)
    visit.open("/")
    page.wait_for_selector(checkbox(NEW))
    page.click("label:has-text('Live')")
    visit.wait("!document.querySelector('#live').checked")
    page.clock.run_for(1000)
    asked.clear()
    page.clock.run_for(60_000)
    assert asked == []
    page.reload()
    page.wait_for_selector(checkbox(NEW))
    assert not page.is_checked("#live")
    with page.expect_request(lambda request: "token.data" in (request.post_data or "")):
        page.click("label:has-text('Live')")
        page.clock.run_for(12_000)


@pytest.mark.parametrize("store", [MemoryStore()])
@pytest.mark.parametrize(
    ("path", "words"),
    [("/", "No runs yet"), ("/compare", "No runs yet"), ("/studies", "No studies yet")],
)
def test_an_empty_store_says_what_to_do(
    visit: Visit, store: MemoryStore, path: str, words: str
) -> None:
    page = visit.open(path)
    page.wait_for_selector(f"text={words}")
    assert "make demo" in page.inner_text(".empty")


def test_compare_without_runs_opens_a_stored_comparison(visit: Visit) -> None:
    page = visit.open("/compare")
    page.click("text=test-near-domain #3 against test-near-domain #0")
    visit.drawn(10)
    assert re.search(r"comparison=test-comparison-", page.url)


@pytest.mark.parametrize("path", ["/", PAIR, "/studies"])
def test_nothing_sticks_out_at_800_pixels(visit: Visit, path: str) -> None:
    visit.page.set_viewport_size({"width": 800, "height": 900})
    page = visit.open(path)
    page.wait_for_selector(".ag-row, .js-plotly-plot .trace")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 800


@pytest.mark.parametrize("path", ["/", PAIR, "/studies"])
def test_controls_have_names_and_headings_have_order(visit: Visit, path: str) -> None:
    page = visit.open(path)
    page.wait_for_selector(".ag-row, .js-plotly-plot .trace")
    assert visit.nameless() == []
    levels = visit.headings()
    assert levels.count(1) == 1
    assert all(after - before <= 2 for before, after in itertools.pairwise(levels))
