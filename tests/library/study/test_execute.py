import dataclasses

import pytest

from landscape.errors import InputError
from landscape.study.definition import Option, Study, StudyRun
from landscape.study.execute import Job, execute, execute_all, make_job, read_record

OPTIONS = {
    "train": {name: Option() for name in ("lr", "model", "seed")},
    "sharpness": {"rho": Option(), "model": Option()},
}


def never():
    return False


def do(jobs, *, num_parallel=1, should_stop=never, told=None):
    tell = (
        (lambda *_: None)
        if told is None
        else (lambda outcome, seconds: told.append((outcome.name, outcome.state)))
    )
    return execute_all(jobs, num_parallel=num_parallel, should_stop=should_stop, tell=tell)


def test_the_stages_of_a_job_are_done_in_order_and_not_again(make, calls):
    job = make("a", ("train",), ("sharpness",))
    assert execute(job).state == "finished"
    assert execute(job).state == "finished"
    assert calls(job) == ["train", "sharpness"]
    assert job.remaining == ()


def test_a_stage_with_other_options_is_done_again_alone(make, calls):
    execute(make("a", ("train",), ("sharpness",)))
    other = make("a", ("train",), ("sharpness",))
    other = dataclasses.replace(
        other, stages=(other.stages[0], dataclasses.replace(other.stages[1], options={"x": 1}))
    )
    assert execute(other).state == "finished"
    assert calls(other) == ["train", "sharpness", "sharpness"]


def test_a_process_has_the_threads_of_its_job(make):
    job = make("a", ("train",))
    execute(job)
    assert (job.folder / "calls").read_text() == "train 3\n"


def test_a_job_that_fails_says_its_error_and_keeps_no_other_from_being_done(make, calls):
    jobs = [
        make("a", ("train",), ("sharpness", "say", "Error: no such thing")),
        make("b", ("train",)),
    ]
    told = []
    failed, finished = do(jobs, told=told)
    assert (failed.state, failed.reason) == ("failed", "no such thing")
    assert "Error: no such thing" in failed.log.read_text()
    assert finished.state == "finished"
    assert told == [("a", "failed"), ("b", "finished")]
    assert [stage.name for stage in jobs[0].remaining] == ["sharpness"]


def test_a_folder_that_cannot_be_made_is_a_failure(make, tmp_path):
    (tmp_path / "runs").write_text("a file")
    (outcome,) = do([make("a", ("train",))])
    assert outcome.state == "failed"
    assert "runs" in outcome.reason


def test_a_process_that_cannot_be_started_is_a_failure(make):
    (outcome,) = do([dataclasses.replace(make("a", ("train",)), launch=("/nowhere/python",))])
    assert (outcome.state, outcome.reason) == (
        "failed",
        "No such file or directory: /nowhere/python",
    )


def test_stopping_ends_what_is_under_way_and_begins_no_other(make, calls):
    jobs = [make("a", ("train", "wait"), ("sharpness",)), make("b", ("train",))]
    outcomes = do(jobs, should_stop=(jobs[0].folder / "waits").exists)
    assert [outcome.state for outcome in outcomes] == ["stopped", "stopped"]
    assert (calls(jobs[0]), calls(jobs[1])) == (["train"], [])
    assert len(jobs[0].remaining) == 2


def test_several_jobs_run_at_a_time(make):
    jobs = [make(name, ("train", "wait")) for name in "abc"]
    outcomes = do(
        jobs,
        num_parallel=2,
        should_stop=lambda: all((job.folder / "waits").exists() for job in jobs[:2]),
    )
    assert [outcome.state for outcome in outcomes] == ["stopped"] * 3
    assert not (jobs[2].folder / "waits").exists()


def test_a_job_reads_back_from_json(make):
    job = make(
        "a",
        ("train", "--lr", "0.1"),
        ("sharpness",),
        options={"lr": 0.1, "model_arg": {"width": 4}},
    )
    assert Job.from_json(job.as_json()) == job


def study_of(tmp_path, run, **arguments):
    return Study(
        tmp_path / "s.toml", tmp_path / "out", (run,), {"sharpness": {"rho": 0.1}}, **arguments
    )


def test_a_job_trains_and_then_measures_what_it_has_trained(tmp_path):
    run = StudyRun("r", "", {"lr": 0.1, "model": "m.py:f", "seed": 4}, {})
    job = make_job(study_of(tmp_path, run), run, OPTIONS, ("python",), 2)
    folder = tmp_path / "out" / "runs" / "r"
    code, out = ("--model", "m.py:f"), ("--out", str(folder / "sharpness.h5"))
    assert [stage.arguments for stage in job.stages] == [
        ("train", "--lr", "0.1", *code, "--seed", "4", "--out", str(folder), "--resume"),
        ("sharpness", str(folder / "checkpoint.pt"), *code, "--rho", "0.1", *out, "--force"),
    ]


def test_a_run_goes_on_with_the_threads_that_it_began_with(make, tmp_path):
    execute(make("r", ("train",)))
    run = StudyRun("r", "", {}, {})
    study = dataclasses.replace(study_of(tmp_path, run, threads=5), out=tmp_path)
    assert make_job(study, run, OPTIONS, ("python",), 2).threads == 3
    other = StudyRun("other", "", {}, {})
    assert make_job(study, other, OPTIONS, ("python",), 2).threads == 5


def test_a_folder_of_a_run_with_other_options_is_refused(make, tmp_path):
    execute(make("r", ("train",), options={"lr": 0.1, "seed": 0}))
    run = StudyRun("r", "", {"lr": 0.2, "seed": 0}, {})
    study = dataclasses.replace(study_of(tmp_path, run), out=tmp_path)
    with pytest.raises(
        InputError, match=r"begun with other options of landscape train: lr 0\.1, not 0\.2"
    ):
        make_job(study, run, OPTIONS, ("python",), 2)


def test_a_damaged_record_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        read_record(tmp_path)
