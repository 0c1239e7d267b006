"""Every refusal through the official Python SDK: the exception that its users catch, with the server's text."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from arize._generated.api_client import exceptions
from arize._generated.api_client.models.organization_role_assignment_request import OrganizationRoleAssignmentRequest
from arize.api_keys.types import OrgBinding, SpaceBinding, SpaceRoleAssignmentRequest, UserRoleAssignmentRequest
from arize.organizations.types import CustomOrgRole, PredefinedOrgRole
from arize.roles.types import Permission
from arize.spaces.types import CustomSpaceRole, PredefinedSpaceRole
from arize.users.types import CustomUserRole, PredefinedUserRole

from scenarios import Scenario, for_client
from wire import PLURALS

CLIENT = "python"
EXCEPTIONS = {
    400: exceptions.BadRequestException, 401: exceptions.UnauthorizedException,
    403: exceptions.ForbiddenException, 404: exceptions.NotFoundException,
    409: exceptions.ConflictException, 422: exceptions.UnprocessableEntityException,
}


def assigned(predefined, custom):
    """The SDK's own type of a role assignment."""
    return lambda role: predefined(name=role["name"]) if role["type"] == "PREDEFINED" else custom(id=role["id"])


def renamed(**names):
    """The arguments with the SDK's names and types: `was=("is", convert)` or `was="is"`."""

    def arguments(given: dict) -> dict:
        result = {}
        for name, value in given.items():
            target = names.get(name, name)
            target, convert = target if isinstance(target, tuple) else (target, lambda value: value)
            result[target] = convert(value)
        return result

    return arguments


def organizations(given: list[dict]) -> list[OrgBinding]:
    def role(kind, one):
        return kind.from_dict(one["role"]) if "role" in one else None

    return [
        OrgBinding(org_id=one["org_id"], role=role(OrganizationRoleAssignmentRequest, one), spaces=[
            SpaceBinding(space=space["space_id"], role=role(SpaceRoleAssignmentRequest, space)) for space in one["spaces"]
        ])
        for one in given
    ]


def permissions(given: list[str]) -> list[Permission]:
    return [Permission(one) for one in given]


AS_THEY_ARE = renamed()
ROLE = renamed(role_id="role", permissions=("permissions", permissions))
USER = renamed(role=("role", assigned(PredefinedUserRole, CustomUserRole)))
ORGANIZATION = renamed(org_id="organization", role=("role", assigned(PredefinedOrgRole, CustomOrgRole)))
SPACE = renamed(space_id="space", org_id="organization_id", role=("role", assigned(PredefinedSpaceRole, CustomSpaceRole)))
PROJECT = renamed(project_id="project", space_id="space")
EXPIRY = ("expires_at", datetime.fromisoformat)
KEY = renamed(
    space_id="space", organizations=("orgs", organizations), expires_at=EXPIRY,
    account_role=("account_role", UserRoleAssignmentRequest.from_dict),
)
AUDIT = renamed(
    start_time=("start_time", datetime.fromisoformat), end_time=("end_time", datetime.fromisoformat),
    operation_name="operation_names",
)


def create_key(client, arguments):
    kind = arguments.pop("key_type")
    make = client.api_keys.create if kind == "USER" else client.api_keys.create_service_key
    return make(**KEY(arguments))


def calls(family: str, arguments, **methods):
    """Operation -> its call; a method by name if that isn't the operation's first word."""
    return {
        operation: lambda client, given, method=method: getattr(getattr(client, family), method)(**arguments(given))
        for operation, method in methods.items()
    }


CALLS = {
    **calls("role_bindings", AS_THEY_ARE, list_role_bindings="list", create_role_binding="create",
            get_role_binding="get", update_role_binding="update", delete_role_binding="delete"),
    **calls("roles", ROLE, list_roles="list", create_role="create", get_role="get", update_role="update",
            delete_role="delete"),
    **calls("resource_restrictions", AS_THEY_ARE, list_resource_restrictions="list",
            create_resource_restriction="restrict", delete_resource_restriction="unrestrict"),
    **calls("users", USER, list_users="list", create_user="create", update_user="update", delete_user="delete",
            resend_user_invitation="resend_invitation", reset_user_password="reset_password"),
    **calls("users", renamed(user_id="user"), get_user="get"),
    **calls("organizations", ORGANIZATION, list_organizations="list", create_organization="create",
            get_organization="get", update_organization="update", delete_organization="delete",
            add_organization_user="add_user", remove_organization_user="remove_user"),
    **calls("spaces", SPACE, list_spaces="list", create_space="create", get_space="get", update_space="update",
            delete_space="delete", add_space_user="add_user", remove_space_user="remove_user"),
    **calls("projects", PROJECT, list_projects="list", create_project="create", get_project="get",
            update_project="update", delete_project="delete"),
    **calls("api_keys", KEY, list_api_keys="list", refresh_api_key="refresh", revoke_api_key="revoke"),
    "create_api_key": create_key,
    **calls("audit_logs", AUDIT, list_audit_logs="list"),
}


@pytest.mark.parametrize("scenario", [one for one in for_client(CLIENT) if one.status], ids=str)
def test_a_refusal_is_the_exception_of_its_status(scene, sdk, scenario: Scenario):
    client = sdk(scene.keys[scenario.caller])
    with pytest.raises(EXCEPTIONS[scenario.status]) as refused:
        CALLS[scenario.operation](client, scenario.resolve(scene.names))
    problem = json.loads(refused.value.body)
    assert refused.value.status == problem["status"] == scenario.status
    if str(scenario) != "update_project: 409":  # the SDK's map of it has no 409
        assert refused.value.data.detail == problem["detail"] != ""


@pytest.mark.parametrize("scenario", [one for one in for_client(CLIENT) if one.is_pages], ids=str)
def test_pages_are_the_whole_list(scene, admin, scenario: Scenario):
    def page(**arguments):
        answer = CALLS[scenario.operation](admin, scenario.resolve(scene.names) | arguments)
        return [key_of(one) for one in getattr(answer, PLURALS[scenario.operation])], answer.pagination

    whole, pagination = page(limit=100)
    assert len(whole) >= 7 and not pagination.has_more
    seen, cursor = [], None
    while True:
        some, pagination = page(limit=3, cursor=cursor)
        seen += some
        assert pagination.has_more == (pagination.next_cursor is not None)
        if pagination.next_cursor is None:
            break
        assert len(some) == 3
        cursor = pagination.next_cursor
    assert seen == whole


def key_of(entry) -> str:
    """A restriction has no id, and a key is one of two kinds."""
    entry = getattr(entry, "actual_instance", entry)
    return entry.id if hasattr(entry, "id") else entry.resource_id
