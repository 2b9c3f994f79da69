import inspect
import subprocess
import sys
import textwrap

import pytest

from landscape.registry import make_callable


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The name of a package whose module `answers` has a function."""
    folder = tmp_path / "a_package"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""A package."""\n')
    (folder / "answers.py").write_text(
        textwrap.dedent('''
            """Answers."""
            def answer(question: str, *, times: int = 1) -> list[str]:
                """Answer a question."""
                return [question] * times
        ''')
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "a_package"
    for name in ("a_package", "a_package.answers"):
        sys.modules.pop(name, None)


def test_a_callable_package_is_its_function_and_still_a_package(package):
    __import__(package)
    make_callable(package, "a_package.answers:answer")
    assert "a_package.answers" not in sys.modules
    called = sys.modules[package]
    assert called("why", times=2) == ["why", "why"]
    assert str(inspect.signature(called)) == "(question: str, *, times: int = 1) -> list[str]"
    assert inspect.getdoc(called) == "Answer a question."
    assert called.answers.answer is sys.modules["a_package.answers"].answer


def test_a_wrong_argument_of_a_callable_package_is_named(package):
    __import__(package)
    make_callable(package, "a_package.answers:answer")
    with pytest.raises(TypeError, match=r"answer\(\) got an unexpected keyword argument 'time'"):
        sys.modules[package]("why", time=2)


def test_the_front_page_imports_nothing_heavy():
    code = "import sys, landscape; dir(landscape); print([n for n in sys.modules if n == 'torch'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
