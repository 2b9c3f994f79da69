"""Jobs through submitit's local executor, which takes Slurm's place."""

import pytest

from landscape.errors import InputError
from landscape.study.slurm import execute_on_cluster

pytest.importorskip("submitit", reason="submitit, the extra slurm, is not installed")
LOCAL = {"cluster": "local", "timeout_min": 2}


def test_jobs_that_are_queued_come_to_the_outcomes_of_jobs_that_are_done_here(
    make, calls, tmp_path
):
    jobs = [make("a", ("train",), ("sharpness",)), make("b", ("train", "say", "Error: too bad"))]
    told = []
    outcomes = execute_on_cluster(
        jobs,
        tmp_path / "jobs",
        LOCAL,
        should_stop=lambda: False,
        tell=lambda outcome, _: told.append(outcome),
    )
    assert [(each.name, each.state, each.reason) for each in outcomes] == [
        ("a", "finished", ""),
        ("b", "failed", "too bad"),
    ]
    assert sorted(told, key=lambda each: each.name) == outcomes
    assert calls(jobs[0]) == ["train", "sharpness"]


def test_stopping_cancels_what_is_queued(make, tmp_path):
    job = make("a", ("train", "wait"))
    stop = (job.folder / "waits").exists
    (outcome,) = execute_on_cluster(
        [job], tmp_path / "jobs", LOCAL, should_stop=stop, tell=lambda *_: None
    )
    assert outcome.state == "stopped"
    assert job.remaining


@pytest.mark.parametrize(
    "parameters", [{"cluster": "moon"}, {"cluster": "local", "slurm_partitoin": "gpu"}]
)
def test_parameters_that_submitit_does_not_take_are_refused(make, tmp_path, parameters):
    with pytest.raises(InputError, match="cannot be queued"):
        execute_on_cluster(
            [make("a", ("train",))],
            tmp_path / "jobs",
            parameters,
            should_stop=lambda: False,
            tell=lambda *_: None,
        )
