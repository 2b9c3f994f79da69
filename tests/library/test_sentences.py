"""The library speaks Python; what a command line takes is the command line's matter."""

import ast
import re
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "landscape"
WRITE_COMMAND_LINES = ("study/execute.py", "report/page.py")


def _texts(tree):
    """Yield the line and the text of each string that is no docstring."""
    described = ast.Module | ast.ClassDef | ast.FunctionDef
    docstrings = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, described) and n.body
                  and isinstance(n.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.lineno, node.value


def test_no_sentence_of_the_library_names_an_option_of_the_command_line():
    found = [
        f"{path.relative_to(LIBRARY)}:{line}: {text}"
        for path in sorted(LIBRARY.rglob("*.py"))
        if path.relative_to(LIBRARY).as_posix() not in WRITE_COMMAND_LINES
        for line, text in _texts(ast.parse(path.read_text()))
        if re.search(r"(?<![\w-])--[a-z]", text)
    ]
    assert found == []
