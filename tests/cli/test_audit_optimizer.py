import pytest

SOURCE = """
from landscape.optim import SAM

class Halved(SAM):
    def __init__(self, params, base, **options):
        super().__init__(params, base, **options)
        self.rho_factor = 0.5

class Plain:
    def __init__(self, params, lr):
        self.lr = lr

print("imported")
number = 3
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "my_optimizers.py"
    path.write_text(SOURCE)
    return path


def test_a_sound_class_passes(run):
    answer = run("audit-optimizer", "landscape.optim:SAM")
    assert answer.code == 0
    assert answer.out.startswith("landscape.optim:SAM")
    assert "each step is step(closure)" in answer.out
    assert answer.out.splitlines()[-1] == "27 passed, 0 failed, 0 not applicable."


def test_a_faulty_class_of_a_file_exits_with_1_and_says_what_should_hold(run, source):
    answer = run("audit-optimizer", f"{source}:Halved")
    assert answer.code == 1
    assert "Failed quadratic: SAM on a quadratic follows the closed form." in answer.out
    assert "imported" not in answer.out
    assert answer.err == "imported\n"


def test_json_is_one_object_with_a_row_for_every_trap(run, source):
    found = run("audit-optimizer", f"{source}:Halved", "--json").json
    assert found["optimizer"] == f"{source}:Halved"
    assert found["built"] == "Halved(params, base class, rho=..., **base options)"
    assert found["passed"] + found["failed"] + found["not_applicable"] == len(found["traps"])
    (row,) = [row for row in found["traps"] if row["trap"] == "quadratic"]
    assert row["result"] == "failed"
    assert set(row) == {"trap", "claim", "result", "measured"}


@pytest.mark.parametrize(
    ("optimizer", "message", "hint"),
    [
        ("SAM", "must be an import string, got 'SAM'", "path/to/file.py:Class"),
        ("{source}:Missing", "has no 'Missing'", "It has: Halved, Plain."),
        ("landscape.optim:Missing", "has no 'Missing'", "It has: GSAM,"),
        ("no_such_module:SAM", "there is no module no_such_module", "Install it"),
        ("{source}x.py:SAM", "there is no file", ""),
        ("{source}:number", "number must be callable, it is a int", ""),
        ("{source}:Plain", "must take rho, Plain does not", "of your own that builds it"),
    ],
)
def test_what_cannot_be_audited_is_said_in_a_sentence(run, source, optimizer, message, hint):
    answer = run("audit-optimizer", optimizer.format(source=source))
    assert answer.code == 2
    assert answer.out == ""
    assert message in answer.err
    assert hint in answer.err
