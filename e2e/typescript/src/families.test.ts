/** What users of the official TypeScript client do, family by family, with what they get back. */

import assert from "node:assert/strict";

import * as ax from "@arizeai/ax-client";

import { as, clientOf, named, saw, shows } from "./setting.js";

const client = as("admin");

async function newUser(name: string, inviteMode: ax.InviteMode = "NONE"): Promise<ax.User | ax.UserCreated> {
  const email = `${name.replaceAll(" ", ".")}@ts.example`;
  return ax.createUser({ client, name, email, role: { type: "PREDEFINED", name: "MEMBER" }, inviteMode });
}

async function gone(call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, ax.NotFoundError);
}

function isMoment(value: Date): boolean {
  return value instanceof Date && !Number.isNaN(value.getTime());
}

shows(
  ["list_role_bindings", "create_role_binding", "get_role_binding", "update_role_binding", "delete_role_binding"],
  "a role binding is made, changed and ended",
  async () => {
    const { id: userId } = await newUser("bound");
    const resource = { resourceType: "PROJECT", resourceId: named("checkout") } as const;
    const made = await ax.createRoleBinding({ client, userId, roleId: named("reader"), ...resource });
    assert.deepEqual(await ax.getRoleBinding({ client, bindingId: made.id }), made);
    assert.deepEqual(made.createdAt, made.updatedAt);
    const changed = await ax.updateRoleBinding({ client, bindingId: made.id, roleId: named("blind") });
    assert.deepEqual(changed, { ...made, roleId: named("blind"), updatedAt: changed.updatedAt });
    assert.ok(changed.updatedAt > made.updatedAt);
    const listed = await ax.listRoleBindings({ client, resourceType: "PROJECT", userId });
    assert.deepEqual(listed.data, [changed]);
    await ax.deleteRoleBinding({ client, bindingId: made.id });
    await gone(ax.getRoleBinding({ client, bindingId: made.id }));
  },
);

shows(
  ["list_roles", "create_role", "get_role", "update_role", "delete_role"],
  "a role is made, changed and deleted",
  async () => {
    const made = await ax.createRole({ client, name: "TS", permissions: ["MONITOR_READ"], description: "d" });
    assert.ok(isMoment(made.createdAt) && !made.isPredefined && made.description === "d");
    const at = { client, roleId: made.id };
    assert.deepEqual(await ax.getRole(at), made);
    const renamed = await ax.updateRole({ ...at, name: "TS 2" });
    assert.deepEqual([renamed.name, renamed.description], ["TS 2", "d"]);
    const replaced = await ax.updateRole({ ...at, permissions: ["PROJECT_READ"] });
    assert.deepEqual(replaced.permissions, ["PROJECT_READ"]);
    const customs = (await ax.listRoles({ client, isPredefined: false, limit: 100 })).data;
    assert.ok(customs.some((role) => role.id === made.id) && !customs.some((role) => role.isPredefined));
    assert.equal((await ax.listRoles({ client, isPredefined: true })).data.length, 7);
    await ax.deleteRole(at);
    await gone(ax.getRole(at));
  },
);

shows(
  ["list_resource_restrictions", "create_resource_restriction", "delete_resource_restriction"],
  "a restriction hides a project until it is lifted",
  async () => {
    const at = { client, resourceId: named("search") };
    const made = await ax.restrictResource(at);
    assert.deepEqual(await ax.restrictResource(at), made);
    const listed = await ax.listResourceRestrictions({ client, resourceType: "PROJECT", limit: 100 });
    assert.ok(listed.data.some((one) => one.resourceId === at.resourceId));
    await gone(ax.getProject({ client: as("worker"), project: at.resourceId }));
    await ax.unrestrictResource(at);
    assert.equal((await ax.getProject({ client: as("worker"), project: at.resourceId })).id, at.resourceId);
  },
);

shows(
  ["list_users", "create_user", "get_user", "update_user", "delete_user"],
  "a user is made, changed and deleted, and developer access is the creator's to give",
  async () => {
    const made = await ax.createUser({
      client, name: "ts user", email: "ts.user@ts.example", role: { type: "PREDEFINED", name: "MEMBER" },
      inviteMode: "NONE", isDeveloper: false,
    });
    assert.ok("inviteMode" in made && made.inviteMode === "NONE");
    assert.deepEqual([made.status, made.isDeveloper], ["ACTIVE", false]);
    const at = { client, userId: made.id };
    const changed = await ax.updateUser({ ...at, name: "New", isDeveloper: true });
    assert.deepEqual([changed.name, changed.isDeveloper], ["New", true]);
    assert.deepEqual(await ax.getUser(at), changed);
    const listed = await ax.listUsers({ client, email: "TS.USER", status: ["ACTIVE", "INVITED"] });
    assert.deepEqual(listed.data, [changed]);
    await ax.deleteUser(at);
    await gone(ax.getUser(at));
  },
);

shows([], "users are deleted in bulk by id and by email", async () => {
  const [first, second] = [await newUser("bulk one"), await newUser("bulk two")];
  const emails = ["BULK.two@ts.example", "bulk.none@ts.example"];
  const results = await ax.bulkDeleteUsers({ client, userIds: [first.id], emails });
  const told = new Map(results.map((one) => [one.userId, one.status]));
  assert.deepEqual(told, new Map([["", "not_found"], [first.id, "deleted"], [second.id, "deleted"]]));
});

shows(
  ["create_user: ok pending", "create_user: ok temporary password", "resend_user_invitation", "reset_user_password"],
  "a new invitation and a pending one are told apart",
  async () => {
    const made = await newUser("ts invited", "EMAIL_LINK");
    assert.ok("inviteMode" in made && made.status === "INVITED");
    const again = await newUser("ts invited", "EMAIL_LINK");
    assert.ok(!("inviteMode" in again) && again.id === made.id);
    await ax.resendInvitation({ client, userId: made.id });
    const password = await newUser("ts password", "TEMPORARY_PASSWORD");
    assert.ok("inviteMode" in password && password.inviteMode === "TEMPORARY_PASSWORD");
    assert.ok(saw(password.temporaryPassword).length >= 8);
    await ax.resetPassword({ client, userId: (await newUser("ts reset")).id });
  },
);

shows(
  [
    "list_organizations", "create_organization", "get_organization", "update_organization", "delete_organization",
    "add_organization_user", "remove_organization_user",
  ],
  "an organization takes members and goes with all of it",
  async () => {
    const made = await ax.createOrganization({ client, name: "TS Works" });
    assert.ok(made.description === "" && isMoment(made.createdAt));
    assert.deepEqual(await ax.getOrganization({ client, organization: "TS Works" }), made);
    const changed = await ax.updateOrganization({ client, organization: "TS Works", description: "d" });
    assert.deepEqual(changed, { ...made, description: "d" });
    assert.deepEqual((await ax.listOrganizations({ client, name: "ts w" })).data, [changed]);
    const member = { client, organizationId: made.id, userId: (await newUser("ts member")).id };
    const first = await ax.addOrganizationUser({ ...member, role: { type: "PREDEFINED", name: "READ_ONLY" } });
    const second = await ax.addOrganizationUser({ ...member, role: { type: "PREDEFINED", name: "ADMIN" } });
    assert.deepEqual(second, { ...first, role: { type: "PREDEFINED", name: "ADMIN" } });
    await ax.removeOrganizationUser(member);
    await gone(ax.removeOrganizationUser(member));
    const space = await ax.createSpace({ client, name: "TS inside", organizationId: made.id });
    await ax.deleteOrganization({ client, organization: made.id });
    await gone(ax.getSpace({ client, space: space.id }));
  },
);

shows(
  [
    "list_spaces", "create_space", "get_space", "update_space", "delete_space", "add_space_user", "remove_space_user",
    "add_space_user: ok custom",
  ],
  "a space is found by name and gives its members their role",
  async () => {
    const organizationId = named("acme");
    const made = await ax.createSpace({ client, name: "TS Space", organizationId, isPrivate: true });
    assert.deepEqual(await ax.getSpace({ client, space: "TS Space" }), made);
    const changed = await ax.updateSpace({ client, space: "TS Space", description: "d", isPrivate: false });
    assert.deepEqual([changed.id, changed.description, changed.isPrivate], [made.id, "d", false]);
    assert.deepEqual((await ax.listSpaces({ client, organizationId, name: "ts S" })).data, [changed]);
    const member = { client, spaceId: made.id, userId: named("worker") };
    const predefined = await ax.addSpaceUser({ ...member, role: { type: "PREDEFINED", name: "MEMBER" } });
    assert.deepEqual(predefined.role, { type: "PREDEFINED", name: "MEMBER" });
    const custom = await ax.addSpaceUser({ ...member, role: { type: "CUSTOM", id: named("reader") } });
    assert.deepEqual(custom.role, { type: "CUSTOM", id: named("reader"), name: "Reader" });
    await ax.removeSpaceUser(member);
    await gone(ax.removeSpaceUser(member));
    await ax.deleteSpace({ client, space: "TS Space" });
    await gone(ax.getSpace({ client, space: made.id }));
  },
);

shows(
  ["list_projects", "create_project", "get_project", "update_project", "delete_project"],
  "a project is found by the names of its space and its own",
  async () => {
    const made = await ax.createProject({ client, name: "ts project", space: "Staging" });
    const at = { client, project: "ts project", space: "Staging" };
    assert.deepEqual(await ax.getProject(at), made);
    const renamed = await ax.updateProject({ ...at, name: "ts project 2" });
    assert.deepEqual(renamed, { ...made, name: "ts project 2" });
    for (const filters of [{ space: made.spaceId }, { space: "stag" }, { name: "PROJECT 2" }]) {
      const listed = await ax.listProjects({ client, ...filters });
      assert.ok(listed.data.some((one) => one.id === made.id), JSON.stringify(filters));
    }
    await ax.deleteProject({ client, project: "ts project 2", space: "Staging" });
    await gone(ax.getProject({ client, project: made.id }));
  },
);

shows(
  ["list_api_keys", "create_api_key", "refresh_api_key", "refresh_api_key: ok grace", "revoke_api_key"],
  "a user's key is renewed with and without grace, and revoked",
  async () => {
    const expiresAt = new Date(Date.now() + 86_400_000);
    const made = await ax.createApiKey({ client, keyType: "USER", name: "ts key", description: "d", expiresAt });
    assert.deepEqual([made.expiresAt, made.description], [expiresAt, "d"]);
    const spacesBy = async (key: string) => ax.listSpaces({ client: clientOf(key) });
    const at = { client, apiKeyId: made.id, expiresAt };
    const graced = await ax.refreshApiKey({ ...at, gracePeriodSeconds: 60 });
    assert.equal(graced.id, made.id);
    assert.deepEqual(await spacesBy(saw(made.key)), await spacesBy(saw(graced.key)));
    const last = await ax.refreshApiKey(at);
    await spacesBy(saw(last.key));
    for (const dead of [made, graced]) await assert.rejects(spacesBy(dead.key), ax.AuthenticationError);
    await ax.revokeApiKey({ client, apiKeyId: made.id });
    await assert.rejects(spacesBy(last.key), ax.AuthenticationError);
    const revoked = await ax.listApiKeys({ client, keyType: "USER", status: "REVOKED", limit: 100 });
    assert.ok(revoked.data.some((one) => one.id === made.id && one.redactedKey === last.redactedKey));
  },
);

shows(["create_api_key: ok service"], "a service key is bound to places with resolved roles", async () => {
  const made = await ax.createApiKey({
    client, keyType: "SERVICE", name: "ts bot",
    organizations: [{
      orgId: named("acme"),
      spaces: [{ spaceId: named("production") }, { spaceId: named("closed"), role: { id: named("reader") } }],
    }],
  });
  const place = made.botUser?.organizations[0];
  assert.deepEqual(place?.spaces.map((one) => (one.role as { name?: string }).name), ["MEMBER", "Reader"]);
  const hidden = await ax.getProject({ client: clientOf(saw(made.key)), project: named("hidden") });
  assert.equal(hidden.name, "hidden");
  const listed = await ax.listApiKeys({ client, spaceId: named("closed") });
  assert.ok(listed.data.some((one) => one.id === made.id && one.keyType === "SERVICE"));
});

shows(["list_audit_logs"], "the audit log tells who did what", async () => {
  const startTime = new Date();
  const role = await ax.createRole({ client, name: "TS audited", permissions: ["MONITOR_READ"] });
  await ax.deleteRole({ client, roleId: role.id });
  const { data } = await ax.listAuditLogs({ client, startTime, userId: named("admin"), operationType: "MUTATION" });
  assert.deepEqual(data.map((one) => one.operationName), ["delete_role", "create_role"]);
  assert.ok(data.every((one) => one.ip === "127.0.0.1" && isMoment(one.createdAt)));
});
