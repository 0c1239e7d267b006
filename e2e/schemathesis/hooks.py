"""What the document can't say: which ids exist, and which ones the run itself needs."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import schemathesis
from hypothesis import strategies as st
from schemathesis.core import NotSet

WORLD: dict[str, Any] = json.loads(Path(os.environ["BINDERY_WORLD"]).read_text())
IDS: dict[str, list[str]] = WORLD["ids"]
TRANSCRIPT = Path(os.environ["BINDERY_TRANSCRIPT"])
# The run's own user and keys: read at will, never changed.
OWN = {text.rstrip("=") for text in WORLD["own"]}
# Members of an organization, who may become members of its spaces.
MEMBERS: dict[str, list[str]] = {place.rstrip("="): users for place, users in WORLD["members"].items()}
# The first third of everything is never deleted, so that something exists until the end.
KEPT = {text.rstrip("=") for texts in IDS.values() for text in texts[: len(texts) // 3]}

TAGS = {
    "user-id": "User",
    "role-id": "Role",
    "role-binding-id": "RoleBinding",
    "space-id": "Space",
    "project-id": "Model",
    "organization-id": "Organization",
    "api-key-id": "ApiKey",
    "organization-membership-id": "AccountOrganizationMember",
    "space-membership-id": "SpaceMember",
    "audit-log-id": "AuditLog",
}
CHECK = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", min_size=4, max_size=4)


def made_up(tag: str, number: int, check: str) -> str:
    return base64.b64encode(f"{tag}:{number}:{check}".encode()).decode()


def ids(kind: str) -> st.SearchStrategy[str]:
    """Ids of a kind: three of four exist, the others are well-formed and unknown."""
    nobodys = st.builds(made_up, st.just(TAGS[kind]), st.integers(0, 2**33), CHECK)
    if kind not in IDS:
        return nobodys
    real = st.sampled_from(IDS[kind])
    return st.one_of(real, real, real, nobodys)


for kind in TAGS:
    schemathesis.openapi.format(kind, ids(kind))

# The token of a link in an e-mail: well-formed, and unknown.
schemathesis.openapi.format("link-token", st.text("0123456789abcdefXYZ", min_size=40, max_size=40))
# Any text; its format in the document is only a hint.
schemathesis.openapi.format("opaque", st.text(max_size=40))
# No token of a search can be made up: each is bound to its caller and request.
schemathesis.openapi.format("search-token", st.text(max_size=40))
# No cursor can be made up: each is bound to its list and filters. Valid ones come from responses.
schemathesis.openapi.format("cursor", st.text(max_size=40))


# The cursors from responses, by list and filters.
CURSORS: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}


def bare(text: Any) -> str:
    """An id without percent-encoding and padding, for comparisons."""
    return unquote(text).rstrip("=") if isinstance(text, str) else ""


def draw_from(text: str) -> int:
    """A number that always comes out the same for the same text. Of an id, its check is left out: it differs from one world to
    the next, and two runs shall send the same cases."""
    decoded = plain(text)
    tag, _, rest = decoded.partition(":")
    steady = decoded.rpartition(":")[0] if tag in TAGS.values() and rest else text
    return zlib.crc32(steady.encode())


def losable(kind: str, text: str) -> str:
    """An id of that kind from the part of the world that may be lost; always the same one for the same text."""
    texts = IDS[kind][len(IDS[kind]) // 3 :]
    return texts[draw_from(text) % len(texts)]


def plain(text: Any) -> str:
    """The decoded id, or nothing."""
    try:
        return base64.b64decode(bare(text) + "==").decode()
    except (ValueError, UnicodeDecodeError):
        return ""


def tag_of(text: Any) -> str:
    """The thing that an id names, or nothing."""
    return plain(text).split(":")[0]


def is_positive(case: Any) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def listed(case: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    filters = [(name, str(value)) for name, value in (case.query or {}).items() if name not in ("limit", "cursor")]
    return case.path, tuple(sorted(filters))


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Names are trimmed before they are measured. The document's `maxLength` can't say so, and is on the safe side: a name that
    is too long by its white space alone breaks the document, and is good."""
    name = case.body.get("name") if isinstance(case.body, dict) else None
    return not isinstance(name, str) or len(name) <= 255 or len(name.strip()) > 255


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    guard(case)
    if is_positive(case):
        mend_path(case)
        mend_query(case)
        mend_body(case)
    write_down(case)


def write_down(case: Any) -> None:
    """One line per case, ids without their checks, to compare two runs."""
    sent = [operation_id(case), case.method, steady(case.path_parameters), steady(case.query), steady(case.body)]
    with TRANSCRIPT.open("a") as transcript:
        transcript.write(repr(sent) + "\n")


def steady(value: Any) -> Any:
    """The same without what differs from one world to the next."""
    if isinstance(value, dict):
        return {str(name): "..." if name == "cursor" else steady(member) for name, member in value.items()}
    if isinstance(value, list):
        return [steady(item) for item in value]
    if tag_of(value) in TAGS.values():
        return plain(value).rpartition(":")[0]
    return "nothing" if isinstance(value, NotSet) else str(value)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    if case.method.upper() == "GET" and response.status_code == 200:
        cursor = response.json().get("pagination", {}).get("next_cursor")
        if cursor:
            CURSORS[listed(case)] = cursor


# Operations that delete something permanently.
DESTROYS = {
    "delete_user",
    "delete_organization",
    "delete_space",
    "delete_project",
    "delete_role",
    "revoke_api_key",
}


def operation_id(case: Any) -> str:
    return case.operation.definition.raw["operationId"]


def guard(case: Any) -> None:
    """Keeps the run working: its own user and keys stay unchanged, and so does a part of the company."""
    if case.method.upper() == "GET":
        return
    destroys = operation_id(case) in DESTROYS
    for name, kind in formats(case).items():
        value = bare(case.path_parameters.get(name))
        if value in OWN or (destroys and value in KEPT):
            case.path_parameters[name] = losable(kind, value)


def formats(case: Any) -> dict[str, str]:
    """The kind of id that each parameter of the path takes."""
    parameters = case.operation.definition.raw.get("parameters", [])
    found = {one["name"]: one["schema"]["format"] for one in parameters if one["in"] == "path"}
    return {name: kind for name, kind in found.items() if kind in TAGS}


def mend_path(case: Any) -> None:
    """Schemathesis takes any `id` of an answer for the `org_id` of the next path; the format says what it has to be."""
    for name, kind in formats(case).items():
        if tag_of(case.path_parameters.get(name)) != TAGS[kind]:
            case.path_parameters[name] = losable(kind, str(case.path_parameters.get(name)))
    meet_member(case, case.path_parameters)


def meet_member(case: Any, holder: Any) -> None:
    """Two of three users can be members of the place: few pairs are."""
    place = case.path_parameters.get("org_id") or case.path_parameters.get("space_id")
    members = MEMBERS.get(bare(place), [])
    user = holder.get("user_id") if isinstance(holder, dict) else None
    if members and isinstance(user, str) and bare(user) not in OWN:
        draw = draw_from(user)
        if draw % 3:
            holder["user_id"] = members[draw % len(members)]


def mend_query(case: Any) -> None:
    query = case.query or {}
    case.query = query = whole(query)
    if "cursor" in query:
        # No cursor can be made up, and none is good with other filters.
        cursor = CURSORS.get(listed(case))
        if cursor:
            query["cursor"] = cursor
        else:
            del query["cursor"]
    if "start_time" in query:
        # The schema can't say that one must not be later than the other.
        query.pop("end_time", None)
    if query.get("key_type") == "USER":
        # User keys belong to no space; the schema can't say that the two exclude each other.
        query.pop("space_id", None)


def mend_body(case: Any) -> None:
    if not isinstance(case.body, dict):
        return
    case.body = body = whole(case.body)
    mend_question(body)
    if isinstance(body.get("page"), dict):
        # Bound to the caller and exactly this request.
        body["page"].pop("token", None)
    meet_member(case, body)
    if "resource_type" in body and "resource_id" in body:
        # One names the kind of the other.
        body["resource_type"] = "SPACE" if tag_of(body["resource_id"]) == "Space" else "PROJECT"
    if "organizations" in body:
        # Each place at most once; `uniqueItems` would compare whole items, roles included.
        body["organizations"] = once(body["organizations"], "org_id")
        for organization in body["organizations"]:
            organization["spaces"] = once(organization["spaces"], "space_id")


SUBJECTS = [("user", "user-id"), ("user", "user-id"), ("service_key", "api-key-id")]
RESOURCES = [("project", "project-id"), ("space", "space-id"), ("organization", "organization-id"), ("project", "project-id")]
ACTIONS = ["PROJECT_READ", "SPACE_READ", "ORGANIZATION_READ", "USER_READ", "ROLE_BINDING_READ"]


def mend_question(body: dict[str, Any]) -> None:
    """Three of four AuthZEN questions are about existing things; generated texts mean nothing."""
    for member, kinds in (("subject", SUBJECTS), ("resource", RESOURCES)):
        entity = body.get(member)
        if isinstance(entity, dict) and isinstance(entity.get("type"), str):
            draw = draw_from(entity["type"] + str(entity.get("id")))
            if draw % 4:
                entity["type"], kind = kinds[draw % len(kinds)]
                if isinstance(entity.get("id"), str):
                    entity["id"] = IDS[kind][draw % len(IDS[kind])]
    action = body.get("action")
    if isinstance(action, dict) and isinstance(action.get("name"), str):
        draw = draw_from(action["name"])
        if draw % 4:
            action["name"] = ACTIONS[draw % len(ACTIONS)]
    for item in body.get("evaluations") or []:
        if isinstance(item, dict):
            mend_question(item)


def whole(value: Any) -> Any:
    """The same with percent-encoding taken off ids: Schemathesis hands on from paths as it stands there."""
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return unquote(value) if isinstance(value, str) and tag_of(value) in TAGS.values() else value


def once(places: list[dict[str, Any]], member: str) -> list[dict[str, Any]]:
    return list({bare(place[member]): place for place in places}.values())
