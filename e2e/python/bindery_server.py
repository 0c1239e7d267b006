"""A real `bindery` on its own store, and a check that no secret of a run is left in it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import string
import subprocess
from pathlib import Path

from bindery_store import new_store
from smtp_mailbox import Mailbox

LETTERS = string.ascii_letters + string.digits


def new_key() -> str:
    """A new well-formed key."""
    return "ak-" + "".join(secrets.choice(LETTERS) for _ in range(40))


class Server:
    """One store, served or not."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.binary = binary
        self.directory = directory
        self.store = new_store(directory)
        self.admin_key = new_key()
        self.secrets = {self.admin_key}
        self.mailbox = Mailbox()
        self.log = directory / "server.log"
        self.process: subprocess.Popen[str] | None = None
        self.port = 0
        self.arguments: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def saw(self, secret: str) -> str:
        """Remembers a secret that was shown to a client, for `stop_and_look_for_secrets`."""
        assert len(secret) >= 8, "too short to look for"
        self.secrets.add(secret)
        return secret

    def key_from(self, *words: str) -> str:
        """The key that an operator's command prints; the server is stopped meanwhile."""
        done = subprocess.run(
            [self.binary, *words[:2], *self.store.arguments, *words[2:]],
            capture_output=True, text=True, timeout=120, check=True,
        )
        return self.saw(re.search(r"ak-\w+", done.stdout)[0])

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    self.binary, "serve", *self.store.arguments, "--listen", "127.0.0.1:0",
                    "--smtp-url", self.mailbox.url, *self.arguments,
                ],
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
        rest, _ = self.process.communicate(timeout=120)
        assert (self.process.returncode, rest) == (0, ""), self.log.read_text()

    def stop_and_look_for_secrets(self) -> None:
        """Searches store and log for every secret of the run; none may be there."""
        self.stop()  # with the last letters sent
        self.secrets.update(self.mailbox.stop())
        contents = self.store.contents()
        assert contents, "there is something to look into"
        for name, content in {**contents, self.log.name: self.log.read_bytes()}.items():
            for secret in self.secrets:
                assert secret.encode() not in content, f"a secret is in {name}"
