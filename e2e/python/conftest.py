"""A real `bindery` on a directory of its own, and official clients pointed at it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import string
import subprocess
from pathlib import Path

import pytest
from arize import ArizeClient

LETTERS = string.ascii_letters + string.digits


def new_key() -> str:
    return "ak-" + "".join(secrets.choice(LETTERS) for _ in range(40))


class Server:
    """One data directory, served or not."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.binary = binary
        self.directory = directory
        self.admin_key = new_key()
        self.keys_seen = {self.admin_key}
        self.log = directory / "server.log"
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [self.binary, *words], capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--data-dir", str(self.data), "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "BINDERY_ADMIN_KEY": self.admin_key, "RUST_LOG": "debug"},
            )
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)
        assert found, f"not the one line that was promised: {line!r}; {self.log.read_text()}"
        self.port = int(found[1])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=30)
        assert (self.process.returncode, rest) == (0, ""), self.log.read_text()

    def client(self, key: str) -> ArizeClient:
        self.keys_seen.add(key)
        return ArizeClient(
            api_key=key, single_host="127.0.0.1", single_port=self.port, api_scheme="http"
        )


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory):
    server = Server(os.environ["BINDERY_BIN"], tmp_path_factory.mktemp("bindery"))
    server.start()
    server.stop()
    told = server.command(
        "account", "create", "--data-dir", str(server.data), "--name", "other company"
    )
    server.other_key = re.search(r"ak-\w+", told)[0]
    server.keys_seen.add(server.other_key)
    server.start()
    yield server
    server.stop()
    for path in server.directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for key in server.keys_seen:
                assert key.encode() not in content, f"a key stands in {path.name}"


@pytest.fixture(scope="session")
def admin(server: Server) -> ArizeClient:
    return server.client(server.admin_key)
