"""Every operation on the wire: exact status, exact members, exact forms."""

from __future__ import annotations

import base64
import re
from datetime import datetime

import pytest

from scenarios import Scenario, for_client
from wire import OPERATIONS, PLURALS, Answer, Wire, custom, predefined

CLIENT = "raw"
ERRORS = "https://arize.com/docs/ax/rest-reference/errors"
TITLES = {
    400: ("#invalid-request", "Invalid request parameters"),
    401: ("#authentication-required", "Authentication required"),
    403: ("#access-forbidden", "Access forbidden"),
    404: ("#resource-not-found", "Resource not found"),
    409: ("#resource-conflict", "Resource conflict"),
    422: ("#unprocessable-entity", "Unprocessable Entity"),
}


def check_problem(answer: Answer, status: int, kind: str | None = None) -> dict[str, object]:
    problem = answer.json()
    assert answer.status == status == problem["status"], problem
    assert answer.content_type == "application/problem+json"
    assert set(problem) == {"status", "title", "type", "detail", "instance", "request_id"}
    if kind is None:
        suffix, title = TITLES[status]
        assert (problem["type"], problem["title"]) == (ERRORS + suffix, title)
    else:
        assert problem["type"] == kind and problem["title"]
    assert problem["detail"] and problem["instance"].startswith("/v2/") and "?" not in problem["instance"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)
    return problem


def id_of(*kinds: str):
    def check(value) -> bool:
        kind, number, suffix = base64.b64decode(value, validate=True).decode().split(":")
        return kind in kinds and number.isdigit() and re.fullmatch(r"[0-9A-Za-z]{4}", suffix) is not None

    return check


def moment(value) -> bool:
    in_utc = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", value)
    return in_utc is not None and datetime.fromisoformat(value) is not None


def one_of(*values: str):
    return lambda value: value in values


def text(value) -> bool:
    return isinstance(value, str)


def flag(value) -> bool:
    return isinstance(value, bool)


def many(shape):
    return lambda value: isinstance(value, list) and all(check_shape(shape, one) for one in value)


def nested(shape):
    return lambda value: check_shape(shape, value)


def assignment(*names: str):
    def check(value) -> bool:
        if value.get("type") == "PREDEFINED":
            return set(value) == {"type", "name"} and value["name"] in names
        return set(value) == {"type", "id", "name"} and value["type"] == "CUSTOM" and id_of("Role")(value["id"])

    return check


def check_shape(shape, value) -> bool:
    """Checks that the members are exactly those of the shape; `name?` is optional. Returns what is wrong."""
    required = {name for name in shape if not name.endswith("?")}
    allowed = {name.removesuffix("?") for name in shape}
    assert required <= set(value) <= allowed, f"{sorted(value)} instead of {sorted(shape)}"
    for name, check in shape.items():
        name = name.removesuffix("?")
        assert name not in value or check(value[name]), f"`{name}` is {value[name]!r}"
    return True


IN_PLACE = ("ADMIN", "MEMBER", "READ_ONLY", "ANNOTATOR")
ACCOUNT_ROLE = assignment("ADMIN", "MEMBER", "MEMBER_UI_ONLY", "ANNOTATOR")
ROLE_BINDING = {
    "id": id_of("RoleBinding"), "role_id": id_of("Role"), "user_id": id_of("User"),
    "resource_type": one_of("SPACE", "PROJECT"), "resource_id": id_of("Space", "Model"),
    "created_at": moment, "updated_at": moment,
}
ROLE = {
    "id": id_of("Role"), "name": text, "description?": lambda value: text(value) and value != "",
    "permissions": lambda value: value and value == sorted(set(value)), "is_predefined": flag,
    "created_at": moment, "updated_at": moment,
}
RESTRICTION = {"resource_type": one_of("PROJECT"), "resource_id": id_of("Model"), "created_at": moment}
USER = {
    "id": id_of("User"), "name": text, "email": text, "created_at": moment,
    "status": one_of("ACTIVE", "INVITED", "EXPIRED"), "role": ACCOUNT_ROLE, "is_developer": flag,
}
CREATED_USER = USER | {"invite_mode": one_of("NONE", "EMAIL_LINK", "TEMPORARY_PASSWORD")}
ORGANIZATION = {"id": id_of("Organization"), "name": text, "description": text, "created_at": moment}
ORGANIZATION_MEMBERSHIP = {
    "id": id_of("AccountOrganizationMember"), "user_id": id_of("User"),
    "organization_id": id_of("Organization"), "role": assignment(*IN_PLACE),
}
INTEGRATION = {"integration_id": text, "model_name": text}
SPACE = {
    "id": id_of("Space"), "organization_id": id_of("Organization"), "name": text, "description": text,
    "created_at": moment, "is_private": flag, "ml_models_enabled?": flag, "gradient_start_color?": text,
    "gradient_end_color?": text,
    "default_llm_integration?": lambda value: value is None or check_shape(INTEGRATION, value),
    "default_agent_runtime?": lambda value: value is None or check_shape({"integration_id": text}, value),
}
SPACE_MEMBERSHIP = {
    # A custom role in a space is a binding, and has its id.
    "id": id_of("SpaceMember", "RoleBinding"), "user_id": id_of("User"), "space_id": id_of("Space"),
    "role": assignment(*IN_PLACE),
}
PROJECT = {
    "id": id_of("Model"), "name": text, "space_id": id_of("Space"), "created_at": moment,
    "project_type": one_of("APPLICATION"),
}
API_KEY = {
    "id": id_of("ApiKey"), "name": text, "description?": text, "key_type": one_of("USER", "SERVICE"),
    "status": one_of("ACTIVE", "REVOKED"), "redacted_key": lambda value: re.fullmatch(r"ak-\w{3}\.\.\.\w{3}", value),
    "created_at": moment, "expires_at?": moment, "last_used_at?": moment, "created_by_user_id": id_of("User"),
}
BOT_USER = {
    "id": id_of("User"), "name": text, "account_role": ACCOUNT_ROLE,
    "organizations": many({
        "org_id": id_of("Organization"), "role": assignment(*IN_PLACE),
        "spaces": many({"space_id": id_of("Space"), "role": assignment(*IN_PLACE)}),
    }),
}
SECRET = {"key": lambda value: re.fullmatch(r"ak-[0-9A-Za-z]{32,}", value)}
AUDIT_LOG = {
    "id": id_of("AuditLog"), "user_id": id_of("User"), "ip": one_of("127.0.0.1"),
    "operation_type": one_of("QUERY", "MUTATION"), "created_at": moment,
    "operation_name": one_of(*OPERATIONS), "operation_text": lambda value: value is None or text(value),
    "variables": lambda value: value is None or text(value),
}
LISTED = {
    "list_role_bindings": ROLE_BINDING, "list_roles": ROLE, "list_resource_restrictions": RESTRICTION,
    "list_users": USER, "list_organizations": ORGANIZATION, "list_spaces": SPACE, "list_projects": PROJECT,
    "list_api_keys": API_KEY | {"bot_user?": nested(BOT_USER)}, "list_audit_logs": AUDIT_LOG,
}


def expect(answer: Answer, status: int, shape=None):
    """A complete success: status, content type, members."""
    assert answer.status == status, answer
    assert answer.headers["x-request-id"]
    if shape is None:
        assert status == 204 and answer.body == b"" and answer.content_type is None
        return None
    assert answer.content_type == "application/json"
    check_shape(shape, answer.json())
    return answer.json()


def expect_list(answer: Answer, operation: str) -> dict:
    page_shape = {"has_more": flag, "next_cursor?": text}
    page = expect(answer, 200, {PLURALS[operation]: many(LISTED[operation]), "pagination": nested(page_shape)})
    assert page["pagination"]["has_more"] == ("next_cursor" in page["pagination"])
    return page


def entries(caller, operation: str, **arguments) -> list[dict]:
    return expect_list(caller.call(operation, **arguments), operation)[PLURALS[operation]]


@pytest.mark.parametrize("scenario", [one for one in for_client(CLIENT) if one.is_pages], ids=str)
def test_pages_of_any_size_are_the_whole_list(scene, scenario: Scenario):
    operation, arguments = scenario.operation, scenario.resolve(scene.names)
    whole = expect_list(scene.admin.call(operation, **arguments, limit=100), operation)
    assert not whole["pagination"]["has_more"] and len(whole[PLURALS[operation]]) >= 7
    for limit in (1, 3):
        seen, cursor = [], {}
        while True:
            page = expect_list(scene.admin.call(operation, **arguments, limit=limit, **cursor), operation)
            seen += page[PLURALS[operation]]
            if not page["pagination"]["has_more"]:
                break
            assert len(page[PLURALS[operation]]) == limit
            cursor = {"cursor": page["pagination"]["next_cursor"]}
        assert seen == whole[PLURALS[operation]]
    oldest_first = operation != "list_audit_logs"
    if operation != "list_roles":  # predefined ones come first
        times = [one["created_at"] for one in whole[PLURALS[operation]]]
        assert times == sorted(times, reverse=not oldest_first)


def test_a_cursor_is_only_good_for_the_list_and_the_filters_that_it_came_from(scene):
    page = expect_list(scene.admin.call("list_organizations", name="page", limit=3), "list_organizations")
    cursor = page["pagination"]["next_cursor"]
    for operation, arguments in [
        ("list_organizations", {"name": "pag"}), ("list_organizations", {}), ("list_spaces", {"name": "page"}),
    ]:
        check_problem(scene.admin.call(operation, **arguments, cursor=cursor), 400)
    changed = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
    check_problem(scene.admin.call("list_organizations", name="page", cursor=changed), 400)
    check_problem(scene.caller("stranger").call("list_organizations", name="page", cursor=cursor), 400)


@pytest.mark.covers(*(f"{verb}_role_binding{s}: ok" for verb, s in [
    ("list", "s"), ("create", ""), ("get", ""), ("update", ""), ("delete", ""),
]))
def test_a_role_binding_from_its_making_to_its_end(scene):
    call, names = scene.admin.call, scene.names
    user = scene.new_user("raw bindings")
    made = expect(call(
        "create_role_binding", role_id=names["reader"], user_id=user, resource_type="PROJECT",
        resource_id=names["checkout"],
    ), 201, ROLE_BINDING)
    assert made["created_at"] == made["updated_at"]
    assert (made["role_id"], made["user_id"], made["resource_id"]) == (names["reader"], user, names["checkout"])
    assert expect(call("get_role_binding", binding_id=made["id"]), 200, ROLE_BINDING) == made
    updated = expect(call("update_role_binding", binding_id=made["id"], role_id=names["blind"]), 200, ROLE_BINDING)
    assert updated == made | {"role_id": names["blind"], "updated_at": updated["updated_at"]}
    assert updated["updated_at"] > made["updated_at"]
    assert expect(call("update_role_binding", binding_id=made["id"], role_id=names["blind"]), 200, ROLE_BINDING) == updated
    assert entries(scene.admin, "list_role_bindings", resource_type="PROJECT", user_id=user) == [updated]
    assert entries(scene.admin, "list_role_bindings", resource_type="SPACE", user_id=user) == []
    assert entries(scene.caller("outsider"), "list_role_bindings", resource_type="PROJECT") == []
    expect(call("delete_role_binding", binding_id=made["id"]), 204)
    check_problem(call("delete_role_binding", binding_id=made["id"]), 404)


@pytest.mark.covers("list_roles: ok", "create_role: ok", "get_role: ok", "update_role: ok", "delete_role: ok")
def test_a_role_from_its_making_to_its_end(scene):
    call = scene.admin.call
    made = expect(call(
        "create_role", name="  Raw  ", description="d", permissions=["SPACE_READ", "PROJECT_READ", "SPACE_READ"],
    ), 201, ROLE)
    assert made["name"] == "Raw" and made["permissions"] == ["PROJECT_READ", "SPACE_READ"]
    assert made["description"] == "d" and not made["is_predefined"]
    assert expect(call("get_role", role_id=made["id"]), 200, ROLE) == made
    renamed = expect(call("update_role", role_id=made["id"], name="Raw 2", description=None), 200, ROLE)
    assert "description" not in renamed and renamed["permissions"] == made["permissions"]
    replaced = expect(call("update_role", role_id=made["id"], permissions=["MONITOR_READ"]), 200, ROLE)
    assert replaced["permissions"] == ["MONITOR_READ"] and replaced["updated_at"] > made["updated_at"]
    custom_roles = entries(scene.admin, "list_roles", is_predefined="false")
    assert replaced in custom_roles and not any(role["is_predefined"] for role in custom_roles)
    predefined_roles = entries(scene.admin, "list_roles", is_predefined="true")
    assert [role["name"] for role in predefined_roles] == [
        "Admin", "Member", "Read-only", "Annotator", "Project Viewer", "Project Editor", "Project Admin",
    ] and all(role["is_predefined"] for role in predefined_roles)
    assert entries(scene.admin, "list_roles", limit=100) == predefined_roles + custom_roles
    expect(call("delete_role", role_id=made["id"]), 204)
    check_problem(call("delete_role", role_id=made["id"]), 404)
    expect(call("create_role", name="Raw 2", permissions=["MONITOR_READ"]), 201, ROLE)


@pytest.mark.covers(*(f"{verb}_resource_restriction{s}: ok" for verb, s in [("list", "s"), ("create", ""), ("delete", "")]))
def test_a_restriction_from_its_making_to_its_end(scene):
    call, names = scene.admin.call, scene.names
    made = expect(call("create_resource_restriction", resource_id=names["search"]), 200, RESTRICTION)
    assert expect(call("create_resource_restriction", resource_id=names["search"]), 200, RESTRICTION) == made
    assert made in entries(scene.admin, "list_resource_restrictions", resource_type="PROJECT")
    assert entries(scene.admin, "list_resource_restrictions", resource_type="DASHBOARD") == []
    check_problem(scene.caller("member").call("get_project", project_id=names["search"]), 404)
    expect(call("delete_resource_restriction", resource_id=names["search"]), 204)
    expect(scene.caller("member").call("get_project", project_id=names["search"]), 200, PROJECT)
    check_problem(call("delete_resource_restriction", resource_id=names["search"]), 404)


@pytest.mark.covers("list_users: ok", "create_user: ok", "get_user: ok", "update_user: ok", "delete_user: ok")
def test_a_user_from_the_first_day_to_the_last(scene):
    call, names = scene.admin.call, scene.names
    person = {"name": " Raw User ", "email": "Raw.User@acme.example", "role": predefined("MEMBER")}
    made = expect(call("create_user", **person, invite_mode="NONE"), 201, CREATED_USER)
    assert (made["name"], made["status"], made["is_developer"]) == ("Raw User", "ACTIVE", True)
    user = {name: made[name] for name in USER}
    assert expect(call("get_user", user_id=made["id"]), 200, USER) == user
    assert entries(scene.admin, "list_users", email="raw.USER@") == [user]
    assert user in entries(scene.admin, "list_users", status=["ACTIVE", "INVITED"], limit=100)
    assert entries(scene.admin, "list_users", email="raw.user@", status="EXPIRED") == []
    changed = expect(call("update_user", user_id=made["id"], name="Other", is_developer=False), 200, USER)
    assert changed == user | {"name": "Other", "is_developer": False}
    expect(call("delete_user", user_id=made["id"]), 204)
    expect(call("delete_user", user_id=made["id"]), 204)
    check_problem(call("get_user", user_id=made["id"]), 404)
    assert names["bot"] not in [one["id"] for one in entries(scene.admin, "list_users", limit=100)]


@pytest.mark.covers("create_user: ok pending", "create_user: ok temporary password", "resend_user_invitation: ok")
def test_an_invitation_is_sent_once_and_again_on_demand(scene):
    call = scene.admin.call
    person = {"name": "Raw Invited", "email": "raw.invited@acme.example", "role": predefined("ANNOTATOR")}
    made = expect(call("create_user", **person, invite_mode="EMAIL_LINK"), 201, CREATED_USER)
    assert (made["status"], made["is_developer"], made["invite_mode"]) == ("INVITED", False, "EMAIL_LINK")
    again = expect(call("create_user", **person | {"name": "Another"}, invite_mode="TEMPORARY_PASSWORD"), 200, USER)
    assert again == {name: made[name] for name in USER}
    check_problem(call("create_user", **person, invite_mode="NONE"), 409)
    expect(call("resend_user_invitation", user_id=made["id"]), 204)
    shape = CREATED_USER | {"temporary_password": lambda value: text(value) and len(value) >= 8}
    person["email"] = "raw.password@acme.example"
    with_password = expect(call("create_user", **person, invite_mode="TEMPORARY_PASSWORD"), 201, shape)
    assert with_password["status"] == "INVITED"


@pytest.mark.covers("reset_user_password: ok")
def test_a_reset_is_started_for_who_has_signed_in(scene):
    expect(scene.admin.call("reset_user_password", user_id=scene.names["free"]), 204)


@pytest.mark.covers(*(f"{one}: ok" for one in [
    "list_organizations", "create_organization", "get_organization", "update_organization",
    "delete_organization", "add_organization_user", "remove_organization_user",
]))
def test_an_organization_from_its_making_to_its_end(scene):
    call = scene.admin.call
    made = expect(call("create_organization", name=" Raw Works "), 201, ORGANIZATION)
    assert (made["name"], made["description"]) == ("Raw Works", "")
    org = {"org_id": made["id"]}
    described = expect(call("update_organization", **org, description="d"), 200, ORGANIZATION)
    assert described == made | {"description": "d"}
    assert expect(call("update_organization", **org, description=None), 200, ORGANIZATION) == made
    assert expect(call("get_organization", **org), 200, ORGANIZATION) == made
    assert entries(scene.admin, "list_organizations", name="RAW w") == [made]
    user = scene.new_user("raw organizations")
    first = expect(call("add_organization_user", **org, user_id=user, role=predefined("MEMBER")), 200, ORGANIZATION_MEMBERSHIP)
    second = expect(call("add_organization_user", **org, user_id=user, role=predefined("ADMIN")), 200, ORGANIZATION_MEMBERSHIP)
    assert first["role"] == predefined("MEMBER") and second == first | {"role": predefined("ADMIN")}
    expect(call("remove_organization_user", **org, user_id=user), 204)
    check_problem(call("remove_organization_user", **org, user_id=user), 404)
    space = expect(call("create_space", name="inside", organization_id=made["id"]), 201, SPACE)
    expect(call("delete_organization", **org), 204)
    check_problem(call("delete_organization", **org), 404)
    check_problem(call("get_space", space_id=space["id"]), 404)


@pytest.mark.covers(*(f"{one}: ok" for one in [
    "list_spaces", "create_space", "get_space", "update_space", "delete_space", "add_space_user", "remove_space_user",
]), "add_space_user: ok custom")
def test_a_space_from_its_making_to_its_end(scene):
    call, names = scene.admin.call, scene.names
    made = expect(call("create_space", name="Raw Space", organization_id=names["acme"], is_private=True), 201, SPACE)
    assert (made["description"], made["is_private"], made["organization_id"]) == ("", True, names["acme"])
    at = {"space_id": made["id"]}
    settings = {
        "description": "d", "is_private": False, "ml_models_enabled": True, "gradient_start_color": "#000000",
        "default_llm_integration": {"integration_id": "i", "model_name": "m"}, "default_agent_runtime": {"integration_id": "r"},
    }
    changed = expect(call("update_space", **at, **settings), 200, SPACE)
    assert changed == made | settings
    cleared = expect(call("update_space", **at, description=None, default_llm_integration=None), 200, SPACE)
    assert cleared["description"] == "" and cleared.get("default_llm_integration") is None
    assert expect(call("get_space", **at), 200, SPACE) == cleared
    assert entries(scene.admin, "list_spaces", org_id=names["acme"], name="raw s") == [cleared]
    worker = {"user_id": names["worker"]}
    first = expect(call("add_space_user", **at, **worker, role=predefined("READ_ONLY")), 200, SPACE_MEMBERSHIP)
    assert id_of("SpaceMember")(first["id"])
    second = expect(call("add_space_user", **at, **worker, role=predefined("MEMBER")), 200, SPACE_MEMBERSHIP)
    assert second == first | {"role": predefined("MEMBER")}
    third = expect(call("add_space_user", **at, **worker, role=custom(names["reader"])), 200, SPACE_MEMBERSHIP)
    assert third["role"] == custom(names["reader"]) | {"name": "Reader"}
    bindings = entries(scene.admin, "list_role_bindings", resource_type="SPACE", **worker)
    assert [(one["role_id"], one["resource_id"]) for one in bindings] == [(names["reader"], made["id"])]
    expect(call("remove_space_user", **at, **worker), 204)
    check_problem(call("remove_space_user", **at, **worker), 404)
    assert entries(scene.admin, "list_role_bindings", resource_type="SPACE", **worker) == []
    expect(call("delete_space", **at), 204)
    check_problem(call("delete_space", **at), 404)


@pytest.mark.covers(*(f"{verb}_project{s}: ok" for verb, s in [
    ("list", "s"), ("create", ""), ("get", ""), ("update", ""), ("delete", ""),
]))
def test_a_project_from_its_making_to_its_end(scene):
    call, names = scene.admin.call, scene.names
    made = expect(call("create_project", name="raw", space_id=names["staging"]), 201, PROJECT)
    at = {"project_id": made["id"]}
    assert expect(call("get_project", **at), 200, PROJECT) == made
    renamed = expect(call("update_project", **at, name="raw 2"), 200, PROJECT)
    assert renamed == made | {"name": "raw 2"}
    for filters in [{"space_id": names["staging"]}, {"space_name": "stag", "name": "RAW"}, {"name": "raw 2", "project_type": "APPLICATION"}]:
        assert entries(scene.admin, "list_projects", **filters) == [renamed], filters
    assert entries(scene.admin, "list_projects", name="raw 2", project_type="HARNESS") == []
    expect(call("delete_project", **at), 204)
    check_problem(call("delete_project", **at), 404)


@pytest.mark.covers("list_api_keys: ok", "create_api_key: ok", "refresh_api_key: ok", "refresh_api_key: ok grace", "revoke_api_key: ok")
def test_a_users_key_from_its_making_to_its_end(scene):
    def authenticates(key: str) -> int:
        return Wire(scene.server, key).call("list_spaces").status

    call = scene.admin.call
    made = expect(call("create_api_key", key_type="USER", name="raw key", description="d"), 201, API_KEY | SECRET)
    assert (made["key_type"], made["status"], made["created_by_user_id"]) == ("USER", "ACTIVE", scene.names["admin"])
    assert made["redacted_key"] == f"{made['key'][:6]}...{made['key'][-3:]}"
    at = {"api_key_id": made["id"]}
    graced = expect(call("refresh_api_key", **at, grace_period_seconds=3600), 200, API_KEY | SECRET)
    assert graced["id"] == made["id"] and graced["key"] != made["key"]
    assert (authenticates(made["key"]), authenticates(graced["key"])) == (200, 200)
    second = expect(scene.admin.send("POST", f"/v2/api-keys/{made['id']}/refresh"), 200, API_KEY | SECRET)
    assert [authenticates(one["key"]) for one in (made, graced, second)] == [401, 401, 200]
    listed = next(one for one in entries(scene.admin, "list_api_keys", limit=100) if one["id"] == made["id"])
    assert listed["redacted_key"] == second["redacted_key"] and "key" not in listed
    expect(call("revoke_api_key", **at), 204)
    expect(call("revoke_api_key", **at), 204)
    assert authenticates(second["key"]) == 401
    assert made["id"] in [one["id"] for one in entries(scene.admin, "list_api_keys", status="REVOKED", limit=100)]
    check_problem(call("refresh_api_key", **at), 422)


@pytest.mark.covers("create_api_key: ok service")
def test_a_service_key_acts_as_its_bot(scene):
    call, names = scene.admin.call, scene.names
    organizations = [{"org_id": names["acme"], "spaces": [
        {"space_id": names["production"]}, {"space_id": names["closed"], "role": custom(names["reader"])},
    ]}]
    made = expect(
        call("create_api_key", key_type="SERVICE", name="raw bot", organizations=organizations), 201,
        API_KEY | SECRET | {"bot_user": nested(BOT_USER)},
    )
    bot = made["bot_user"]
    assert (bot["name"], bot["account_role"]) == ("raw bot", predefined("MEMBER"))
    assert bot["organizations"] == [{"org_id": names["acme"], "role": predefined("READ_ONLY"), "spaces": [
        {"space_id": names["production"], "role": predefined("MEMBER")},
        {"space_id": names["closed"], "role": custom(names["reader"]) | {"name": "Reader"}},
    ]}]
    expect(Wire(scene.server, made["key"]).call("get_project", project_id=names["hidden"]), 200, PROJECT)
    in_space = {one["id"]: one for one in entries(scene.admin, "list_api_keys", space_id=names["closed"])}
    assert in_space[made["id"]]["bot_user"] == bot | {"organizations": []}
    created = {one["id"]: one for one in entries(scene.admin, "list_api_keys", key_type="SERVICE")}
    assert created[made["id"]]["bot_user"] == bot
    refreshed = expect(call("refresh_api_key", api_key_id=made["id"]), 200, API_KEY | SECRET)
    assert refreshed["id"] == made["id"]
    expect(call("revoke_api_key", api_key_id=made["id"]), 204)
    check_problem(Wire(scene.server, refreshed["key"]).call("list_spaces"), 401)


@pytest.mark.covers("list_audit_logs: ok")
def test_what_was_done_and_what_was_refused_stands_in_the_audit_log(scene):
    names = scene.names
    role = scene.admin.ok("create_role", name="Audited", permissions=["MONITOR_READ"])
    check_problem(scene.caller("member").call("delete_role", role_id=role["id"]), 403)
    newest = entries(scene.admin, "list_audit_logs", operation_type="MUTATION", limit=2)
    assert [(one["operation_name"], one["user_id"]) for one in newest] == [
        ("delete_role", names["member"]), ("create_role", names["admin"]),
    ]
    assert role["id"] in newest[0]["variables"] and "Audited" in newest[1]["operation_text"]
    mine = entries(scene.admin, "list_audit_logs", user_id=names["member"], operation_name=["delete_role", "create_role"])
    assert newest[0] in mine and {one["user_id"] for one in mine} == {names["member"]}
    assert entries(scene.admin, "list_audit_logs", user_id=names["missing_user"]) == []
    assert entries(scene.admin, "list_audit_logs", operation_name="Delete_Role") == []


def test_ids_are_taken_as_clients_write_them(scene):
    """Escaped or not, padded or not, and a project by its older kind."""
    checkout, acme = scene.names["checkout"], scene.names["acme"]
    older = base64.b64encode(base64.b64decode(checkout).replace(b"Model:", b"Project:")).decode()
    for path in [
        f"/v2/organizations/{acme}", f"/v2/organizations/{acme.rstrip('=')}",
        f"/v2/organizations/{acme.replace('=', '%3D')}",
        f"/v2/projects/{checkout}", f"/v2/projects/{checkout.rstrip('=')}", f"/v2/projects/{older}",
    ]:
        assert scene.admin.send("GET", path).status == 200, path


@pytest.mark.parametrize("written", [
    "2098-05-18T12:00:00.000Z", "2098-05-18T12:00:00Z", "2098-05-18T12:00:00+00:00", "2098-05-18T12:00:00+0000",
    "2098-05-18T12:00:00", "2098-05-18T12:00:00.000000000", "2098-05-18T14:00:00+02:00",
])
def test_moments_are_taken_as_clients_write_them(scene, written):
    made = scene.admin.ok("create_api_key", key_type="USER", name="dated", expires_at=written)
    assert datetime.fromisoformat(made["expires_at"]) == datetime.fromisoformat("2098-05-18T12:00:00+00:00")
    scene.admin.ok("revoke_api_key", api_key_id=made["id"])
