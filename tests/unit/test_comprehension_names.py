"""A comprehension's variable never has the name of a variable of an outer function.

From Python 3.12 on a comprehension is part of the function around it (PEP 709). Where that function also uses the outer variable, it raises
UnboundLocalError; Python 3.11 runs it, and linters are silent.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("libs", "services", "clients", "tests", "bench", "examples", "docs")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def test_no_comprehension_hides_a_variable_of_an_outer_function() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts]
    assert len(files) > 100
    assert [f"{path.relative_to(ROOT)}:{line}: {name}" for path in files for line, name in hidden(ast.parse(path.read_text()))] == []


def test_the_check_finds_what_breaks_and_passes_what_does_not() -> None:
    breaks = "def outer(value):\n  def inner(values):\n    parts = [value for value in values]\n    return [value(p) for p in parts]\n"
    assert list(hidden(ast.parse(breaks))) == [(3, "value")]
    assert list(hidden(ast.parse("def outer(value):\n  return [value for value in 'ab']\n"))) == []


def hidden(tree: ast.AST, outer: frozenset[str] = frozenset(), own: frozenset[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """Line and name of each variable of a comprehension that a function around its own function binds too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, COMPREHENSIONS):
            names = {found for generator in node.generators for found in _stored(generator.target)}
            yield from ((node.lineno, name) for name in sorted(names & (outer - own)))
        if isinstance(node, FUNCTIONS):
            yield from hidden(node, outer | own, frozenset(_bound(node)))
        else:
            yield from hidden(node, outer, own)


def _bound(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Iterator[str]:
    """The function's parameters and what it assigns; what its inner functions and comprehensions bind is theirs."""
    arguments = function.args
    yield from (each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg) if each)
    for node in [function.body] if isinstance(function, ast.Lambda) else function.body:
        yield from _stored(node)


def _stored(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif not isinstance(node, (ast.Lambda, *COMPREHENSIONS)):
        for child in ast.iter_child_nodes(node):
            yield from _stored(child)
