"""The exact text of every refusal on the wire, and the order of reasons."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from scenarios import Scenario, filled, for_client
from test_raw import check_problem
from wire import Wire, custom, predefined

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


def test_keys_that_have_ended_are_answered_like_one_that_never_was(scene):
    admin, server = scene.admin, scene.server
    expires_at = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    revoked = admin.ok("create_api_key", key_type="USER", name="to revoke")
    expiring = admin.ok("create_api_key", key_type="USER", name="to expire", expires_at=expires_at)
    email = "raw.leaver@acme.example"
    leaver = admin.ok("create_user", name="Leaver", email=email, role=predefined("MEMBER"), invite_mode="EMAIL_LINK")
    [(_, token)] = server.mailbox.wait_for(email)[0].links
    body = json.dumps({"password": server.saw("the leaver's password")}).encode()
    accepted = Wire(server, None).send("POST", f"/bindery/v1/invitations/{token}", body, JSON)
    keys = [revoked["key"], server.saw(accepted.json()["api_key"]["key"])]
    for key in keys:
        Wire(server, key).ok("list_roles")
    admin.ok("revoke_api_key", api_key_id=revoked["id"])
    admin.ok("delete_user", user_id=leaver["id"])
    deadline = monotonic() + 120
    while Wire(server, expiring["key"]).call("list_roles").status == 200:
        assert monotonic() < deadline, "it never expires"
    unknown = scene.caller("unknown").call("list_roles").json()
    for key in [*keys, expiring["key"]]:
        said = check_problem(Wire(server, key).call("list_roles"), 401)
        assert said | {"request_id": ""} == unknown | {"request_id": ""}


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


# Each has two errors: the caller, the operation, the request, and the status of the error that comes first.
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


IN_ACME = {"org_id": "$acme", "spaces": [{"space_id": "$production"}]}


def service(*organizations, **more):
    return {"key_type": "SERVICE", "name": "never", "organizations": list(organizations or [IN_ACME])} | more


def in_production(role):
    return {"org_id": "$acme", "spaces": [{"space_id": "$production", "role": role}]}


# Rules of the contract about single fields, beyond the scenarios of all clients. All by the admin.
RULES = [
    ("create_api_key", service(account_role=predefined("MEMBER_UI_ONLY")), 400),
    ("create_api_key", service(account_role=custom("$reader")), 422),
    ("create_api_key", service(IN_ACME | {"role": custom("$reader")}), 422),
    ("create_api_key", service(IN_ACME | {"role": predefined("ANNOTATOR")}), 422),
    ("create_api_key", service(in_production(predefined("ANNOTATOR"))), 422),
    ("create_api_key", service(in_production(custom("$missing_role"))), 404),
    ("create_api_key", service(in_production(custom("$reader") | {"name": "Reader"})), 400),
    ("create_api_key", service(IN_ACME, IN_ACME), 400),
    ("create_api_key", service({"org_id": "$acme", "spaces": IN_ACME["spaces"] * 2}), 400),
    ("create_api_key", service({"org_id": "$globex", "spaces": IN_ACME["spaces"]}), 422),
    ("create_api_key", service({"org_id": "$acme", "spaces": []}), 400),
    ("create_api_key", service({"org_id": "$missing_organization", "spaces": IN_ACME["spaces"]}), 404),
    ("create_api_key", service() | {"organizations": []}, 400),
    ("create_api_key", {"key_type": "OTHER", "name": "never"}, 400),
    ("create_api_key", {"key_type": "USER", "name": ""}, 400),
    ("create_api_key", {"key_type": "USER", "name": "x" * 257}, 400),
    ("create_api_key", {"key_type": "USER", "name": "never", "organizations": [IN_ACME]}, 400),
    ("refresh_api_key", {"api_key_id": "$key", "grace_period_seconds": 86_401}, 400),
    ("refresh_api_key", {"api_key_id": "$key", "grace_period_seconds": -1}, 400),
    ("refresh_api_key", {"api_key_id": "$expiring_key", "expires_at": "2099-01-01T00:00:01Z"}, 422),
    ("list_api_keys", {"key_type": "USER", "space_id": "$production"}, 400),
    ("list_api_keys", {"user_id": "$missing_user"}, 404),
    ("list_spaces", {"org_id": "$reader"}, 400),
    ("list_spaces", {"name": "x" * 256}, 400),
    ("list_users", {"status": ["ACTIVE", "GONE"]}, 400),
    ("list_projects", {"project_type": "OTHER"}, 400),
    ("list_roles", {"is_predefined": "maybe"}, 400),
    ("list_role_bindings", {}, 400),
    ("list_audit_logs", {"operation_name": ["x"] * 21}, 400),
    ("list_audit_logs", {"operation_name": ""}, 400),
    ("list_audit_logs", {"start_time": "yesterday"}, 400),
    ("update_role", {"role_id": "$reader"}, 400),
    ("update_role", {"role_id": "$reader", "permissions": []}, 400),
    ("update_role", {"role_id": "$reader", "permissions": None}, 400),
    ("update_role", {"role_id": "$reader", "is_predefined": True}, 400),
    ("create_role", {"name": "a<b", "permissions": ["PROJECT_READ"]}, 400),
    ("create_role", {"name": "x" * 256, "permissions": ["PROJECT_READ"]}, 400),
    ("create_role", {"name": "never", "permissions": ["PROJECT_READ"], "description": "x" * 1001}, 400),
    ("update_user", {"user_id": "$free"}, 400),
    ("update_user", {"user_id": "$free", "email": "new@acme.example"}, 400),
    ("update_organization", {"org_id": "$acme"}, 400),
    ("update_organization", {"org_id": "$acme", "name": None}, 400),
    ("update_space", {"space_id": "$production"}, 400),
    ("update_space", {"space_id": "$production", "is_private": None}, 400),
    ("update_space", {"space_id": "$production", "default_llm_integration": {"integration_id": "i"}}, 400),
    ("update_project", {"project_id": "$checkout", "name": "new", "space_id": "$staging"}, 400),
    ("update_role_binding", {"binding_id": "$binding", "role_id": "$blind", "user_id": "$free"}, 400),
    ("add_organization_user", {"org_id": "$acme", "user_id": "$free", "role": "MEMBER"}, 400),
    ("add_organization_user", {"org_id": "$acme", "user_id": "$free", "role": predefined("ANNOTATOR")}, 400),
    ("add_organization_user", {"org_id": "$acme", "user_id": "$bot", "role": predefined("MEMBER")}, 404),
    ("add_space_user", {"space_id": "$production", "user_id": "$worker", "role": predefined("ANNOTATOR")}, 400),
    ("add_space_user", {"space_id": "$production", "user_id": "$worker", "role": predefined("OWNER")}, 400),
    ("create_user", {"name": "Never", "email": "nobody", "role": predefined("MEMBER"), "invite_mode": "NONE"}, 400),
    ("create_user", {"name": "Invited", "email": "INVITED@acme.example", "role": predefined("MEMBER"), "invite_mode": "NONE"}, 409),
    ("create_resource_restriction", {"resource_id": "nonsense"}, 400),
]


@pytest.mark.parametrize(("operation", "sent", "status"), RULES, ids=lambda value: str(value)[:90])
def test_each_rule_of_a_field_has_its_status(scene, operation, sent, status):
    check_problem(scene.admin.call(operation, **filled(sent, scene.names)), status)


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


@pytest.mark.parametrize(("schema", "operation", "longest", "body"), [
    ("Name", "create_organization", 255, {}),
    ("RoleName", "create_role", 255, {"permissions": ["PROJECT_READ"]}),
    ("KeyName", "create_api_key", 256, {"key_type": "USER"}),
])
def test_a_name_is_bounded_after_trimming_by_the_server_and_by_its_document(scene, schema, operation, longest, body):
    document = Wire(scene.server, None).send("GET", "/openapi.json", None, {}).json()
    pattern = re.compile(document["components"]["schemas"][schema]["pattern"])
    for name, is_good in [
        ("n" * longest, True),
        (f"\t  {'m' * longest} \u2003\n", True),
        ("n" * (longest + 1), False),
        ("   ", False),
        ("a\tb", False),
    ]:
        assert bool(pattern.search(name)) == is_good, name
        answer = scene.admin.call(operation, name=name, **body)
        if is_good:
            assert answer.status == 201, answer.json()
            assert answer.json()["name"] == name.strip()
        else:
            check_problem(answer, 400)
