"""*Hardware* on the page of a run: one time axis for all charts, and what a recovery tells."""

import pytest

from tests.browser.visit import Visit
from tests.support.hardware_runs import hardware_store
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.browser
CHART = "document.querySelector('#convergence-hardware .js-plotly-plot')"
SHOWN = f"Object.values({CHART}._fullLayout._plots).map(p => p.xaxis.range[0])"


@pytest.fixture
def store() -> MemoryStore:
    return hardware_store(200)


def test_hover_zoom_and_table_of_a_run_that_recovered(visit: Visit, store: MemoryStore) -> None:
    page = visit.open("/convergence?runs=recovered")
    visit.wait(f"{CHART} && {CHART}.querySelector('.trace')")
    table = page.locator("#convergence-hardware-tables [aria-label=Recoveries]")
    assert "CUDA out of memory" in table.inner_text()
    assert "batch 32 → 16" in table.inner_text()
    assert table.get_attribute("tabindex") == "0"
    assert visit.nameless() == []

    area = page.locator("#convergence-hardware .nsewdrag").nth(2)
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 1900 / 7200, height)
    hover = page.locator("#convergence-hardware .hoverlayer")
    for words in ("GPU memory ran out (CUDA out of memory", "batch 32 → 16", "GPU 0 power"):
        hover.get_by_text(words).first.wait_for()

    page.mouse.move(box["x"] + box["width"] * 0.5, height)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, height, steps=4)
    page.mouse.up()
    visit.wait(f"{SHOWN}.every(start => start > 0.9)")
    assert page.evaluate(f"{SHOWN}.length") == 10

    store.extend("recovered", "system/process_cpu_percentage", 999, 5.0)
    visit.tick()
    visit.wait(f"{CHART}._fullData.some(t => t.name === 'training CPU' && t.y.at?.(-1) === 5)")
    visit.wait(f"{SHOWN}.length === 10 && {SHOWN}.every(start => start > 0.9)")


def test_a_run_that_was_not_sampled_says_why_in_a_narrow_window(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 900})
    page = visit.open("/convergence?runs=unwatched")
    page.wait_for_selector("text=hardware.sample is 0 in its config")
    assert page.locator("#convergence-hardware .js-plotly-plot").count() == 0
    page.goto(f"{visit.root}/convergence?runs=recovered,two-gpus")
    visit.wait(f"{CHART} && {CHART}.querySelector('.trace')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
