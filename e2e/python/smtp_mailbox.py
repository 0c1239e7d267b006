"""A real SMTP server that keeps the e-mails that it receives."""

from __future__ import annotations

import email
import email.policy
import re
import socket
import threading
from email.message import EmailMessage
from typing import NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Letter(NamedTuple):
    to: str
    message: EmailMessage

    @property
    def links(self) -> list[tuple[str, str]]:
        """The purpose and token of each link in it."""
        return re.findall(r"/welcome#([a-z-]+)=(\w+)", self.message.get_content())


class Mailbox:
    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.arrived = threading.Condition()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        letter = Letter(envelope.rcpt_tos[0], message)
        with self.arrived:
            self.letters.append(letter)
            self.arrived.notify_all()
        if letter.to.startswith("refused@"):
            return f"550 no such mailbox: {letter.links}"
        return "250 OK"

    def stop(self) -> list[str]:
        """The token of every link that was sent."""
        self.controller.stop()
        return [token for letter in self.letters for _, token in letter.links]

    def wait_for(self, address: str, count: int = 1) -> list[Letter]:
        """Waits for this many e-mails to an address, and returns them."""

        def sent() -> list[Letter]:
            return [letter for letter in self.letters if letter.to == address]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(sent()) >= count, timeout=120), f"no letter for {address}"
            return sent()
