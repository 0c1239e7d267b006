"""Calls of the official Python SDK, family by family, with their results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from arize._generated.api_client import exceptions
from arize.api_keys.types import ApiKeyStatus, ApiKeyType, OrgBinding, SpaceBinding, SpaceRoleAssignmentRequest
from arize.audit_logs.types import AuditLogOperationType
from arize.organizations.types import PredefinedOrgRole
from arize.resource_restrictions.types import ResourceRestrictionType
from arize.role_bindings.types import RoleBindingResourceType
from arize.roles.types import Permission
from arize.spaces.types import CustomSpaceRole, PredefinedSpaceRole
from arize.users.types import DeletionStatus, InviteMode, PredefinedUserRole, UserStatus

CLIENT = "python"
MISSING = exceptions.NotFoundException


def covers(*operations: str):
    return pytest.mark.covers(*(one if ":" in one else f"{one}: ok" for one in operations))


def new_user(admin, name: str, mode: InviteMode = InviteMode.NONE, role: str = "MEMBER"):
    email = f"{name.replace(' ', '.')}@sdk.example"
    return admin.users.create(name=name, email=email, role=PredefinedUserRole(name=role), invite_mode=mode)


def keys(client, **filters):
    return [one.actual_instance for one in client.api_keys.list(**filters).api_keys]


@covers("list_role_bindings", "create_role_binding", "get_role_binding", "update_role_binding", "delete_role_binding")
def test_a_role_binding_is_made_changed_and_ended(scene, admin):
    user = new_user(admin, "bound")
    project = RoleBindingResourceType.PROJECT
    made = admin.role_bindings.create(
        user_id=user.id, role_id=scene.names["reader"], resource_type=project, resource_id=scene.names["checkout"]
    )
    assert admin.role_bindings.get(binding_id=made.id) == made and made.created_at == made.updated_at
    changed = admin.role_bindings.update(binding_id=made.id, role_id=scene.names["blind"])
    assert changed.role_id == scene.names["blind"] and changed.updated_at > made.updated_at
    assert admin.role_bindings.list(resource_type=project, user_id=user.id).role_bindings == [changed]
    admin.role_bindings.delete(binding_id=made.id)
    with pytest.raises(MISSING):
        admin.role_bindings.get(binding_id=made.id)


@covers("list_roles", "create_role", "get_role", "update_role", "delete_role")
def test_a_role_is_found_by_its_name_and_loses_its_description(admin):
    made = admin.roles.create(name="SDK", permissions=[Permission.MONITOR_READ], description="d")
    assert admin.roles.get(role="SDK") == admin.roles.get(role=made.id) == made
    renamed = admin.roles.update(role="SDK", name="SDK 2")
    assert (renamed.name, renamed.description, renamed.permissions) == ("SDK 2", "d", [Permission.MONITOR_READ])
    assert admin.roles.update(role=made.id, description=None).description is None
    replaced = admin.roles.update(role=made.id, permissions=[Permission.PROJECT_READ])
    assert replaced.permissions == [Permission.PROJECT_READ]
    assert replaced in admin.roles.list(is_predefined=False).roles
    assert [role.name for role in admin.roles.list(is_predefined=True).roles][0] == "Admin"
    admin.roles.delete(role="SDK 2")
    with pytest.raises(MISSING):
        admin.roles.get(role=made.id)


def test_every_predefined_role_lists_permissions_that_the_sdk_knows(admin):
    everything = set(Permission)
    for role in admin.roles.list(is_predefined=True).roles:
        assert role.permissions and set(role.permissions) <= everything


@covers("list_resource_restrictions", "create_resource_restriction", "delete_resource_restriction")
def test_a_restriction_hides_a_project_until_it_is_lifted(scene, sdk, admin):
    project, reader = scene.names["search"], sdk(scene.keys["worker"])
    made = admin.resource_restrictions.restrict(resource_id=project)
    assert admin.resource_restrictions.restrict(resource_id=project) == made
    listed = admin.resource_restrictions.list(resource_type=ResourceRestrictionType.PROJECT)
    assert project in [one.resource_id for one in listed.resource_restrictions]
    with pytest.raises(MISSING):
        reader.projects.get(project=project)
    admin.resource_restrictions.unrestrict(resource_id=project)
    assert reader.projects.get(project=project).id == project


@covers("list_users", "create_user", "get_user", "update_user", "delete_user")
def test_a_user_is_found_by_email_changed_and_deleted(admin):
    made = new_user(admin, "sdk user")
    assert (made.status, made.is_developer, made.role.name) == (UserStatus.ACTIVE, True, "MEMBER")
    found = admin.users.get(user="SDK.user@sdk.example")
    assert found == admin.users.get(user=made.id) and found.id == made.id
    assert admin.users.get(user="nobody@sdk.example") is None
    assert admin.users.list(email="sdk.user", status=[UserStatus.ACTIVE, UserStatus.EXPIRED]).users == [found]
    changed = admin.users.update(user_id=made.id, name="New", is_developer=False)
    assert (changed.name, changed.is_developer) == ("New", False)
    admin.users.delete(user_id=made.id)
    with pytest.raises(MISSING):
        admin.users.get(user=made.id)


def test_users_are_deleted_in_bulk_by_id_and_by_email(admin):
    first, second = new_user(admin, "bulk one"), new_user(admin, "bulk two")
    results = admin.users.bulk_delete(user_ids=[first.id], emails=["BULK.two@sdk.example", "bulk.none@sdk.example"])
    assert {(one.user_id, one.status) for one in results} == {
        (first.id, DeletionStatus.DELETED), (second.id, DeletionStatus.DELETED), ("", DeletionStatus.NOT_FOUND),
    }


@covers("create_user: ok pending", "create_user: ok temporary password", "resend_user_invitation", "reset_user_password")
def test_an_invitation_stays_one_invitation(server, admin):
    made = new_user(admin, "sdk invited", InviteMode.EMAIL_LINK)
    assert made.status == UserStatus.INVITED and made.temporary_password is None
    again = new_user(admin, "sdk invited", InviteMode.TEMPORARY_PASSWORD)
    assert (again.id, again.temporary_password) == (made.id, None)
    admin.users.resend_invitation(user_id=made.id)
    with_password = new_user(admin, "sdk password", InviteMode.TEMPORARY_PASSWORD)
    assert with_password.status == UserStatus.INVITED
    server.saw(with_password.temporary_password)
    admin.users.reset_password(user_id=new_user(admin, "sdk reset").id)


@covers(
    "list_organizations", "create_organization", "get_organization", "update_organization", "delete_organization",
    "add_organization_user", "remove_organization_user",
)
def test_an_organization_takes_members_and_goes_with_all_of_it(admin):
    made = admin.organizations.create(name="SDK Works")
    assert made.description == "" and admin.organizations.get(organization="SDK Works") == made
    changed = admin.organizations.update(organization="SDK Works", description="d")
    assert (changed.name, changed.description) == ("SDK Works", "d")
    assert admin.organizations.update(organization=made.id, description=None).description == ""
    assert admin.organizations.list(name="sdk w").organizations == [made]
    user = new_user(admin, "sdk member")
    first = admin.organizations.add_user(organization=made.id, user_id=user.id, role=PredefinedOrgRole(name="READ_ONLY"))
    second = admin.organizations.add_user(organization="SDK Works", user_id=user.id, role=PredefinedOrgRole(name="ADMIN"))
    assert (first.role.name, second.role.name, second.id) == ("READ_ONLY", "ADMIN", first.id)
    admin.organizations.remove_user(organization=made.id, user_id=user.id)
    space = admin.spaces.create(name="SDK inside", organization_id=made.id)
    admin.organizations.delete(organization=made.id)
    with pytest.raises(MISSING):
        admin.spaces.get(space=space.id)


@covers(
    "list_spaces", "create_space", "get_space", "update_space", "delete_space", "add_space_user", "remove_space_user",
    "add_space_user: ok custom",
)
def test_a_space_is_found_by_name_and_gives_its_members_their_role(scene, admin):
    made = admin.spaces.create(name="SDK Space", organization_id=scene.names["acme"], is_private=True)
    assert admin.spaces.get(space="SDK Space") == made and made.is_private
    changed = admin.spaces.update(space="SDK Space", description="d", is_private=False, ml_models_enabled=True)
    assert (changed.description, changed.is_private, changed.ml_models_enabled) == ("d", False, True)
    assert admin.spaces.update(space=made.id, description=None).description == ""
    assert [one.id for one in admin.spaces.list(organization_id=scene.names["acme"], name="sdk S").spaces] == [made.id]
    member = {"space": made.id, "user_id": scene.names["worker"]}
    assert admin.spaces.add_user(**member, role=PredefinedSpaceRole(name="MEMBER")).role.name == "MEMBER"
    custom = admin.spaces.add_user(**member, role=CustomSpaceRole(id=scene.names["reader"]))
    assert (custom.role.type, custom.role.id, custom.role.name) == ("CUSTOM", scene.names["reader"], "Reader")
    admin.spaces.remove_user(**member)
    with pytest.raises(MISSING):
        admin.spaces.remove_user(**member)
    admin.spaces.delete(space="SDK Space")
    with pytest.raises(MISSING):
        admin.spaces.get(space=made.id)


@covers("list_projects", "create_project", "get_project", "update_project", "delete_project")
def test_a_project_is_found_by_the_names_of_its_space_and_its_own(admin):
    made = admin.projects.create(name="sdk project", space="Staging")
    at = {"project": "sdk project", "space": "Staging"}
    assert admin.projects.get(**at) == admin.projects.get(project=made.id) == made
    assert admin.projects.update(**at, name="sdk project 2").name == "sdk project 2"
    for filters in ({"space": made.space_id}, {"space": "stag"}, {"name": "PROJECT 2"}):
        assert made.id in [one.id for one in admin.projects.list(**filters).projects]
    admin.projects.delete(project="sdk project 2", space="Staging")
    with pytest.raises(MISSING):
        admin.projects.get(project=made.id)


@covers("list_api_keys", "create_api_key", "refresh_api_key", "refresh_api_key: ok grace", "revoke_api_key")
def test_a_users_key_is_renewed_with_and_without_grace_and_revoked(server, sdk, admin):
    expires_at = datetime.now(UTC) + timedelta(days=2)
    made = admin.api_keys.create(name="sdk key", description="d", expires_at=expires_at.replace(tzinfo=None))
    assert abs(made.expires_at - expires_at) < timedelta(milliseconds=1)
    old = sdk(made.key)
    assert [one.id for one in keys(admin, limit=100) if one.name == "sdk key"] == [made.id]
    sooner = expires_at - timedelta(days=1)
    graced = admin.api_keys.refresh(api_key_id=made.id, expires_at=sooner, grace_period_seconds=60)
    assert graced.id == made.id and graced.expires_at < made.expires_at
    new = sdk(graced.key)
    assert old.spaces.list() == new.spaces.list()
    last = sdk(admin.api_keys.refresh(api_key_id=made.id, expires_at=sooner).key)
    for dead in (old, new):
        with pytest.raises(exceptions.UnauthorizedException):
            dead.spaces.list()
    last.api_keys.revoke(api_key_id=made.id)
    with pytest.raises(exceptions.UnauthorizedException):
        last.spaces.list()
    revoked = keys(admin, key_type=ApiKeyType.USER, status=ApiKeyStatus.REVOKED, limit=100)
    assert made.id in [one.id for one in revoked]


@covers("create_api_key: ok service")
def test_a_service_key_is_bound_to_places_with_resolved_roles(scene, sdk, admin):
    custom = SpaceRoleAssignmentRequest.from_dict({"type": "CUSTOM", "id": scene.names["reader"]})
    made = admin.api_keys.create_service_key(name="sdk bot", orgs=[OrgBinding(
        org_id=scene.names["acme"], spaces=[SpaceBinding(space="Production"), SpaceBinding(space="Closed", role=custom)],
    )])
    place = made.bot_user.organizations[0]
    assert place.role.actual_instance.name == "READ_ONLY"
    assert [space.role.actual_instance.name for space in place.spaces] == ["MEMBER", "Reader"]
    assert sdk(made.key).projects.get(project=scene.names["hidden"]).name == "hidden"
    entry = next(one for one in keys(admin, space="Closed") if one.id == made.id)
    assert entry.bot_user.id == made.bot_user.id and entry.bot_user.organizations == []


@covers("list_audit_logs")
def test_the_audit_log_tells_who_did_what(scene, admin):
    start = datetime.now(UTC)
    role = admin.roles.create(name="SDK audited", permissions=[Permission.MONITOR_READ])
    admin.roles.delete(role=role.id)
    logs = admin.audit_logs.list(
        start_time=start, end_time=datetime.now(UTC) + timedelta(seconds=1), user_id=scene.names["admin"],
        operation_type=AuditLogOperationType.MUTATION, operation_names=["create_role", "delete_role"],
    ).logs
    assert [one.operation_name for one in logs] == ["delete_role", "create_role"]
    assert logs[0].ip == "127.0.0.1" and logs[0].created_at >= logs[1].created_at
