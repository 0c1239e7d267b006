/** Where the server is, who calls, what the scene's names stand for, and the record of what was shown. */

import { appendFileSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { createClient } from "@arizeai/ax-client";

export type Client = ReturnType<typeof createClient>;
export type Arguments = Record<string, unknown>;

export interface Scenario {
  /** `operation: scenario`, as in `e2e/scenarios.tsv`. */
  name: string;
  operation: string;
  caller: string;
  arguments: Arguments;
  /** The refusal that is expected; null for pages. */
  status: number | null;
}

interface Setting {
  url: string;
  keys: Record<string, string>;
  names: Record<string, string>;
  scenarios: Scenario[];
}

function fromEnvironment(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run through e2e/python/with_scene.py`);
  return value;
}

const setting = JSON.parse(readFileSync(fromEnvironment("BINDERY_E2E_SETTING"), "utf8")) as Setting;
const record = fromEnvironment("BINDERY_E2E_RECORD");

export const { scenarios } = setting;

/** What a name of the scene stands for. */
export function named(name: string): string {
  const value = setting.names[name];
  if (value === undefined) throw new Error(`the scene has no ${name}`);
  return value;
}

/** The official client for a key. */
export function clientOf(key: string): Client {
  return createClient({ apiKey: key, baseUrl: setting.url });
}

/** The official client of one who calls. */
export function as(caller: string): Client {
  const key = setting.keys[caller];
  if (key === undefined) throw new Error(`there is no caller ${caller}`);
  return clientOf(key);
}

function note(what: "passed" | "failed" | "secret", value: string): void {
  appendFileSync(record, `${JSON.stringify({ [what]: value })}\n`);
}

/** Remembers a secret, to be looked for on the server's disk. */
export function saw(secret: string): string {
  note("secret", secret);
  return secret;
}

/** A test, and the scenarios that it shows; without a colon, an operation stands for its `ok`. */
export function shows(covered: string[], name: string, body: () => Promise<void>): void {
  test(name, async () => {
    const told = covered.map((one) => (one.includes(": ") ? one : `${one}: ok`));
    try {
      await body();
    } catch (problem) {
      told.forEach((one) => note("failed", one));
      throw problem;
    }
    told.forEach((one) => note("passed", one));
  });
}
