"""Runs the official `ax` in a fresh process for each command line, forked from one that has its imports behind it.

`ax` takes seconds to import and a moment to run. What is forked is the program's own entry point, unchanged: its words
come in as `sys.argv`, its exit code and both streams are its own. One line of JSON comes in for each, and one goes out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

import arize._generated.api_client  # noqa: F401  what every command loads next
from ax.cli import app


def run(words: list[str]) -> dict[str, object]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ["ax", *words]
            code = 70
            try:
                app()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "out": out.read().decode(),
            "err": err.read().decode(),
        }


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
