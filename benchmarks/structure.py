"""Measure the structure of the source: size, functions, long files, names and circles of imports.

    python benchmarks/structure.py [CHECKOUT]

Prints a Markdown table. Nothing is imported; everything is read from the syntax trees.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"landscape": "landscape", "landscape_cli": "cli"}
LONG_FILE = 400
LONG_LINE = 100
FILES_OF_A_COMMAND = ("command", "options", "run", "summary")
"""What every folder of a large command has."""


def module_files(packages: Mapping[str, str] = PACKAGES) -> dict[str, Path]:
    """Return dotted module name -> file."""
    found = {}
    for package, folder in packages.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def count_statements(tree: ast.AST) -> int:
    """Count statements, docstrings apart."""
    return sum(isinstance(node, ast.stmt) and not _is_text(node) for node in ast.walk(tree))


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def function_lengths(tree: ast.AST) -> Iterator[int]:
    """Yield the number of lines of every function, its docstring apart."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = node.body[0] if _is_text(node.body[0]) else None
            docstring = 0 if text is None else text.end_lineno - text.lineno + 1
            yield node.end_lineno - node.lineno + 1 - docstring


def imported_modules(name: str, path: Path, tree: ast.AST, known: Mapping[str, Path]) -> set[str]:
    """Return the modules of ours that a module imports, those under TYPE_CHECKING included."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = above[: len(above) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            parts = {f"{source}.{alias.name}" for alias in node.names}
            found |= parts if parts <= set(known) else {source, *parts}
    return {other for other in found if other in known} - {name}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one node, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], index[other])
        if lowest[node] == index[node]:
            start = stack.index(node)
            component = sorted(stack[start:])
            del stack[start:]
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield kind and name of every public class and function at the top level."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield ("class" if isinstance(node, ast.ClassDef) else "function"), node.name


def front_page_names(tree: ast.Module) -> list[str]:
    """Return what `__all__` of a module lists."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def names_with_two_meanings(trees: Mapping[str, ast.Module]) -> dict[str, list[str]]:
    """Return kind -> names that several modules of the library or the command line define.

    By design these share a name: a command and the package or function that it calls, a file of
    results and its room, a package and its main module.
    """
    places: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, tree in trees.items():
        package, *rooms = name.split(".")
        last = rooms.pop() if rooms else package
        for kind, defined in public_definitions(tree):
            places[f"{kind} of {package}", defined].add(name)
        is_shared = rooms and (rooms[0] == "results" or rooms[-1] == last)
        if not is_shared and last not in FILES_OF_A_COMMAND:
            places[f"module of {package}", last].add(name)
    doubled = defaultdict(list)
    for (kind, name), where in sorted(places.items()):
        if len(where) > 1:
            doubled[kind.partition(" of ")[0]].append(name)
    return doubled


def _listed(names: list[str]) -> str:
    """Return how many names there are, and which."""
    return f"{len(names)}: {', '.join(names)}".rstrip(": ")


def measure() -> dict[str, str]:
    """Return what is measured -> its value, as text."""
    files = module_files()
    trees = {name: ast.parse(path.read_text()) for name, path in files.items()}
    lines = {name: path.read_text().splitlines() for name, path in files.items()}
    lengths = [length for tree in trees.values() for length in function_lengths(tree)]
    graph = {name: imported_modules(name, files[name], tree, files) for name, tree in trees.items()}
    doubled = names_with_two_meanings(trees)
    long_files = sorted(name for name, text in lines.items() if len(text) > LONG_FILE)
    upper = quantiles(lengths, n=10)[-1]
    num_long = sum(len(line) > LONG_LINE for line in chain(*lines.values()))
    num_public = sum(len(list(public_definitions(tree))) for tree in trees.values())
    flat = [name for name, path in files.items() if path.parent == ROOT / "landscape"]
    return {
        "files": f"{len(files)}",
        "lines": f"{sum(map(len, lines.values())):,}",
        f"lines longer than {LONG_LINE}": f"{num_long:,}",
        "statements, docstrings apart": f"{sum(map(count_statements, trees.values())):,}",
        "functions": f"{len(lengths):,}",
        "lines of a function: median, 90 %": f"{median(lengths):g}, {upper:g}",
        f"files over {LONG_FILE} lines": _listed(long_files),
        "modules in landscape/ itself": f"{len(flat)}",
        "names on the front page": f"{len(front_page_names(trees['landscape']))}",
        "public classes and functions": f"{num_public:,}",
        **{
            f"{kind} names with two meanings": _listed(doubled[kind])
            for kind in ("module", "class", "function")
        },
        "circles of imports": f"{len(circles(graph))}",
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ROOT = Path(sys.argv[1]).resolve()
    print("| measure | value |\n|---|---|")
    for measure_name, value in measure().items():
        print(f"| {measure_name} | {value} |")
