"""Invitations and password resets by mail, through a real SMTP server that the test starts."""

from __future__ import annotations

import email
import email.policy
import json
import os
import queue
import re
import socket
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from bindery_server import Server
from wire import Answer, Wire

PASSWORD = "correct horse battery"


class Postbox:
    """An SMTP server that keeps what it is handed."""

    def __init__(self) -> None:
        self.letters: queue.Queue[Envelope] = queue.Queue()
        self.tokens: list[str] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.tokens += [token for _, token in links(envelope)]
        if "refused@acme.example" in envelope.rcpt_tos:
            return f"550 no such mailbox: {self.tokens[-1]}"
        self.letters.put(envelope)
        return "250 OK"

    def next_link(self, to: str, subject: str) -> tuple[str, str]:
        """What the link in the next letter is for, and its token."""
        envelope = self.letters.get(timeout=20)
        assert envelope.rcpt_tos == [to]
        letter = read(envelope)
        assert letter["From"] == "Keeper <keeper@acme.example>" and subject in letter["Subject"]
        (link,) = links(envelope)
        return link


def read(envelope: Envelope) -> EmailMessage:
    return email.message_from_bytes(envelope.content, policy=email.policy.default)


def links(envelope: Envelope) -> list[tuple[str, str]]:
    return re.findall(r"https://bindery\.acme\.example/welcome#([a-z-]+)=(\w+)", read(envelope).get_content())


@pytest.fixture(scope="module")
def postbox() -> Iterator[Postbox]:
    postbox = Postbox()
    postbox.controller.start()
    yield postbox
    postbox.controller.stop()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, postbox: Postbox) -> Iterator[Server]:
    server = Server(os.environ["BINDERY_BIN"], Path(tmp_path_factory.mktemp("office")))
    server.arguments = [
        "--smtp-url", f"smtp://127.0.0.1:{postbox.port}",
        "--mail-from", "Keeper <keeper@acme.example>",
        "--public-url", "https://bindery.acme.example/",
    ]
    server.saw(PASSWORD)
    server.start()
    yield server
    assert postbox.tokens
    for token in postbox.tokens:
        server.saw(token)
    server.stop_and_look_for_secrets()


def post(server: Server, path: str, body: object = None, key: str | None = None) -> Answer:
    content = json.dumps(body).encode() if body is not None else None
    return Wire(server, key).send("POST", path, content, {"Content-Type": "application/json"})


def invite(server: Server, name: str, mode: str = "EMAIL_LINK") -> dict:
    body = {
        "name": name, "email": f"{name}@acme.example", "invite_mode": mode,
        "role": {"type": "PREDEFINED", "name": "MEMBER"},
    }
    answer = post(server, "/v2/users", body, server.admin_key)
    assert answer.status == 201, answer
    return answer.json()


def test_the_link_of_an_invitation_lets_a_person_in_once(office: Server, postbox: Postbox) -> None:
    user = invite(office, "ada")
    assert user["status"] == "INVITED" and "temporary_password" not in user
    purpose, token = postbox.next_link("ada@acme.example", "invited")
    assert purpose == "invitation"
    path = f"/bindery/v1/invitations/{office.saw(token)}"
    assert post(office, path, {"password": "short"}).status == 400
    assert post(office, f"/bindery/v1/password-resets/{token}", {"password": PASSWORD}).status == 404
    accepted = post(office, path, {"password": PASSWORD})
    assert accepted.status == 200, accepted
    assert accepted.json()["user"]["status"] == "ACTIVE"
    key = office.saw(accepted.json()["api_key"]["key"])
    assert Wire(office, key).call("list_users").status == 200
    assert post(office, path, {"password": PASSWORD}).status == 404, "the link is used up"
    again = post(office, "/bindery/v1/sign-in", {"email": "Ada@acme.example", "password": PASSWORD})
    assert again.status == 200
    office.saw(again.json()["api_key"]["key"])


def test_sending_an_invitation_again_replaces_its_link(office: Server, postbox: Postbox) -> None:
    user = invite(office, "bob")
    _, first = postbox.next_link("bob@acme.example", "invited")
    assert post(office, f"/v2/users/{user['id']}/resend-invitation", key=office.admin_key).status == 204
    _, second = postbox.next_link("bob@acme.example", "invited")
    paths = [f"/bindery/v1/invitations/{office.saw(token)}" for token in (first, second)]
    assert [post(office, path, {"password": PASSWORD}).status for path in paths] == [404, 200]


def test_a_reset_changes_the_password_and_leaves_the_old_one_good_until_then(
    office: Server, postbox: Postbox
) -> None:
    user = invite(office, "cleo", "TEMPORARY_PASSWORD")
    temporary = office.saw(user["temporary_password"])
    sign_in = {"email": "cleo@acme.example", "password": temporary, "new_password": PASSWORD}
    office.saw(post(office, "/bindery/v1/sign-in", sign_in).json()["api_key"]["key"])
    assert post(office, f"/v2/users/{user['id']}/reset-password", key=office.admin_key).status == 204
    purpose, token = postbox.next_link("cleo@acme.example", "new password")
    assert purpose == "password-reset"
    old = {"email": "cleo@acme.example", "password": PASSWORD}
    before = post(office, "/bindery/v1/sign-in", old)
    assert before.status == 200
    office.saw(before.json()["api_key"]["key"])
    path = f"/bindery/v1/password-resets/{office.saw(token)}"
    new = {"password": office.saw("another horse battery")}
    assert post(office, path, new).status == 204
    assert post(office, path, new).status == 404, "the link is used up"
    assert post(office, "/bindery/v1/sign-in", old).status == 401
    after = post(office, "/bindery/v1/sign-in", old | new)
    assert after.status == 200
    office.saw(after.json()["api_key"]["key"])


def test_a_refused_letter_is_no_failure_of_the_request_and_its_link_stays_out_of_the_log(office: Server) -> None:
    # The mail server repeats the token in its refusal; the fixture looks for every token in the log.
    assert invite(office, "refused")["status"] == "INVITED"
