"""Schemathesis over `/openapi.json` against the real binary: every operation, every check, as an admin and as a plain member."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator
from world import Server, World, own_ids

HERE = Path(__file__).parent
# Cases of both runs together that must have been sent, so that a run that did little can't pass.
CASES_MIN = int(os.environ.get("BINDERY_CASES_MIN", "12000"))
# Of each operation, in each run.
EXAMPLES = os.environ.get("BINDERY_EXAMPLES", "150")
# The output of a run is kept here, to read after a failure.
REPORTS = Path(os.environ.get("BINDERY_REPORTS", tempfile.gettempdir()))

# A role may let a member create things that they can't see.
NOT_CHECKED = {"admin": [], "member": ["--exclude-checks", "ensure_resource_availability"]}

cases: dict[str, int] = {}


@pytest.fixture
def world(tmp_path: Path):
    server = Server(os.environ["BINDERY_BIN"], tmp_path)
    server.start()
    world = World(server)
    world.people()
    world.roles()
    world.places()
    server.stop()
    server.member_key = server.issue_key("person0@example.com")
    server.start()
    server.world = world
    yield server
    server.stop()


def run(server: Server, who: str, key: str, tmp_path: Path) -> tuple[int, str]:
    told = tmp_path / "world.json"
    transcript = REPORTS / f"schemathesis-{who}.cases"
    transcript.unlink(missing_ok=True)
    world = server.world
    told.write_text(
        json.dumps({"ids": world.ids, "members": world.members, "own": own_ids(server.address, key)})
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(HERE / "schemathesis.toml"),
            "run",
            f"{server.address}/openapi.json",
            "--no-color",
            "--max-examples",
            EXAMPLES,
            *NOT_CHECKED[who],
        ],
        cwd=HERE,
        env={
            **os.environ,
            "BINDERY_KEY": key,
            "BINDERY_WORLD": str(told),
            "BINDERY_TRANSCRIPT": str(transcript),
            "PYTHONHASHSEED": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("who", ["admin", "member"])
def test_no_case_finds_anything(world: Server, tmp_path: Path, who: str) -> None:
    key = {"admin": world.admin_key, "member": world.member_key}[who]
    code, told = run(world, who, key, tmp_path)
    (REPORTS / f"schemathesis-{who}.txt").write_text(told)
    found = re.search(r"(\d[\d,]*) generated", told)
    assert found, told
    cases[who] = int(found[1].replace(",", ""))
    print(f"schemathesis as {who}: {cases[who]} generated cases")
    assert code == 0, told
    alive = requests.get(
        f"{world.address}/v2/roles", headers={"Authorization": f"Bearer {key}"}, timeout=20
    )
    assert alive.status_code != 401, "the run lost its own key"


def test_enough_cases_were_sent() -> None:
    assert sum(cases.values()) >= CASES_MIN, cases


def test_the_document_is_valid() -> None:
    document = json.loads((HERE.parents[1] / "contract/openapi.json").read_text())
    OpenAPIV31SpecValidator(document).validate()
