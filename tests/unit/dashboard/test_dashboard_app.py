"""The app as a whole, over Flask's test client."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import dash
import pytest
from dash import Dash

import dashboard
from backend.catalog import CATALOG
from dashboard.app import UNREADABLE, create_app
from dashboard.pages import PAGES, compare, compare_charts, experts, studies
from dashboard.scope import READ_AGAIN
from dashboard.view import View
from tests.support.expert_runs import expert_store
from tests.support.memory_store import MemoryStore, filled_store

SOURCES = sorted(Path(dashboard.__file__).parent.rglob("*.py"))
KNOWN = {"token.data": "0", "problem.title": ""}
PAIR = "?runs=test-near-domain-00,test-near-domain-03"


def components(tree: Any) -> list[Any]:
    """Every component in a tree."""
    if isinstance(tree, list | tuple):
        return [found for child in tree for found in components(child)]
    if not hasattr(tree, "_traverse"):
        return []
    return [tree, *tree._traverse()]


def post(app: Dash, output: str, inputs: dict[str, Any], state: dict[str, Any]) -> Any:
    """Call a callback over HTTP, as a browser does."""

    def parts(values: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"id": key.split(".")[0], "property": key.split(".")[1], "value": value}
            for key, value in values.items()
        ]

    body = {
        "output": output,
        "outputs": {"id": output.split(".")[0], "property": output.split(".")[1]},
        "inputs": parts(inputs),
        "state": parts(state),
        "changedPropIds": list(inputs),
    }
    return app.server.test_client().post("/_dash-update-component", json=body)


def everything_drawn() -> list[Any]:
    store = filled_store()
    source = compare_charts.Source(store, CATALOG)
    mixed, one = expert_store(2), "?run=experts-a"
    return components(
        [
            create_app(store).layout(),
            *(page.layout(store, View()) for page in PAGES),
            compare_charts.draw(source, PAIR, "light", [], [])[0],
            list(compare.verdict(store, {}, "light", PAIR)),
            studies.draw(store, ["", ""], "light", [])[0],
            experts.course(mixed, one, "0", "light", [])[2],
            *experts.moment(mixed, CATALOG, one, "0", "light", [])[12:14],
            experts.study(mixed, one, "0", "light", None)[0],
        ]
    )


def test_no_graph_offers_to_send_itself_to_a_cloud() -> None:
    graphs = [c for c in everything_drawn() if type(c).__name__ == "Graph"]
    assert len(graphs) == 6 + 4 + 4 + 14
    assert all(graph.config["showSendToCloud"] is False for graph in graphs)
    assert all(graph.config["displaylogo"] is False for graph in graphs)


def test_graphs_and_tables_are_made_in_one_place() -> None:
    makers: dict[str, set[str]] = {"Graph": set(), "AgGrid": set()}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                makers.get(node.func.attr, set()).add(source.name)
    assert makers == {"Graph": {"graph.py"}, "AgGrid": {"grid.py"}}


def test_ids_on_a_page_are_unique() -> None:
    for page in PAGES:
        tree = [create_app(filled_store()).layout(), page.layout(filled_store(), View())]
        found = [json.dumps(c.id) for c in components(tree) if getattr(c, "id", None)]
        assert len(found) == len(set(found))


@pytest.mark.parametrize("path", ["/", "/compare", "/experts", "/studies", "/nowhere"])
def test_every_address_serves_the_app(path: str) -> None:
    answer = create_app(filled_store()).server.test_client().get(path)
    assert answer.status_code == 200
    outside = re.findall(r'(?:src|href)="(?:https?:)?//[^"]+"', answer.text)
    assert outside == []
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "form-action 'self'" in policy


def test_the_stylesheet_and_script_name_no_other_host() -> None:
    for asset in (Path(dashboard.__file__).parent / "assets").iterdir():
        hosts = set(re.findall(r"https?://([a-z0-9.\-]+)", asset.read_text()))
        assert hosts <= {"www.w3.org"}, asset.name  # a namespace, never fetched


def test_two_apps_share_nothing() -> None:
    stores = filled_store(), MemoryStore()
    stores[1].version = 7
    tokens = [
        post(app, "token.data", {"tick.n_intervals": 1}, {"token.data": "", "problem.title": ""})
        for app in map(create_app, stores)
    ]
    assert [answer.json["response"]["token"]["data"] for answer in tokens] == ["0", "7"]
    assert len(dash.page_registry) == 0


def address(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"url.pathname": path, "ready.data": "light"}, {"url.search": ""}


def test_a_page_comes_over_http() -> None:
    answer = post(create_app(filled_store()), "content.children", *address("/studies"))
    assert "Trials" in answer.text


def test_polling_answers_only_when_something_changed() -> None:
    store = filled_store()
    app = create_app(store)
    ask = {"tick.n_intervals": 1}
    assert post(app, "token.data", ask, KNOWN).json["response"] == {}
    store.changed()
    assert post(app, "token.data", ask, KNOWN).json["response"] == {"token": {"data": "1"}}


def test_a_failure_is_told_and_taken_back() -> None:
    store = filled_store()
    app = create_app(store)
    store.broken = "mlruns/mlflow.db: locked by another process"
    ask = {"tick.n_intervals": 1}
    told = post(app, "token.data", ask, KNOWN).json["sideUpdate"]["problem"]
    assert told == {"title": UNREADABLE, "children": store.broken, "hide": False}
    store.broken = ""
    healed = post(app, "token.data", ask, KNOWN | {"problem.title": UNREADABLE}).json
    assert healed["sideUpdate"]["problem"]["hide"] is True
    assert healed["response"]["token"]["data"] == "0" + READ_AGAIN


def test_a_bug_is_logged_and_told(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(MemoryStore):
        def change_token(self) -> str:
            if self.version:
                raise ZeroDivisionError("made for this test")
            return "0"

    store = Odd()
    app = create_app(store)
    app.server.test_client().get("/")
    store.changed()
    answer = post(app, "token.data", {"tick.n_intervals": 1}, KNOWN)
    assert "could not be made" in answer.json["sideUpdate"]["problem"]["title"]
    assert "made for this test" in caplog.text
