"""Compares `e2e/scenarios.tsv` with what the suites have shown: `coverage_check.py DIRECTORY`, as they wrote it there.

Prints operations x clients, then each gap; a gap is a scenario that no passing test of a client shows, and for which
the list has no reason. The last line counts the complete operations, like a test runner.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from scenarios import CLIENTS, Scenario, read
from wire import OPERATIONS

NAMES = {"python": "Python", "cli": "CLI", "typescript": "TypeScript", "raw": "raw HTTP"}


def shown_by(directory: Path, client: str) -> set[str]:
    """Nothing, if the suite ended before it recorded anything."""
    told = directory / f"{client}.json"
    return set(json.loads(told.read_text())) if told.exists() else set()


def cell(scenarios: list[Scenario], client: str, shown: set[str]) -> str:
    due = [one for one in scenarios if client not in one.excused]
    if not due:
        return "the client has none"
    done = sum(str(one) in shown for one in due)
    excused = len(scenarios) - len(due)
    return f"{done}/{len(due)}" + (f" (not {excused})" if excused else "") + ("" if done == len(due) else " GAP")


def main(directory: Path) -> int:
    scenarios = read()
    shown = {client: shown_by(directory, client) for client in CLIENTS}
    unlisted = [name for names in shown.values() for name in names - {str(one) for one in scenarios}]
    print("| operation | " + " | ".join(NAMES[client] for client in CLIENTS) + " |")
    print("|---|" + "---|" * len(CLIENTS))
    whole = 0
    for operation in OPERATIONS:
        own = [one for one in scenarios if one.operation == operation]
        cells = [cell(own, client, shown[client]) for client in CLIENTS]
        whole += not any("GAP" in one for one in cells)
        print(f"| {operation} | " + " | ".join(cells) + " |")
    print("Scenarios shown by a passing test / scenarios that the client can be asked for.")
    for reason in sorted({f"{NAMES[client]}: {why}" for one in scenarios for client, why in one.excused.items()}):
        print(f"(not) {reason}")
    for one in scenarios:
        for client in CLIENTS:
            if client not in one.excused and str(one) not in shown[client]:
                print(f"GAP {NAMES[client]}: {one}")
            if client in one.excused and str(one) in shown[client]:
                unlisted.append(f"{one}, which {NAMES[client]} is said not to have")
    for name in unlisted:
        print(f"UNLISTED {name}")
    broken = len(OPERATIONS) - whole + len(unlisted)
    print(f"{whole} passed, {broken} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
