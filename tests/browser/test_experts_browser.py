"""*Experts* in a real browser: drawn, moved through time, kept while it grows, linked."""

import pytest

from backend.core.experts import ExpertReport
from tests.browser.visit import Visit
from tests.support.expert_runs import Scene, expert_store, made_reports
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.browser
USAGE = "document.querySelector('[id*=\"usage \"] .js-plotly-plot')"
STEP = "document.querySelector('#experts-step-text').textContent"


@pytest.fixture
def store() -> MemoryStore:
    return expert_store(validations=4)


def charts(visit: Visit, count: int) -> None:
    """Until so many charts show data, heat maps among them."""
    visit.wait(
        "[...document.querySelectorAll('.js-plotly-plot')].filter(g => g.querySelector("
        f"'.trace, .heatmaplayer .hm')).length === {count}"
    )


def test_the_page_is_drawn_light_and_dark(visit: Visit, scheme: str) -> None:
    page = visit.open("/experts?run=experts-a")
    charts(visit, 14)
    assert page.title() == "Experts · Assay"
    assert page.input_value("#experts-run") == "experts-a"
    assert "of ln 6 = 1.79" in page.inner_text("#experts-cards")
    color = page.evaluate(f"{USAGE}._fullLayout.font.color")
    assert color == {"light": "#343a40", "dark": "#d7dbe0"}[scheme]
    assert visit.nameless() == []
    assert visit.headings().count(1) == 1
    assert page.locator("#experts-step [role=slider]").get_attribute("aria-label")


def test_the_slider_moves_through_the_validations_by_key(visit: Visit) -> None:
    page = visit.open("/experts?run=experts-a")
    charts(visit, 14)
    visit.wait(f"{STEP}.startsWith('final evaluation, step 200')")
    page.locator("#experts-step [role=slider]").focus()
    page.keyboard.press("Home")
    page.wait_for_url("**/experts?run=experts-a&step=50")
    visit.wait(f"{STEP} === 'step 50, epoch 1'")
    first = "document.querySelector('[id*=\"classes \"] .js-plotly-plot').data[0].z[0][0]"
    visit.wait(f"{first} < 0.6")
    page.keyboard.press("End")
    page.wait_for_url("**/experts?run=experts-a")
    visit.wait(f"{first} > 0.6")


def test_pickers_write_the_address_and_back_undoes(visit: Visit) -> None:
    page = visit.open("/experts?run=experts-a&step=100")
    charts(visit, 14)
    page.click("#experts-run")
    page.click("[role=option]:visible:has-text('dead')")
    page.wait_for_url("**/experts?run=dead")
    visit.wait("document.querySelector('#experts-cards').textContent.includes('never chosen')")
    page.click("#experts-router")
    page.click("[role=option]:visible:has-text('tokens')")
    page.wait_for_url("**/experts?run=dead&router=token")
    page.click("label:has-text('Per object')")
    page.wait_for_url("**&loss=object")
    title = "document.querySelector('[id*=\"val \"] .js-plotly-plot')._fullLayout.yaxis.title.text"
    visit.wait(f"{title} === 'Loss per object'")
    page.go_back()
    page.go_back()
    page.go_back()
    visit.wait(f"{STEP} === 'step 100, epoch 2'")
    visit.wait("document.querySelector('#experts-run').value === 'experts-a'")


def test_a_column_of_the_heat_map_leads_to_its_step(visit: Visit) -> None:
    page = visit.open("/experts?run=experts-a")
    charts(visit, 14)
    area = page.locator("[id*='usage '] .nsewdrag")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    page.wait_for_url("**&step=100")


def test_a_training_run_grows_in_place(visit: Visit, store: MemoryStore) -> None:
    page = visit.open("/experts?run=training")
    charts(visit, 13)
    assert page.locator("text=there is none yet").count() == 1
    visit.wait(f"{STEP} === 'step 100, epoch 2'")
    page.evaluate(f"{USAGE}.dataset.mark = 'same'")
    reports: list[ExpertReport] = made_reports(Scene(validations=4, final=False, seed=6))
    store.expert_reports["training"] = reports[:3]
    store.changed()
    visit.tick()
    visit.wait(f"{USAGE}.data[0].x.length === 3")
    visit.wait(f"{STEP} === 'step 150, epoch 3'")
    assert page.evaluate(f"{USAGE}.dataset.mark") == "same"
    assert page.url.endswith("?run=training")


def test_two_runs_side_by_side_from_compare(visit: Visit) -> None:
    page = visit.open("/compare?runs=experts-a,dead")
    page.click("text=Experts side by side")
    page.wait_for_url("**/experts?*run=dead&other=experts-a*")
    charts(visit, 14)
    assert "alignment" in page.inner_text("#experts-changes")
    page.click("#experts-other")
    page.click("[role=option]:visible:has-text('experts-b')")
    visit.wait("document.querySelector('#experts-changes').textContent.includes('different')")
    charts(visit, 13)


def test_the_table_of_runs_leads_to_experts(visit: Visit) -> None:
    page = visit.open("/")
    page.click(".ag-row[row-id='experts-b'] a:has-text('experts'):not([href*='compare'])")
    page.wait_for_url("**/experts?run=experts-b")
    charts(visit, 14)


def test_the_study_over_top_k_is_drawn_against_its_cost(visit: Visit) -> None:
    page = visit.open("/experts?run=experts-a")
    charts(visit, 14)
    text = page.inner_text("#experts-study")
    assert "GFLOPs of one image" in text
    assert "dense, no experts" in text


@pytest.mark.parametrize("store", [MemoryStore()])
def test_without_experts_the_page_says_how_to_train_some(visit: Visit, store: MemoryStore) -> None:
    page = visit.open("/experts")
    page.wait_for_selector("text=No run with experts yet")
    assert "assay train configs/train/moe_rtdetr.yaml" in page.inner_text(".empty")


def test_a_dense_run_offers_those_with_experts(visit: Visit) -> None:
    page = visit.open("/experts?run=dense")
    page.wait_for_selector("text=dense has no experts")
    assert page.locator(".empty a:has-text('experts-b')").count() == 1
    page.click("#experts-run")
    page.click("[role=option]:visible:has-text('experts-b')")
    page.wait_for_url("**/experts?run=experts-b")
    charts(visit, 14)


@pytest.mark.parametrize(("run", "width"), [("experts-a", 390), ("twelve", 800)])
def test_nothing_sticks_out_of_a_narrow_window(visit: Visit, run: str, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 900})
    page = visit.open(f"/experts?run={run}")
    charts(visit, 14)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
