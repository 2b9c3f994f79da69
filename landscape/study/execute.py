"""Doing the runs of a study: each in processes of its own, what is done is not done again."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from threading import Event
from typing import Any, Literal

from landscape.errors import InputError
from landscape.io.schema import Misfit, build_record
from landscape.runtime.files import writing
from landscape.study.definition import CODE, CommandOptions, Study, StudyRun, as_arguments

_POLL = 0.1  # seconds between two looks at whether to stop


@dataclass(frozen=True)
class Stage:
    """A command that is part of a run.

    Attributes:
        name: Of the command: `train`, `sharpness` or `hessian`.
        options: What the study says of it; with others it has to be done again.
        arguments: Of the command line, the command's name first.
    """

    name: str
    options: Mapping[str, Any]
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A run, ready to be done here or elsewhere.

    Attributes:
        name: Of the run.
        folder: That it is kept in.
        stages: In order.
        launch: What a command line begins with: Python and a module, which gets the job as JSON.
        threads: Of the process.
    """

    name: str
    folder: Path
    stages: tuple[Stage, ...]
    launch: tuple[str, ...]
    threads: int

    @property
    def remaining(self) -> tuple[Stage, ...]:
        """The stages that are not done."""
        done = read_record(self.folder).stages
        return tuple(
            stage for stage in self.stages if done.get(stage.name) != _plain(stage.options)
        )

    def as_json(self) -> str:
        """Return the job as one line."""
        return json.dumps({**asdict(self), "folder": str(self.folder)})

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return the job that `as_json` was of."""
        values = json.loads(text)
        stages = tuple(
            Stage(**{**stage, "arguments": tuple(stage["arguments"])}) for stage in values["stages"]
        )
        return cls(
            values["name"],
            Path(values["folder"]),
            stages,
            tuple(values["launch"]),
            values["threads"],
        )


@dataclass(frozen=True)
class Outcome:
    """What a job came to.

    Attributes:
        name: Of the run.
        state: `finished`, `failed`, or `stopped` before its end because that was asked for.
        log: What a process that failed has written.
        reason: The last that it said.
    """

    name: str
    state: Literal["finished", "failed", "stopped"]
    log: Path | None = None
    reason: str = ""


def make_job(
    study: Study,
    run: StudyRun,
    commands: Mapping[str, CommandOptions],
    launch: Sequence[str],
    threads: int,
) -> Job:
    """Return the job of a run: training, then the measures.

    Args:
        study: That it is of.
        run: Which.
        commands: Options of `train`, `sharpness` and `hessian`.
        launch: As in `Job`.
        threads: Where the study does not say; a run that has begun goes on with as many as before,
            which keeps its last bits.

    Raises:
        InputError: If the folder holds a run with other options.
    """
    folder = study.folder(run)
    record = read_record(folder)
    if record.train is not None and record.train != _plain(run.train):
        raise InputError(
            f"run {run.name} in {folder} was begun with other options of landscape train:"
            f" {_difference(record.train, run.train)}.",
            hint="Remove that folder to do it anew, or write to another `out`.",
        )
    words = ("train", *as_arguments(run.train, commands["train"]))
    stages = [Stage("train", run.train, (*words, "--out", str(folder), "--resume"))]
    # A checkpoint records import strings, but no command takes them from there.
    code = {key: run.train[key] for key in CODE if ":" in str(run.train.get(key, ""))}
    for name, options in study.measures.items():
        wanted = {**code, **options}
        words = (name, str(folder / "checkpoint.pt"), *as_arguments(wanted, commands[name]))
        stages.append(Stage(name, wanted, (*words, "--out", str(folder / f"{name}.h5"), "--force")))
    threads = record.threads or study.threads or threads
    return Job(run.name, folder, tuple(stages), tuple(launch), threads)


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != _plain(now).get(name)]
    return ", ".join(f"{name} {before.get(name)}, not {now.get(name)}" for name in names)


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run that has begun.

    Attributes:
        train: Options of the training; None before it has begun.
        threads: Of its processes; None before.
        stages: Finished stage -> its options.
    """

    train: dict[str, Any] | None
    threads: int | None
    stages: dict[str, dict[str, Any]]


def read_record(folder: Path) -> RunRecord:
    """Return the record of a run.

    Raises:
        InputError: If the record is damaged.
    """
    path = folder / "run.json"
    try:
        found = json.loads(path.read_text())
        return build_record(RunRecord, {each.name: found[each.name] for each in fields(RunRecord)})
    except FileNotFoundError:
        return RunRecord(None, None, {})
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        reason = f": {exc}" if isinstance(exc, Misfit) else ""
        raise InputError(
            f"{path} is damaged{reason}.", hint=f"Remove {folder} to do the run anew."
        ) from exc


def _write_record(job: Job, stages: Mapping[str, Any]) -> None:
    record = {"train": job.stages[0].options, "threads": job.threads, "stages": stages}
    with writing(job.folder / "run.json") as beside:
        beside.write_text(json.dumps(record, indent=2) + "\n")


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as they are read back."""
    return json.loads(json.dumps(options))


def complete(job: Job, call: Callable[[Sequence[str]], int]) -> int:
    """Do the stages that are left of a job, in this process, and record each that is done.

    Args:
        job: The job.
        call: Runs a command line and returns its exit code.

    Returns:
        0, or the first other exit code, after which nothing more is done.
    """
    for stage in job.remaining:
        done = read_record(job.folder).stages
        done.pop(stage.name, None)
        _write_record(job, done)
        if code := call(stage.arguments):
            return code
        _write_record(job, {**done, stage.name: stage.options})
    return 0


def execute(job: Job, should_stop: Callable[[], bool] = lambda: False) -> Outcome:
    """Do what is left of a job in a process of its own.

    It is told to stop when `should_stop` says so, and is given the time to save; where this very
    process is killed, it ends at once, and what it has saved by then stays.

    Args:
        job: The job.
        should_stop: Asked ten times a second.
    """
    try:
        if not job.remaining:
            return Outcome(job.name, "finished")
        if should_stop():
            return Outcome(job.name, "stopped")
        log = job.folder / "run.log"
        code, is_stopped = _run(job, log, should_stop)
        if code == 0 or is_stopped:
            return Outcome(job.name, "stopped" if code else "finished")
        return Outcome(job.name, "failed", log, _last_words(log, code))
    except OSError as exc:
        return Outcome(
            job.name, "failed", None, f"{exc.strerror or exc}: {exc.filename or job.folder}"
        )


def _run(job: Job, log: Path, should_stop: Callable[[], bool]) -> tuple[int, bool]:
    """Return the exit code of a job's process, and whether it was told to stop."""
    log.parent.mkdir(parents=True, exist_ok=True)
    is_stopped = False
    with (
        log.open("w") as file,
        subprocess.Popen(
            [*job.launch, job.as_json()],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(job.threads)},
            start_new_session=True,
        ) as process,
    ):
        while True:
            try:
                return process.wait(_POLL), is_stopped
            except subprocess.TimeoutExpired:
                if not is_stopped and should_stop():
                    process.terminate()
                    is_stopped = True


def _last_words(log: Path, code: int) -> str:
    """Return the error that a command has printed, or its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return (errors or lines or [f"it ended with exit code {code} and without a word"])[-1]


def execute_all(
    jobs: Sequence[Job],
    *,
    num_parallel: int,
    should_stop: Callable[[], bool],
    tell: Callable[[Outcome, float], None],
) -> list[Outcome]:
    """Do jobs, several at a time; one that fails does not keep the others from being done.

    Args:
        jobs: In the order in which they are begun.
        num_parallel: At a time.
        should_stop: Whether to begin none any more, and to stop those under way.
        tell: Is told each outcome, and the seconds that it took, as it comes.

    Returns:
        Outcomes, in the order of the jobs.
    """
    halt = Event()

    def timed(job: Job) -> tuple[Outcome, float]:
        start = time.perf_counter()
        return execute(job, halt.is_set), time.perf_counter() - start

    with ThreadPoolExecutor(num_parallel) as pool:
        futures = [pool.submit(timed, job) for job in jobs]
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=_POLL, return_when=FIRST_COMPLETED)
                for future in done:
                    tell(*future.result())
                if should_stop():
                    halt.set()
        finally:
            halt.set()
    return [future.result()[0] for future in futures]
