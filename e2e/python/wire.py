"""The 44 operations on the wire, and a minimal client for them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import quote, urlencode


class Operation(NamedTuple):
    method: str
    path: str
    success: int


OPERATIONS = {
    "list_role_bindings": Operation("GET", "/v2/role-bindings", 200),
    "create_role_binding": Operation("POST", "/v2/role-bindings", 201),
    "get_role_binding": Operation("GET", "/v2/role-bindings/{binding_id}", 200),
    "update_role_binding": Operation("PATCH", "/v2/role-bindings/{binding_id}", 200),
    "delete_role_binding": Operation("DELETE", "/v2/role-bindings/{binding_id}", 204),
    "list_roles": Operation("GET", "/v2/roles", 200),
    "create_role": Operation("POST", "/v2/roles", 201),
    "get_role": Operation("GET", "/v2/roles/{role_id}", 200),
    "update_role": Operation("PATCH", "/v2/roles/{role_id}", 200),
    "delete_role": Operation("DELETE", "/v2/roles/{role_id}", 204),
    "list_resource_restrictions": Operation("GET", "/v2/resource-restrictions", 200),
    "create_resource_restriction": Operation("POST", "/v2/resource-restrictions", 200),
    "delete_resource_restriction": Operation("DELETE", "/v2/resource-restrictions/{resource_id}", 204),
    "list_users": Operation("GET", "/v2/users", 200),
    "create_user": Operation("POST", "/v2/users", 201),
    "get_user": Operation("GET", "/v2/users/{user_id}", 200),
    "update_user": Operation("PATCH", "/v2/users/{user_id}", 200),
    "delete_user": Operation("DELETE", "/v2/users/{user_id}", 204),
    "resend_user_invitation": Operation("POST", "/v2/users/{user_id}/resend-invitation", 204),
    "reset_user_password": Operation("POST", "/v2/users/{user_id}/reset-password", 204),
    "list_organizations": Operation("GET", "/v2/organizations", 200),
    "create_organization": Operation("POST", "/v2/organizations", 201),
    "get_organization": Operation("GET", "/v2/organizations/{org_id}", 200),
    "update_organization": Operation("PATCH", "/v2/organizations/{org_id}", 200),
    "delete_organization": Operation("DELETE", "/v2/organizations/{org_id}", 204),
    "add_organization_user": Operation("POST", "/v2/organizations/{org_id}/users", 200),
    "remove_organization_user": Operation("DELETE", "/v2/organizations/{org_id}/users/{user_id}", 204),
    "list_spaces": Operation("GET", "/v2/spaces", 200),
    "create_space": Operation("POST", "/v2/spaces", 201),
    "get_space": Operation("GET", "/v2/spaces/{space_id}", 200),
    "update_space": Operation("PATCH", "/v2/spaces/{space_id}", 200),
    "delete_space": Operation("DELETE", "/v2/spaces/{space_id}", 204),
    "add_space_user": Operation("POST", "/v2/spaces/{space_id}/users", 200),
    "remove_space_user": Operation("DELETE", "/v2/spaces/{space_id}/users/{user_id}", 204),
    "list_projects": Operation("GET", "/v2/projects", 200),
    "create_project": Operation("POST", "/v2/projects", 201),
    "get_project": Operation("GET", "/v2/projects/{project_id}", 200),
    "update_project": Operation("PATCH", "/v2/projects/{project_id}", 200),
    "delete_project": Operation("DELETE", "/v2/projects/{project_id}", 204),
    "list_api_keys": Operation("GET", "/v2/api-keys", 200),
    "create_api_key": Operation("POST", "/v2/api-keys", 201),
    "refresh_api_key": Operation("POST", "/v2/api-keys/{api_key_id}/refresh", 200),
    "revoke_api_key": Operation("PUT", "/v2/api-keys/{api_key_id}/revoke", 204),
    "list_audit_logs": Operation("GET", "/v2/audit-logs", 200),
}

# The member of a list's body that holds the entries.
PLURALS = {
    operation: "logs" if operation == "list_audit_logs" else operation.removeprefix("list_")
    for operation in OPERATIONS if operation.startswith("list_")
}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")


class Wire:
    """One caller with its own connections."""

    def __init__(self, server, key: str | None) -> None:
        self.server = server
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def send(self, method: str, path: str, body: bytes | None = None, headers=None) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        try:
            try:
                connection.request(method, path, body, self.headers | (headers or {}))
            except BrokenPipeError:
                pass  # the server has heard enough; its answer is there to read
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, names, response.read())
        finally:
            connection.close()
        if answer.content_type == "application/json" and answer.status < 300:
            made = answer.json()
            for member in ("key", "temporary_password"):
                if member in made:
                    self.server.saw(made[member])
        return answer

    def call(self, operation: str, /, **arguments) -> Answer:
        """Each argument goes where the operation wants it: into the path, else the query or the body."""
        method, path, _ = OPERATIONS[operation]
        for name in list(arguments):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", quote(arguments.pop(name), safe=""))
        if method == "GET":
            query = urlencode(arguments, doseq=True)
            return self.send(method, f"{path}?{query}" if query else path)
        if not arguments and method != "POST":
            return self.send(method, path)
        body = json.dumps(arguments).encode()
        return self.send(method, path, body, {"Content-Type": "application/json"})

    def ok(self, operation: str, /, **arguments):
        """The result of a call that must succeed."""
        answer = self.call(operation, **arguments)
        assert answer.status == OPERATIONS[operation].success, (operation, arguments, answer)
        return answer.json() if answer.body else None


def identifier(kind: str, number: int, check: str = "aaaa") -> str:
    """A well-formed id with a check that makes it unknown."""
    return base64.b64encode(f"{kind}:{number}:{check}".encode()).decode()


def predefined(name: str) -> dict[str, str]:
    return {"type": "PREDEFINED", "name": name}


def custom(role_id: str) -> dict[str, str]:
    return {"type": "CUSTOM", "id": role_id}
