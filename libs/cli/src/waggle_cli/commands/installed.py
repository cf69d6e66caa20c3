"""The services and servers that a command needs. Each is a package of its own; a missing one is named, with what to install."""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from runpy import run_module


def run_service(name: str) -> None:
    """Run a service in this process, as `python -m waggle_…` does. Exits with code 2 if it is not installed."""
    require(f"waggle {name}", f"waggle[{name}]", f"waggle_{name}")
    run_module(f"waggle_{name}", run_name="__main__", alter_sys=True)


def require(command: str, requirement: str, *modules: str) -> None:
    """Exit with code 2 and one line if a module is not installed; `requirement` is what brings them, for pip."""
    if sentence := missing(command, requirement, *modules):
        print(sentence, file=sys.stderr)
        sys.exit(2)


def missing(command: str, requirement: str, *modules: str, installed: Callable[[str], bool] = lambda module: find_spec(module) is not None) -> str | None:
    """The sentence about modules that are not installed; None if all are."""
    lacking = [module for module in modules if not installed(module)]
    return f"{command}: not installed: {', '.join(lacking)}; install `{requirement}`" if lacking else None
