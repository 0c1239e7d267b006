"""A real `bindery` with a company, created over HTTP, for the cases."""

from __future__ import annotations

import os
import re
import secrets
import signal
import string
import subprocess
from pathlib import Path
from typing import Any

import requests

LETTERS = string.ascii_letters + string.digits
ORGANIZATIONS = 30
PEOPLE = 30


class Server:
    """One store, served or not."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.binary = binary
        self.store = ["--data-dir", str(directory / "data")]
        self.log = directory / "server.log"
        self.admin_key = "ak-" + "".join(secrets.choice(LETTERS) for _ in range(40))
        self.process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", *self.store, "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "BINDERY_ADMIN_KEY": self.admin_key},
            )
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on (http://\S+)\n", line)
        assert found, f"not the one line that was promised: {line!r}; {self.log.read_text()}"
        self.address = found[1]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0, self.log.read_text()

    def issue_key(self, email: str) -> str:
        done = subprocess.run(
            [self.binary, "key", "issue", *self.store, "--email", email],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout.strip()


class World:
    """The content of the account: ids by their `format` in the document."""

    def __init__(self, server: Server) -> None:
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {server.admin_key}"
        self.address = server.address
        self.ids: dict[str, list[str]] = {}
        # The members of an organization, by its id and those of its spaces.
        self.members: dict[str, list[str]] = {}

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.session.request(method, self.address + path, json=body, timeout=20)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def make(self, kind: str, path: str, body: dict[str, Any]) -> str:
        made = self.send("POST", path, body)["id"]
        self.ids.setdefault(kind, []).append(made)
        return made

    def people(self) -> None:
        roles = ["MEMBER", "MEMBER", "MEMBER", "ADMIN", "ANNOTATOR", "MEMBER_UI_ONLY"]
        for number in range(PEOPLE):
            self.make(
                "user-id",
                "/v2/users",
                {
                    "name": f"Person {number}",
                    "email": f"person{number}@example.com",
                    "role": {"type": "PREDEFINED", "name": roles[number % len(roles)]},
                    "invite_mode": "NONE",
                },
            )

    def roles(self) -> None:
        self.ids["role-id"] = [role["id"] for role in self.send("GET", "/v2/roles")["roles"]]
        for number in range(20):
            permissions = ["PROJECT_READ", "PROJECT_UPDATE", "ROLE_BINDING_READ"]
            if number % 2:
                permissions += ["ROLE_BINDING_CREATE", "ROLE_BINDING_DELETE", "PROJECT_CREATE"]
            self.make("role-id", "/v2/roles", {"name": f"Role {number}", "permissions": permissions})

    def places(self) -> None:
        for number in range(ORGANIZATIONS):
            organization = self.make(
                "organization-id", "/v2/organizations", {"name": f"Organization {number}"}
            )
            spaces = [
                self.make(
                    "space-id",
                    "/v2/spaces",
                    {"name": name, "organization_id": organization, "is_private": name == "private"},
                )
                for name in ("open", "private")
            ]
            for space in spaces:
                for name in ("one", "two"):
                    self.make("project-id", "/v2/projects", {"name": name, "space_id": space})
            self.seats(number, organization, spaces)
            self.keys(number, organization, spaces)

    def seats(self, number: int, organization: str, spaces: list[str]) -> None:
        people = self.ids["user-id"]
        members = [people[0], people[(number % 4) * 6 + 6], people[(number % 4) * 6 + 7]]
        self.members |= dict.fromkeys([organization, *spaces], members)
        for place, user in enumerate(members):
            role = {"type": "PREDEFINED", "name": ["MEMBER", "ADMIN", "READ_ONLY"][(number + place) % 3]}
            made = self.send("POST", f"/v2/organizations/{organization}/users", {"user_id": user, "role": role})
            self.ids.setdefault("organization-membership-id", []).append(made["id"])
        role = {"type": "PREDEFINED", "name": ["ADMIN", "MEMBER", "READ_ONLY"][number % 3]}
        made = self.send("POST", f"/v2/spaces/{spaces[1]}/users", {"user_id": people[0], "role": role})
        self.ids.setdefault("space-membership-id", []).append(made["id"])
        for place, user in enumerate(members):
            project = self.ids["project-id"][-1 - place]
            self.make(
                "role-binding-id",
                "/v2/role-bindings",
                {
                    "role_id": self.ids["role-id"][-1 - number % 20],
                    "user_id": user,
                    "resource_type": "PROJECT",
                    "resource_id": project,
                },
            )
        if number % 3 == 0:
            self.send("POST", "/v2/resource-restrictions", {"resource_id": self.ids["project-id"][-1]})

    def keys(self, number: int, organization: str, spaces: list[str]) -> None:
        self.make("api-key-id", "/v2/api-keys", {"key_type": "USER", "name": f"user key {number}"})
        self.make(
            "api-key-id",
            "/v2/api-keys",
            {
                "key_type": "SERVICE",
                "name": f"service key {number}",
                "expires_at": "2100-01-01T00:00:00Z" if number % 2 else None,
                "organizations": [{"org_id": organization, "spaces": [{"space_id": spaces[0]}]}],
            },
        )


def own_ids(address: str, key: str) -> list[str]:
    """The user of a key, and their keys, which the run needs."""
    headers = {"Authorization": f"Bearer {key}"}
    keys = requests.get(f"{address}/v2/api-keys?limit=100", headers=headers, timeout=20).json()["api_keys"]
    own = [one["id"] for one in keys if one["name"] in ("first admin key", "issued by the operator")]
    return own + [one["created_by_user_id"] for one in keys if one["id"] in own]
