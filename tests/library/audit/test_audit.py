import math
import re
import warnings

import pytest
import sam_classes
import torch
from sam_classes import Naive
from torch.optim import SGD

from landscape.audit.suite import TRAPS, AuditReport, Row, audit_optimizer
from landscape.errors import InputError
from landscape.optim import SAM

# Trap -> a class that falls into it, and what the audit measures.
FAULTS = {
    "quadratic": (sam_classes.TwiceAsFar, r"0\.\d+ from the closed form"),
    "adam": (sam_classes.LeavesAMark, "raised KeyError"),
    "adaptive": (sam_classes.IgnoresEta, r"0\.\d+ from the closed form"),
    "other norms": (sam_classes.IgnoresTheNorm, r"p = inf: 0\.\d+ from"),
    "rho = 0": (sam_classes.NeverZero, r"0\.\d+ from SGD"),
    "rho per group": (Naive, "neither: moves of 0.0493 and 0.0842"),
    "exact return": (sam_classes.Subtracts, r"weights moved by \d.*e-\d\d in 1000 steps"),
    "same storage": (Naive, "4 of 4 tensors"),
    "no gradient in pass 1": (Naive, "raised KeyError: 'old'"),
    "no gradient in pass 2": (Naive, r"weights moved by 0\.\d+"),
    "exception": (Naive, r"exception: weights moved by 0\.\d+, Ctrl-C: weights moved by 0"),
    "not finite": (Naive, "83 of 83 weights not finite"),
    "zero gradient": (Naive, "weights at nan, nan, nan"),
    "batchnorm": (sam_classes.ForgetsTheModule, "running_mean, running_var not as"),
    "other buffers": (sam_classes.ForgetsTheModule, "1.mean, 1.num_passes not as"),
    "dropout": (Naive, r"[45]\d % of the mask"),
    "closure alone": (sam_classes.TrainsPlainly, "0 from plain SGD"),
    "returned loss": (Naive, "returned None, the loss is 3.125"),
    "resume": (Naive, r"SGD with momentum: 0\.\d+ apart"),
    "stored once": (Naive, r"4 copies of weights"),
    "deepcopy": (Naive, "raised AttributeError: .*base_optimizer"),
    "pickle": (Naive, "raised AttributeError: .*base_optimizer"),
    "schedule": (Naive, r"first rate; weights moved by 0\.\d+ at 0"),
    "schedule's warning": (Naive, r"a warning after backward\(\), first_step\(\)"),
    "new group": (Naive, r"\d from a group given at the start"),
    "scaled losses": (sam_classes.UnscalesTwice, r"\d from unscaled losses"),
    "overflow": (Naive, "83 of 83 weights not finite, scale 1024 became 512"),
}


def check(kind, name):
    """The row of one trap."""
    (row,) = audit_optimizer(kind, traps=[trap for trap in TRAPS if trap.name == name]).rows
    return row


def test_our_own_sam_passes_every_trap():
    report = audit_optimizer(SAM)
    assert {row.trap: row.measured for row in report.rows if row.result != "passed"} == {}
    assert [row.trap for row in report.rows] == [trap.name for trap in TRAPS]
    assert report.called == "step(closure)"


@pytest.mark.parametrize("name", [trap.name for trap in TRAPS])
def test_every_trap_catches_a_fault(name):
    kind, measured = FAULTS[name]
    row = check(kind, name)
    assert row.result == "failed"
    assert re.search(measured, row.measured), row.measured


@pytest.mark.parametrize(
    "kind", [sam_classes.IgnoresEta, sam_classes.NeverZero, sam_classes.ForgetsTheModule]
)
def test_a_class_with_one_fault_fails_nothing_else(kind):
    failed = {row.trap for row in audit_optimizer(kind).failed}
    assert failed == {name for name, (culprit, _) in FAULTS.items() if culprit is kind}


@pytest.mark.parametrize(
    ("kind", "built", "called"),
    [
        (Naive, "(params, base class, rho=..., **base options)", "backward(), step(closure)"),
        (
            sam_classes.BaseFirst,
            "(base optimizer, rho=...)",
            "backward(), ascent_step(), backward(), descent_step()",
        ),
        (sam_classes.BaseBeside, "(params, base optimizer, rho=...)", "step(closure)"),
        (sam_classes.OwnDescent, "(params, rho=..., **options)", "step(closure)"),
        (sam_classes.make_sam, "(params, base class, rho=..., **base options)", "step(closure)"),
    ],
)
def test_every_style_is_built_and_called_in_its_own_way(kind, built, called):
    report = audit_optimizer(kind, traps=[trap for trap in TRAPS if trap.name == "quadratic"])
    assert (report.built, report.called) == (f"{kind.__name__}{built}", called)
    assert report.failed == []


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        (Naive, "adaptive", "it takes no adaptive"),
        (Naive, "other norms", "it takes no p"),
        (sam_classes.OwnDescent, "adam", "it goes around no other optimizer"),
        (sam_classes.OwnDescent, "rho per group", "it refuses groups: ValueError: no groups"),
        (sam_classes.OwnDescent, "new group", "it refuses groups: ValueError: no groups"),
        (sam_classes.BaseFirst, "exception", "the caller does the second pass"),
        (sam_classes.BaseFirst, "closure alone", "it has no step"),
        (sam_classes.BaseFirst, "returned loss", "it has no step"),
        (sam_classes.BaseFirst, "new group", "it has no add_param_group"),
    ],
)
def test_what_a_class_does_not_offer_is_not_held_against_it(kind, name, reason):
    row = check(kind, name)
    assert row.result == "not applicable"
    assert reason in row.measured


def test_the_base_stands_for_an_optimizer_without_a_state_of_its_own():
    assert check(sam_classes.BaseFirst, "resume").result == "passed"
    assert check(sam_classes.BaseFirst, "schedule").result == "passed"


def test_a_class_that_refuses_where_it_should_passes():
    class Refuses(SAM):
        def __init__(self, params, base, *, rho=0.05, **options):
            if not rho:
                raise ValueError("rho must be positive\nreally")
            super().__init__(params, base, rho=rho, **options)

    row = check(Refuses, "rho = 0")
    assert (row.result, row.measured) == ("passed", "refused: ValueError: rho must be positive")


def test_a_closure_alone_may_be_refused():
    class Refuses(Naive):
        def first_step(self):
            if self.param_groups[0]["params"][0].grad is None:
                raise RuntimeError("call backward first")
            super().first_step()

    row = check(Refuses, "closure alone")
    assert (row.result, row.measured) == (
        "passed",
        "refused: RuntimeError: call backward first; weights moved by 0",
    )


def test_a_switch_of_the_statistics_that_comes_with_a_class_is_used(monkeypatch):
    def enable_running_stats(model):
        for layer in model.modules():
            layer.track_running_stats = True

    def disable_running_stats(model):
        for layer in model.modules():
            layer.track_running_stats = False

    assert check(Naive, "batchnorm").result == "failed"
    monkeypatch.setattr(sam_classes, "enable_running_stats", enable_running_stats, raising=False)
    monkeypatch.setattr(sam_classes, "disable_running_stats", disable_running_stats, raising=False)
    row = check(Naive, "batchnorm")
    assert row.result == "passed"
    assert row.measured.endswith("with its own switch of the statistics")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (math.hypot, "a sharpness-aware optimizer must take rho, hypot does not"),
        (SGD, "a sharpness-aware optimizer must take rho, SGD does not"),
        (
            sam_classes.WantsASchedule,
            "WantsASchedule must train in one of the known ways: .*TypeError: .*'schedule'",
        ),
        (sam_classes.NeverSteps, r"step\(closure\) raised NotImplementedError: not; "),
    ],
)
def test_what_cannot_be_audited_is_refused_with_what_was_tried(kind, message):
    with pytest.raises(InputError, match=message):
        audit_optimizer(kind)


def test_the_audit_leaves_the_random_state_and_warns_of_nothing():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audit_optimizer(Naive)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_report_counts_its_rows():
    rows = [Row("a", "", "failed", "1"), Row("b", "", "passed", "2"), Row("c", "", "failed", "3")]
    report = AuditReport("SAM()", "step()", tuple(rows))
    assert report.counts == {"passed": 1, "failed": 2, "not applicable": 0}
    assert report.failed == [rows[0], rows[2]]
