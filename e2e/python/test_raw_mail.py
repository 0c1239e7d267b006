"""Invitations and password resets by e-mail, through a real SMTP server that the test starts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bindery_server import Server
from wire import Answer, Wire

PASSWORD = "correct horse battery"
CLIENT = "raw"
PUBLIC_URL = "https://bindery.acme.example"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(os.environ["BINDERY_BIN"], Path(tmp_path_factory.mktemp("office")))
    server.arguments = ["--mail-from", "Keeper <keeper@acme.example>", "--public-url", f"{PUBLIC_URL}/"]
    server.saw(PASSWORD)
    server.start()
    yield server
    server.stop_and_look_for_secrets()


def link_for(office: Server, name: str, subject: str, count: int = 1) -> tuple[str, str]:
    """The purpose and token of the link in the last of this many e-mails to a person."""
    letter = office.mailbox.wait_for(f"{name}@acme.example", count)[-1]
    assert letter.message["From"] == "Keeper <keeper@acme.example>" and subject in letter.message["Subject"]
    assert f"{PUBLIC_URL}/welcome#" in letter.message.get_content()
    (link,) = letter.links
    return link


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


def test_the_link_of_an_invitation_lets_a_person_in_once(office: Server) -> None:
    user = invite(office, "ada")
    assert user["status"] == "INVITED" and "temporary_password" not in user
    purpose, token = link_for(office, "ada", "invited")
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


def test_sending_an_invitation_again_replaces_its_link(office: Server) -> None:
    user = invite(office, "bob")
    _, first = link_for(office, "bob", "invited")
    assert post(office, f"/v2/users/{user['id']}/resend-invitation", key=office.admin_key).status == 204
    _, second = link_for(office, "bob", "invited", 2)
    paths = [f"/bindery/v1/invitations/{office.saw(token)}" for token in (first, second)]
    assert [post(office, path, {"password": PASSWORD}).status for path in paths] == [404, 200]


def test_a_reset_changes_the_password_and_leaves_the_old_one_good_until_then(office: Server) -> None:
    user = invite(office, "cleo", "TEMPORARY_PASSWORD")
    temporary = office.saw(user["temporary_password"])
    sign_in = {"email": "cleo@acme.example", "password": temporary, "new_password": PASSWORD}
    office.saw(post(office, "/bindery/v1/sign-in", sign_in).json()["api_key"]["key"])
    assert post(office, f"/v2/users/{user['id']}/reset-password", key=office.admin_key).status == 204
    purpose, token = link_for(office, "cleo", "new password")
    assert purpose == "password-reset"
    old = {"email": "cleo@acme.example", "password": PASSWORD}
    before = post(office, "/bindery/v1/sign-in", old)
    assert before.status == 200
    inside = Wire(office, office.saw(before.json()["api_key"]["key"]))
    assert inside.call("list_users").status == 200
    path = f"/bindery/v1/password-resets/{office.saw(token)}"
    new = {"password": office.saw("another horse battery")}
    changed = post(office, path, new)
    assert changed.status == 200
    assert changed.json() == {"living_keys": {"user_keys": 0, "service_keys": 0}}
    assert post(office, path, new).status == 404, "the link is used up"
    assert inside.call("list_users").status == 401, "and who came in with the old password is out"
    assert post(office, "/bindery/v1/sign-in", old).status == 401
    after = post(office, "/bindery/v1/sign-in", old | new)
    assert after.status == 200
    office.saw(after.json()["api_key"]["key"])


def test_a_refused_letter_is_no_failure_of_the_request_and_its_link_stays_out_of_the_log(office: Server) -> None:
    # The mail server repeats the token in its refusal; the fixture looks for every token in the log.
    assert invite(office, "refused")["status"] == "INVITED"
    assert office.mailbox.wait_for("refused@acme.example")[0].links
