"""Role bindings through the official Python SDK: the main job, from client to disk."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from arize._generated.api_client.exceptions import ConflictException, NotFoundException
from arize._generated.api_client.models.permission import Permission
from arize.role_bindings.types import RoleBindingResourceType
from arize.users.types import InviteMode, PredefinedUserRole, UserRole

from wire import Wire

SPACE = RoleBindingResourceType.SPACE
PROJECT = RoleBindingResourceType.PROJECT

CLIENT = "python"


@pytest.fixture(scope="module")
def here(admin):
    """An organization, a space, a project, two roles and a user, made through the SDK."""
    organization = admin.organizations.create(name="Anvil")
    space = admin.spaces.create(name="Bindings", organization_id=organization.id)
    project = admin.projects.create(name="binding checkout", space="Bindings")
    reader = admin.roles.create(
        name="Binding reader", permissions=[Permission.PROJECT_READ, Permission.ROLE_BINDING_READ]
    )
    other = admin.roles.create(name="Binding blind", permissions=[Permission.MONITOR_READ])
    return SimpleNamespace(
        organization=organization, space=space, project=project, reader=reader, other=other,
        user=new_user(admin, "mia@anvil.example"),
    )


def new_user(admin, email):
    role = PredefinedUserRole(name=UserRole.MEMBER)
    made = admin.users.create(name="Mia", email=email, role=role, invite_mode=InviteMode.NONE)
    return getattr(made, "actual_instance", None) or made


@pytest.fixture
def binding(admin, here):
    made = admin.role_bindings.create(
        user_id=here.user.id, role_id=here.reader.id, resource_type=PROJECT,
        resource_id=here.project.id,
    )
    yield made
    try:
        admin.role_bindings.delete(binding_id=made.id)
    except NotFoundException:
        pass


def test_an_update_changes_the_role_and_nothing_but_the_time_of_it(admin, here, binding):
    updated = admin.role_bindings.update(binding_id=binding.id, role_id=here.other.id)
    read = admin.role_bindings.get(binding_id=binding.id)
    assert read == updated
    assert (read.role_id, read.id) == (here.other.id, binding.id)
    assert read.created_at == binding.created_at and read.updated_at > binding.updated_at
    same = admin.role_bindings.update(binding_id=binding.id, role_id=here.other.id)
    assert same == read


def test_a_second_binding_conflicts_and_a_deleted_one_is_gone(admin, here, binding):
    with pytest.raises(ConflictException):
        admin.role_bindings.create(
            user_id=here.user.id, role_id=here.other.id, resource_type=PROJECT,
            resource_id=here.project.id,
        )
    admin.role_bindings.delete(binding_id=binding.id)
    for call in (admin.role_bindings.get, admin.role_bindings.delete):
        with pytest.raises(NotFoundException):
            call(binding_id=binding.id)


def test_250_bindings_come_in_pages_each_once(admin, here):
    user = new_user(admin, "paging@anvil.example")
    made = []
    for number in range(250):
        project = admin.projects.create(name=f"page {number}", space=here.space.id)
        made.append(admin.role_bindings.create(
            user_id=user.id, role_id=here.reader.id, resource_type=PROJECT,
            resource_id=project.id,
        ).id)
    for limit, sizes in [(100, [100, 100, 50]), (50, [50] * 5), (7, [7] * 35 + [5])]:
        seen, pages, cursor = [], [], None
        while True:
            page = admin.role_bindings.list(
                resource_type=PROJECT, user_id=user.id, limit=limit, cursor=cursor
            )
            pages.append(len(page.role_bindings))
            seen += [one.id for one in page.role_bindings]
            cursor = page.pagination.next_cursor
            assert page.pagination.has_more == (cursor is not None)
            if cursor is None:
                break
        assert (seen, pages) == (made, sizes)
    spaces = admin.role_bindings.list(resource_type=SPACE, user_id=user.id)
    assert spaces.role_bindings == []


JSON = {"Content-Type": "application/json"}


def test_what_is_wrong_is_refused_with_its_name_and_changes_nothing(scene, server, admin, here, binding):
    path = f"/v2/role-bindings/{binding.id}"
    good = {"role_id": here.other.id}
    forged = admin_id_with_wrong_check(binding.id)
    before = admin.role_bindings.get(binding_id=binding.id)
    cases = [
        (path, server.admin_key, good | {"user_id": here.user.id}, 400, "`user_id`"),
        (path, server.admin_key, {"role_id": here.space.id}, 400, "`role_id`"),
        (path, server.admin_key, {"role_id": 7}, 400, "`role_id`"),
        (path, server.admin_key, {"role_id": None}, 400, "`role_id`"),
        (path, server.admin_key, {}, 400, "`role_id`"),
        (path, server.admin_key, [here.other.id], 400, "object"),
        (path, server.admin_key, {"role_id": admin_id_with_wrong_check(here.other.id)}, 404, "role"),
        ("/v2/role-bindings/nonsense", server.admin_key, good, 400, "`binding_id`"),
        (f"/v2/role-bindings/{forged}", server.admin_key, good, 404, "role binding"),
        (path, scene.keys["stranger"], good, 404, "role binding"),
        (path, "ak-" + "x" * 40, good, 401, "Bearer"),
        (path, None, good, 401, "Bearer"),
    ]
    for target, key, body, status, named in cases:
        answer = Wire(server, key).send("PATCH", target, json.dumps(body).encode(), JSON)
        problem = answer.json()
        assert answer.status == status == problem["status"], (body, problem)
        assert answer.content_type == "application/problem+json"
        assert named in problem["detail"], problem
        assert problem["instance"] == target
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert (status == 401) == ("www-authenticate" in answer.headers)
        assert admin.role_bindings.get(binding_id=binding.id) == before


def admin_id_with_wrong_check(text):
    import base64

    plain = base64.b64decode(text).decode()
    swapped = "a" if plain[-1] != "a" else "b"
    return base64.b64encode((plain[:-1] + swapped).encode()).decode()


def test_bad_bodies_are_refused(server, here, binding):
    wire = Wire(server, server.admin_key)
    path = f"/v2/role-bindings/{binding.id}"
    role = json.dumps(here.other.id)
    for body, status in [
        (b"", 400), (b"{", 400), (b'{"role_id":"\xff"}', 400), (b'{"role_id":' + b"[" * 500, 400),
        (f'{{"role_id":{role},"role_id":{role}}}'.encode(), 400),
        (b'{"role_id":"' + b"x" * (1 << 20) + b'"}', 413),
    ]:
        answer = wire.send("PATCH", path, body, JSON)
        assert (answer.status, answer.json()["status"]) == (status, status), body[:40]
    plain = wire.send("PATCH", path, b"{}", {"Content-Type": "text/plain"})
    assert plain.status == 400 and "application/json" in plain.json()["detail"]


def test_a_role_counts_from_the_moment_the_change_is_answered(sdk, admin, here):
    """A service key can read a project only while its bot has the binding; it uses a separate connection."""
    from arize.api_keys.types import OrgBinding, SpaceBinding

    private = admin.spaces.create(
        name="Vault", organization_id=here.organization.id, is_private=True
    )
    elsewhere = admin.spaces.create(name="Beside", organization_id=here.organization.id)
    project = admin.projects.create(name="secret", space=private.id)
    key = admin.api_keys.create_service_key(
        name="exporter",
        orgs=[OrgBinding(
            org_id=here.organization.id, spaces=[SpaceBinding(space=elsewhere.id)]
        )],
    )
    bot = sdk(key.key)
    made = admin.role_bindings.create(
        user_id=key.bot_user.id, role_id=here.other.id, resource_type=PROJECT,
        resource_id=project.id,
    )
    for _ in range(20):
        with pytest.raises(NotFoundException):
            bot.projects.get(project=project.id)
        admin.role_bindings.update(binding_id=made.id, role_id=here.reader.id)
        assert bot.projects.get(project=project.id).name == "secret"
        admin.role_bindings.update(binding_id=made.id, role_id=here.other.id)
