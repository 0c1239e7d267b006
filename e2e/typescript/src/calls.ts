/** Each operation of the scenario list as a call of the official TypeScript client. */

import * as ax from "@arizeai/ax-client";

import type { Arguments, Client } from "./setting.js";

type Call = (client: Client, given: Arguments) => Promise<unknown>;

function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function inCamel(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inCamel);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [camel(name), inCamel(one)]));
}

/** `sdk` with the arguments under its names: those of the wire in camel case, unless `names` says otherwise. */
function call<P>(sdk: (params: P) => Promise<unknown>, names: Record<string, string> = {}): Call {
  return (client, given) => {
    const params: Arguments = { client };
    for (const [name, value] of Object.entries(given)) params[names[name] ?? camel(name)] = inCamel(value);
    // The list's arguments are data: what the compiler can't know, the server's answer tells.
    return sdk(params as unknown as P);
  };
}

const ORGANIZATION = { org_id: "organization" };
const MEMBER = { org_id: "organizationId" };
const SPACE = { space_id: "space" };
const PROJECT = { project_id: "project", space_id: "space" };

export const calls: Record<string, Call> = {
  list_role_bindings: call(ax.listRoleBindings),
  create_role_binding: call(ax.createRoleBinding),
  get_role_binding: call(ax.getRoleBinding),
  update_role_binding: call(ax.updateRoleBinding),
  delete_role_binding: call(ax.deleteRoleBinding),
  list_roles: call(ax.listRoles),
  create_role: call(ax.createRole),
  get_role: call(ax.getRole),
  update_role: call(ax.updateRole),
  delete_role: call(ax.deleteRole),
  list_resource_restrictions: call(ax.listResourceRestrictions),
  create_resource_restriction: call(ax.restrictResource),
  delete_resource_restriction: call(ax.unrestrictResource),
  list_users: call(ax.listUsers),
  create_user: call(ax.createUser),
  get_user: call(ax.getUser),
  update_user: call(ax.updateUser),
  delete_user: call(ax.deleteUser),
  resend_user_invitation: call(ax.resendInvitation),
  reset_user_password: call(ax.resetPassword),
  list_organizations: call(ax.listOrganizations),
  create_organization: call(ax.createOrganization),
  get_organization: call(ax.getOrganization, ORGANIZATION),
  update_organization: call(ax.updateOrganization, ORGANIZATION),
  delete_organization: call(ax.deleteOrganization, ORGANIZATION),
  add_organization_user: call(ax.addOrganizationUser, MEMBER),
  remove_organization_user: call(ax.removeOrganizationUser, MEMBER),
  list_spaces: call(ax.listSpaces, MEMBER),
  create_space: call(ax.createSpace),
  get_space: call(ax.getSpace, SPACE),
  update_space: call(ax.updateSpace, SPACE),
  delete_space: call(ax.deleteSpace, SPACE),
  add_space_user: call(ax.addSpaceUser),
  remove_space_user: call(ax.removeSpaceUser),
  list_projects: call(ax.listProjects, PROJECT),
  create_project: call(ax.createProject, PROJECT),
  get_project: call(ax.getProject, PROJECT),
  update_project: call(ax.updateProject, PROJECT),
  delete_project: call(ax.deleteProject, PROJECT),
  list_api_keys: call(ax.listApiKeys),
  create_api_key: call(ax.createApiKey),
  refresh_api_key: call(ax.refreshApiKey),
  revoke_api_key: call(ax.revokeApiKey),
  list_audit_logs: call(ax.listAuditLogs),
};
