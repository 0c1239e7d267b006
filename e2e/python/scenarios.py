"""Reads `e2e/scenarios.tsv`: what every suite must show, and the requests for it."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from wire import OPERATIONS

FILE = Path(__file__).parent.parent / "scenarios.tsv"
CLIENTS = ("python", "cli", "typescript", "raw")


@dataclass(frozen=True)
class Scenario:
    operation: str
    name: str
    caller: str
    arguments: str
    # Client -> why it has no such test.
    excused: dict[str, str]

    @property
    def status(self) -> int | None:
        """The expected refusal; none for `ok…` and `pages`."""
        word = self.name.split()[0]
        return int(word) if word.isdigit() else None

    @property
    def is_pages(self) -> bool:
        return self.name == "pages"

    def resolve(self, names: dict[str, str]):
        return filled(json.loads(self.arguments), names)

    def __str__(self) -> str:
        return f"{self.operation}: {self.name}"


def filled(value, names: dict[str, str]):
    if isinstance(value, dict):
        return {name: filled(one, names) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, names) for one in value]
    if isinstance(value, str) and value.startswith("$"):
        return names[value[1:]]
    return value


def read() -> list[Scenario]:
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    scenarios: list[Scenario] = []
    for row in rows:
        operation = row["operation"] or scenarios[-1].operation
        arguments = row["arguments"]
        if arguments == '"':
            arguments = scenarios[-1].arguments
        excused = {client: row[client] for client in CLIENTS if row.get(client)}
        scenarios.append(Scenario(operation, row["scenario"], row["as"], arguments or "{}", excused))
    said = [(one.operation, one.name) for one in scenarios]
    assert len(said) == len(set(said)), "a scenario is listed twice"
    assert {one.operation for one in scenarios} == set(OPERATIONS), "an operation is missing or unknown"
    return scenarios


def for_client(client: str) -> list[Scenario]:
    return [one for one in read() if client not in one.excused]
