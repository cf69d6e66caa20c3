"""The services and servers that a command needs: each is a package of its own, and one that is missing is named with what to install."""

import sys
from importlib.util import find_spec
from runpy import run_module


def run_service(name: str) -> None:
    """Run a service in this process, as `python -m waggle_…` does. Exits with code 2 when it is not installed."""
    require(f"waggle {name}", name, f"waggle_{name}")
    run_module(f"waggle_{name}", run_name="__main__", alter_sys=True)


def require(command: str, extra: str, *modules: str) -> None:
    """Exits with code 2 and one line when a module is missing; `extra` is the one of `waggle` that brings them."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        print(f"{command}: not installed: {', '.join(missing)}; run `pip install 'waggle[{extra}]'`", file=sys.stderr)
        sys.exit(2)
