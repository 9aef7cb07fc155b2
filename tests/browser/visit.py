"""A browser page that keeps an eye on itself."""

from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page, Request


class Visit:
    """A browser page at the app, and what it did: requests to other hosts, errors it logged."""

    def __init__(self, page: Page, root: str) -> None:
        self.page = page
        self.root = root
        self.outside: list[str] = []
        self.errors: list[str] = []
        page.on("request", self._note_request)
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            self.outside.append(request.url)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, path: str) -> Page:
        self.page.goto(self.root + path)
        return self.page

    def wait(self, condition: str) -> None:
        """Until a JavaScript condition holds."""
        self.page.wait_for_function(f"() => {condition}")

    def tick(self) -> None:
        """What the interval does every five seconds, now."""
        self.page.evaluate("dash_clientside.set_props('tick', {n_intervals: Date.now()})")

    def drawn(self, charts: int) -> None:
        """Until so many charts show data."""
        self.wait(
            "[...document.querySelectorAll('.js-plotly-plot')].filter(g => g.querySelector("
            f"'.trace, .parcoords, .bars .point')).length === {charts}"
        )

    def nameless(self) -> list[str]:
        """Controls on screen that a screen reader could not name."""
        found = self.page.evaluate(
            "[...document.querySelectorAll('button, a, input:not([type=hidden])')]"
            ".filter(e => e.offsetParent && !e.closest('.ag-root, .js-plotly-plot'))"
            ".filter(e => !(e.innerText || '').trim() && !e.ariaLabel && !(e.labels || []).length"
            " && !e.getAttribute('aria-labelledby') && !e.title && !e.textContent.trim()"
            " && e.tabIndex >= 0).map(e => e.outerHTML.slice(0, 120))"
        )
        return list(found)

    def headings(self) -> list[int]:
        """The levels of the headings on screen, in order."""
        found = self.page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3,h4')].filter(e => e.offsetParent)"
            ".map(e => +e.tagName[1])"
        )
        return list(found)
