/** Every refusal through the official TypeScript client, and every list in pages. */

import assert from "node:assert/strict";

import * as ax from "@arizeai/ax-client";

import { calls } from "./calls.js";
import { as, scenarios, shows } from "./setting.js";
import type { Arguments, Scenario } from "./setting.js";

const ERRORS = new Map<number, new (...given: never[]) => Error & { statusCode: number }>([
  [400, ax.BadRequestError],
  [401, ax.AuthenticationError],
  [403, ax.AuthorizationError],
  [404, ax.NotFoundError],
]);

function call({ operation, caller, arguments: given }: Scenario, more: Arguments = {}): Promise<unknown> {
  const made = calls[operation];
  assert.ok(made, `no call for ${operation}`);
  return made(as(caller), { ...given, ...more });
}

for (const scenario of scenarios.filter((one) => one.status !== null)) {
  const { name, status } = scenario;
  shows([name], `a refusal is the error of its status: ${name}`, async () => {
    const kind = ERRORS.get(status ?? 0) ?? ax.APIError;
    await assert.rejects(call(scenario), (error: unknown) => {
      assert.ok(error instanceof kind, String(error));
      assert.equal(error.statusCode, status);
      assert.match(error.message, new RegExp(`\\(HTTP ${status}\\): (?!Unknown error)\\S`));
      return true;
    });
  });
}

type Entry = { id?: string; resourceId?: string };

for (const scenario of scenarios.filter((one) => one.status === null)) {
  shows([scenario.name], `pages are the whole list: ${scenario.name}`, async () => {
    const page = async (more: Arguments) => {
      const { data, pagination } = (await call(scenario, more)) as ax.PaginatedResponse<Entry>;
      // A restriction has no id of its own.
      const keys = data.map((one) => one.id ?? one.resourceId);
      assert.ok(keys.every((one) => typeof one === "string"));
      return { keys, pagination };
    };
    const whole = await page({ limit: 100 });
    assert.ok(whole.keys.length >= 7 && !whole.pagination.hasMore);
    const seen: unknown[] = [];
    let cursor: string | undefined;
    do {
      const { keys, pagination } = await page({ limit: 3, cursor });
      seen.push(...keys);
      assert.equal(pagination.hasMore, pagination.nextCursor !== undefined);
      if (pagination.hasMore) assert.equal(keys.length, 3);
      cursor = pagination.nextCursor;
    } while (cursor !== undefined);
    assert.deepEqual(seen, whole.keys);
  });
}
