"""The pages, in the order of their tabs. A new one is a module and a name here."""

from typing import Any, Protocol

from dash import Dash

from backend.catalog import Catalog
from backend.core.store import RunStore
from dashboard.pages.compare import ComparePage
from dashboard.pages.convergence import ConvergencePage
from dashboard.pages.experts import ExpertsPage
from dashboard.pages.runs import RunsPage
from dashboard.pages.studies import StudiesPage
from dashboard.view import View


class Page(Protocol):
    """Something with an address. ``layout`` is made anew at each visit."""

    @property
    def path(self) -> str: ...

    @property
    def title(self) -> str: ...

    def layout(self, store: RunStore, view: View) -> Any: ...

    def register(self, app: Dash, store: RunStore, catalog: Catalog) -> None: ...


PAGES: tuple[Page, ...] = (
    RunsPage(),
    ConvergencePage(),
    ComparePage(),
    ExpertsPage(),
    StudiesPage(),
)
