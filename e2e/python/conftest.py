"""A served scene for every suite, and a record of which scenarios a suite has covered.

A suite says `CLIENT = "python"`; a test says `@pytest.mark.covers("get_role: ok")` or takes a `scenario`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from arize import ArizeClient

from bindery_server import Server
from scenarios import Scenario
from scene import Scene

OUTCOMES = pytest.StashKey[dict[str, dict[str, set[str]]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "covers(*scenarios): the scenarios that this test shows")
    config.stash[OUTCOMES] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    client = getattr(item.module, "CLIENT", None)
    if client and (report.when == "call" or report.failed):
        outcomes = item.config.stash[OUTCOMES].setdefault(client, {"passed": set(), "failed": set()})
        shown = {name for mark in item.iter_markers("covers") for name in mark.args}
        scenario = item.callspec.params.get("scenario") if hasattr(item, "callspec") else None
        if isinstance(scenario, Scenario):
            shown.add(str(scenario))
        outcomes["passed" if report.passed else "failed"] |= shown
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    directory = os.environ.get("BINDERY_E2E_COVERAGE")
    for client, outcomes in session.config.stash[OUTCOMES].items() if directory else ():
        covered = sorted(outcomes["passed"] - outcomes["failed"])
        Path(directory, f"{client}.json").write_text(json.dumps(covered, indent=0))


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory):
    server = Server(os.environ["BINDERY_BIN"], tmp_path_factory.mktemp("bindery"))
    yield Scene(server)
    server.stop_and_look_for_secrets()


@pytest.fixture(scope="session")
def server(scene: Scene) -> Server:
    return scene.server


@pytest.fixture(scope="session")
def sdk(server: Server):
    """Creates the official client for a key."""

    def client(key: str) -> ArizeClient:
        return ArizeClient(
            api_key=server.saw(key), single_host="127.0.0.1", single_port=server.port, api_scheme="http"
        )

    return client


@pytest.fixture(scope="session")
def admin(sdk, server: Server) -> ArizeClient:
    return sdk(server.admin_key)
