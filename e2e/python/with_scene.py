"""Runs a suite that isn't Python against the scene: `with_scene.py CLIENT COMMAND…`.

The command finds the scene in the file that BINDERY_E2E_SETTING names, and appends to the one that BINDERY_E2E_RECORD
names, one JSON object a line: {"passed": scenario}, {"failed": scenario} or {"secret": text}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bindery_server import Server
from scenarios import for_client
from scene import Scene


def main(client: str, *command: str) -> int:
    with tempfile.TemporaryDirectory(prefix="bindery-e2e-") as directory:
        here = Path(directory)
        (here / "server").mkdir()
        scene = Scene(Server(os.environ["BINDERY_BIN"], here / "server"))
        setting, record = here / "setting.json", here / "record.jsonl"
        setting.write_text(json.dumps(setting_of(scene, client)))
        record.touch()
        found = {
            "BINDERY_E2E_SETTING": str(setting), "BINDERY_E2E_RECORD": str(record),
            "DISABLE_PRERELEASE_WARNING": "true",  # the official client's: a line for each function
        }
        code = subprocess.run(command, env={**os.environ, **found}).returncode
        noted: dict[str, set[str]] = {"passed": set(), "failed": set(), "secret": set()}
        for line in record.read_text().splitlines():
            for what, value in json.loads(line).items():
                noted[what].add(value)
        assert noted["secret"], "the suite told of no secret that it saw"
        for secret in noted["secret"]:
            scene.server.saw(secret)
        scene.server.stop_and_look_for_secrets()
    if coverage := os.environ.get("BINDERY_E2E_COVERAGE"):
        covered = sorted(noted["passed"] - noted["failed"])
        Path(coverage, f"{client}.json").write_text(json.dumps(covered, indent=0))
    return code


def setting_of(scene: Scene, client: str) -> dict[str, object]:
    return {
        "url": scene.server.url,
        "keys": scene.keys,
        "names": scene.names,
        "scenarios": [
            {
                "name": str(one), "operation": one.operation, "caller": one.caller, "status": one.status,
                "arguments": one.resolve(scene.names),
            }
            for one in for_client(client) if one.status or one.is_pages
        ],
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
