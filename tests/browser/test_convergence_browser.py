"""*Convergence* in a real browser: read, walked through, kept while it grows, linked."""

import pytest

from tests.browser.visit import Visit
from tests.support.convergence_runs import converged, convergence_store
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.browser
COURSE = "document.querySelector('[id*=\"course \"] .js-plotly-plot')"
STEP = "document.querySelector('#convergence-step-text').textContent"


@pytest.fixture
def store() -> MemoryStore:
    return convergence_store()


def drawn(visit: Visit, name: str) -> None:
    """Until the chart of this name shows data."""
    visit.wait(f"document.querySelector('[id*=\"{name}\"] .js-plotly-plot .trace')")


def test_the_page_is_drawn_light_and_dark(visit: Visit, scheme: str) -> None:
    page = visit.open("/convergence?runs=zeros")
    visit.drawn(17)
    assert page.title() == "Convergence · Assay"
    assert "160 of 160 skeleton files are all zeros" in page.inner_text(".verdict-line")
    color = page.evaluate(f"{COURSE}._fullLayout.font.color")
    assert color == {"light": "#343a40", "dark": "#d7dbe0"}[scheme]
    assert visit.nameless() == []
    assert visit.headings().count(1) == 1


def test_a_finding_has_its_fix_to_copy_and_folds_away_what_was_not_judged(visit: Visit) -> None:
    page = visit.open("/convergence?runs=diverged")
    page.wait_for_selector(".fix")
    assert page.inner_text(".config-diff").split() == [
        "runner.optimizer.lr.all", "0.03", "→", "0.01",
    ]  # fmt: skip
    commands = page.locator(".fix .command code").all_inner_texts()
    assert commands == [
        "assay train config.yaml --set runner.optimizer.lr.all=0.01",
        "assay study run sweep --config config.yaml --over "
        "runner.optimizer.lr.all=0.01,0.003,0.001",
    ]
    page.click(".fix .command button >> nth=0")
    page.wait_for_selector(".fix .command button:has-text('Copied')")
    words = page.locator("text=no comparison is stored")
    assert not words.is_visible()
    page.click("summary:has-text('not evaluated')")
    words.wait_for(state="visible")


def test_runs_are_added_and_put_into_focus_and_back_undoes(visit: Visit) -> None:
    page = visit.open("/convergence?runs=elsewhere")
    drawn(visit, "course elsewhere")
    page.click("#convergence-runs")
    page.click("[role=option]:visible:has-text('before-step-1')")
    page.wait_for_url("**/convergence?runs=elsewhere,before-step-1")
    page.keyboard.press("Escape")
    drawn(visit, "course elsewhere before-step-1")
    page.click(".verdict-line a:has-text('before-step-1')")
    page.wait_for_url("**&run=before-step-1")
    page.wait_for_selector("text=Findings of before-step-1")
    drawn(visit, "course before-step-1 elsewhere")
    page.go_back()
    page.wait_for_selector("text=Findings of elsewhere")
    page.go_back()
    visit.wait("document.querySelectorAll('.verdict-line').length === 1")


def test_slider_and_log_axis_are_part_of_the_address(visit: Visit) -> None:
    page = visit.open("/convergence?runs=cured")
    drawn(visit, "course cured")
    visit.wait(f"{STEP} === 'step 600'")
    page.locator("#convergence-step [role=slider]").focus()
    page.keyboard.press("Home")
    page.wait_for_url("**/convergence?runs=cured&step=25")
    visit.wait(f"{STEP} === 'step 25'")
    bars = "document.querySelector('[id*=\"labels/event\"] .js-plotly-plot').data[1].x[0]"
    visit.wait(f"{bars} < 20")
    page.click("label:has-text('Log scale')")
    page.wait_for_url("**&log=1")
    visit.wait(f"{COURSE}._fullLayout.yaxis.type === 'log'")


def test_a_running_training_grows_in_place(visit: Visit, store: MemoryStore) -> None:
    page = visit.open("/convergence?runs=young")
    drawn(visit, "course young")
    page.click("summary:has-text('not evaluated')")
    page.evaluate(f"{COURSE}.dataset.mark = 'same'")
    store.extend("young", "val/loss", 150, 0.3)
    visit.tick()
    last = f"{COURSE}.data.find(t => t.name === 'young, validation').x"
    visit.wait(f"{last}.length === 6")
    assert page.evaluate(f"{COURSE}.dataset.mark") == "same"
    assert page.locator("text=no comparison is stored").is_visible()
    store.diagnoses["young"] = converged()
    store.changed()
    visit.tick()
    page.wait_for_selector(".verdict-line:has-text('Converged at epoch 18')")


def test_the_table_of_runs_leads_here(visit: Visit) -> None:
    page = visit.open("/")
    page.wait_for_selector(".ag-row[row-id='zeros'] a.severity")
    assert page.inner_text(".ag-row[row-id='zeros'] a.severity") == "▲ D02 +1"
    page.click(".ag-row[row-id='zeros'] a.severity")
    page.wait_for_url("**/convergence?runs=zeros")
    page.wait_for_selector("text=Findings of zeros")
    page.click("a.page-tab:has-text('Runs')")
    page.wait_for_selector(".ag-row-selected[row-id='zeros']")
    page.click("#runs-convergence")
    page.wait_for_url("**/convergence?runs=zeros")


def test_an_imported_run_shows_what_it_has(visit: Visit) -> None:
    page = visit.open("/convergence?runs=elsewhere")
    visit.drawn(4)
    page.wait_for_selector("text=its curves are all there is")
    assert not page.locator("#convergence-labels-frame").is_visible()


@pytest.mark.parametrize("store", [MemoryStore()])
def test_without_runs_the_page_says_how_to_make_one(visit: Visit, store: MemoryStore) -> None:
    page = visit.open("/convergence")
    page.wait_for_selector("text=No runs yet")
    assert "assay demo mdfed" in page.inner_text(".empty")


def test_nothing_sticks_out_of_a_narrow_window(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 900})
    page = visit.open("/convergence?runs=zeros,elsewhere")
    drawn(visit, "course zeros elsewhere")
    page.wait_for_selector(".fix")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
