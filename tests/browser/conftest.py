"""Chromium and the app on a free loopback port."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.visit import Visit
from tests.support.memory_store import MemoryStore, filled_store
from tests.support.running_app import running_app

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium for the tests of one file: it is never quite idle."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=ARGUMENTS, timeout=60_000
        )
        yield chromium
        chromium.close()


def serving(store: MemoryStore) -> Iterator[str]:
    """The address of an app that shows ``store``."""
    with running_app(store) as where:
        yield where.rstrip("/")


@pytest.fixture
def store() -> MemoryStore:
    return filled_store()


@pytest.fixture
def root(store: MemoryStore) -> Iterator[str]:
    yield from serving(store)


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":  # type: ignore[attr-defined]
        item.stash[FAILED] = report.failed  # type: ignore[attr-defined]
    return report  # type: ignore[return-value]


FAILED = pytest.StashKey[bool]()


@pytest.fixture
def visit(
    browser: Browser, root: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Visit]:
    """A fresh browser profile. Leaves a screenshot if the test fails; the app must have kept
    to itself and logged no error whether it fails or not."""
    wanted = "scheme" in request.fixturenames and request.getfixturevalue("scheme") == "dark"
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        color_scheme="dark" if wanted else "light",
        accept_downloads=True,
        reduced_motion="reduce",
    )
    context.set_default_timeout(60_000)
    visit = Visit(context.new_page(), root)
    yield visit
    if request.node.stash.get(FAILED, True):
        visit.page.screenshot(path=tmp_path / "failed.png", full_page=True)
    context.close()
    assert visit.outside == []
    assert visit.errors == []
