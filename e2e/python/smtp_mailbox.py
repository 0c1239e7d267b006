"""A mail server that keeps what it is sent: just enough SMTP for one sender on this machine."""

from __future__ import annotations

import email
import re
import socketserver
import threading


class Mailbox(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.letters: list[tuple[str, str]] = []
        self.arrived = threading.Condition()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"

    def keep(self, address: str, content: bytes) -> None:
        text = email.message_from_bytes(content).get_payload(decode=True).decode()
        with self.arrived:
            self.letters.append((address, text))
            self.arrived.notify_all()

    def tokens(self) -> list[str]:
        """The secret part of every link that was sent."""
        with self.arrived:
            return [found for _, text in self.letters for found in links(text)]

    def wait_for(self, address: str, count: int = 1) -> list[str]:
        """The tokens that went to an address, once there are so many."""

        def sent() -> list[str]:
            return [found for to, text in self.letters if to.lower() == address.lower() for found in links(text)]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(sent()) >= count, timeout=30), f"no letter for {address}"
            return sent()


def links(text: str) -> list[str]:
    return re.findall(r"/welcome#[a-z-]+=(\S+)", text)


class Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        address = ""
        self.say("220 ready")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"RCPT":
                address = re.search(rb"<(.*?)>", line)[1].decode()
            if word == b"DATA":
                self.say("354 go on")
                self.server.keep(address, self.content())
            self.say("221 bye" if word == b"QUIT" else "250 fine")
            if word == b"QUIT":
                return

    def content(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())
