import subprocess
import sys


def test_a_package_of_the_same_name_is_refused_in_a_sentence(tmp_path):
    other = tmp_path / "landscape"
    other.mkdir()
    (other / "__init__.py").write_text('APP_NAME = "Landscape"\n')
    found = subprocess.run(
        [sys.executable, "-m", "landscape_cli", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 1
    assert found.stdout == ""
    error, hint = found.stderr.splitlines()
    assert (
        error
        == f"Error: the package `landscape` in {other}/__init__.py is not landscape-toolkit's."
    )
    assert hint.startswith("Hint: another distribution has the same name. Run `pip uninstall")
