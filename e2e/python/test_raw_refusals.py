"""Every refusal as it stands on the wire, to the letter, and the order in which reasons are found."""

from __future__ import annotations

import pytest

from scenarios import Scenario, filled, for_client
from test_raw import check_problem
from wire import Wire, predefined

CLIENT = "raw"
REFUSALS = [one for one in for_client(CLIENT) if one.status]
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("scenario", REFUSALS, ids=str)
def test_a_refusal_is_a_whole_problem_with_its_status(scene, scenario: Scenario):
    answer = scene.caller(scenario.caller).call(scenario.operation, **scenario.resolve(scene.names))
    check_problem(answer, scenario.status)


@pytest.mark.parametrize("authorization", [
    None, "", "Bearer", "Bearer ", "Basic YTpi", "ak-{}", "Bearer ak-short", "Bearer {} {}", "Bearer {}x", "Token {}",
])
def test_nothing_but_one_known_key_as_a_bearer_gets_in(scene, authorization):
    caller = Wire(scene.server, None)
    if authorization is not None:
        caller.headers = {"Authorization": authorization.replace("{}", scene.keys["admin"])}
    check_problem(caller.call("list_roles"), 401)


def test_revoked_expired_and_deleted_owners_keys_are_answered_alike(scene):
    made = scene.admin.ok("create_api_key", key_type="USER", name="to revoke")
    revoked = Wire(scene.server, made["key"])
    revoked.ok("list_roles")
    scene.admin.ok("revoke_api_key", api_key_id=made["id"])
    unknown = scene.caller("unknown").call("list_roles").json()
    said = check_problem(revoked.call("list_roles"), 401)
    assert {**said, "request_id": ""} == {**unknown, "request_id": ""}


def test_without_developer_access_a_key_is_known_and_may_do_nothing(scene):
    names = scene.names
    scene.admin.ok("update_user", user_id=names["annotator"], is_developer=False)
    try:
        for operation in ("list_spaces", "list_role_bindings", "list_organizations"):
            arguments = {"resource_type": "SPACE"} if operation == "list_role_bindings" else {}
            check_problem(scene.caller("annotator").call(operation, **arguments), 403)
    finally:
        scene.admin.ok("update_user", user_id=names["annotator"], is_developer=True)
    scene.caller("annotator").ok("list_spaces")


# Two things are wrong with each: the caller, the operation, what is sent, and the status of what comes first.
ORDER = [
    ("unknown", "create_role", {"name": 7}, 401),
    ("unknown", "get_role", {"role_id": "nonsense"}, 401),
    ("member", "create_role", {"name": "Mine", "permissions": ["NO_SUCH_THING"]}, 400),
    ("member", "update_role", {"role_id": "$acme", "name": "New"}, 400),
    ("member", "update_organization", {"org_id": "$acme"}, 400),
    ("member", "add_organization_user", {"org_id": "$acme", "user_id": "$missing_user", "role": predefined("MEMBER")}, 403),
    ("member", "add_organization_user", {"org_id": "$globex", "user_id": "$missing_user", "role": predefined("MEMBER")}, 404),
    ("member", "update_role", {"role_id": "$missing_role", "name": "New"}, 403),
    ("member", "delete_role", {"role_id": "$missing_role"}, 403),
    ("member", "create_role", {"name": "Reader", "permissions": ["PROJECT_READ"]}, 403),
    ("member", "create_organization", {"name": "Globex"}, 403),
    ("member", "create_space", {"name": "Production", "organization_id": "$acme"}, 403),
    ("member", "update_space", {"space_id": "$production", "name": "Staging"}, 403),
    ("member", "update_project", {"project_id": "$checkout", "name": "search"}, 403),
    ("member", "create_project", {"name": "checkout", "space_id": "$production"}, 403),
    ("member", "create_user", {"name": "Free", "email": "free@acme.example", "role": predefined("ADMIN"), "invite_mode": "NONE"}, 403),
    ("member", "delete_user", {"user_id": "$missing_user"}, 404),
    ("member", "update_user", {"user_id": "$free", "name": "New", "is_developer": True}, 403),
    ("admin", "create_role_binding", {"resource_type": "PROJECT", "resource_id": "$missing_project", "user_id": "$missing_user", "role_id": "$missing_role"}, 403),
    ("admin", "create_role_binding", {"resource_type": "PROJECT", "resource_id": "$checkout", "user_id": "$member", "role_id": "$missing_role"}, 404),
    ("admin", "add_space_user", {"space_id": "$production", "user_id": "$missing_user", "role": predefined("ANNOTATOR")}, 404),
    ("admin", "create_user", {"name": "Free", "email": "free@acme.example", "role": {"type": "CUSTOM", "id": "$reader"}, "invite_mode": "NONE"}, 422),
    ("worker", "refresh_api_key", {"api_key_id": "$expiring_key"}, 404),
    ("admin", "list_audit_logs", {"limit": "many"}, 400),
    ("member", "list_audit_logs", {"limit": "many"}, 400),
]


@pytest.mark.parametrize(("caller", "operation", "sent", "status"), ORDER, ids=lambda value: str(value)[:60])
def test_of_two_reasons_the_earlier_one_is_told(scene, caller, operation, sent, status):
    check_problem(scene.caller(caller).call(operation, **filled(sent, scene.names)), status)


BAD_BODIES = [b"", b"{", b"[]", b"null", b'"text"', b'{"name":"a","name":"b","permissions":["PROJECT_READ"]}', b"\xff{}"]


@pytest.mark.parametrize("body", BAD_BODIES)
def test_what_is_not_one_json_object_is_refused(scene, body):
    check_problem(scene.admin.send("POST", "/v2/roles", body, JSON), 400)


def test_an_unknown_path_is_a_problem_of_no_family(scene):
    check_problem(scene.admin.send("GET", "/v2/nothing"), 404, kind="about:blank")


def test_a_wrong_method_is_told_which_are_right(scene):
    wrong = scene.admin.send("PUT", "/v2/roles", b"{}", JSON)
    check_problem(wrong, 405, kind="about:blank")
    assert wrong.headers["allow"] == "GET, POST"


def test_a_body_over_a_mebibyte_is_too_large(scene):
    big = b'{"name":"' + b"x" * (1 << 20) + b'"}'
    check_problem(scene.admin.send("POST", "/v2/roles", big, JSON), 413, kind="about:blank")


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", "1.5", ""])
def test_a_limit_is_1_to_100(scene, limit):
    for operation in ("list_roles", "list_users", "list_organizations", "list_spaces", "list_projects", "list_api_keys", "list_resource_restrictions", "list_audit_logs"):
        check_problem(scene.admin.call(operation, limit=limit), 400)


@pytest.mark.parametrize("operation", ["create_role", "create_user", "create_organization", "create_space", "create_project"])
def test_what_the_server_sets_cannot_be_sent(scene, operation):
    good = {
        "create_role": {"name": "Never", "permissions": ["PROJECT_READ"]},
        "create_user": {"name": "Never", "email": "never@acme.example", "role": predefined("MEMBER"), "invite_mode": "NONE"},
        "create_organization": {"name": "Never"},
        "create_space": {"name": "Never", "organization_id": scene.names["acme"]},
        "create_project": {"name": "Never", "space_id": scene.names["production"]},
    }[operation]
    for member in ("id", "created_at", "updated_at", "is_predefined", "unheard_of"):
        problem = check_problem(scene.admin.call(operation, **good, **{member: "x"}), 400)
        assert member in problem["detail"], problem
