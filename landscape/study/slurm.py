"""The runs of a study as jobs of a cluster, through submitit."""

# pyright: reportMissingImports=false
# submitit is an extra.

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape.errors import InputError, first_line, from_extra
from landscape.study.execute import Job, Outcome, execute

_POLL = 1.0  # seconds between two looks at the jobs


class Resumable:
    """A cluster's job, which is begun again after the cluster has interrupted it.

    The cluster may have taken its place away, or its time may be over.
    """

    def __call__(self, job: Job) -> Outcome:
        """Do what is left of the job."""
        return execute(job)

    def checkpoint(self, job: Job) -> Any:
        """Return what is to be queued again: the same, since all that is done is in the folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, job)


def execute_on_cluster(
    jobs: Sequence[Job],
    folder: Path,
    parameters: Mapping[str, Any],
    *,
    should_stop: Callable[[], bool],
    tell: Callable[[Outcome, float], None],
) -> list[Outcome]:
    """Queue jobs and wait for them.

    Args:
        jobs: At least one.
        folder: On a file system that the cluster's nodes share: submitit's files.
        parameters: Of submitit: `slurm_partition`, `timeout_min`, ...; and `cluster`, where `local`
            takes processes of this machine in place of Slurm.
        should_stop: Whether to cancel what is queued or runs.
        tell: As in `execute_all`.

    Returns:
        Outcomes, in the order of the jobs.

    Raises:
        InputError: If submitit is missing, or does not take a parameter, or there is no such
            cluster here.
    """
    with from_extra("slurm", "submitit"):
        import submitit
    values = dict(parameters)
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=values.pop("cluster", "slurm"))
        executor.update_parameters(**values)
        with executor.batch():
            queued = [executor.submit(Resumable(), job) for job in jobs]
    except (RuntimeError, NameError, TypeError, ValueError, OSError) as exc:
        raise InputError(
            f"the jobs cannot be queued: {first_line(exc)}",
            hint='Check [slurm]; cluster = "local" tries the study out here.',
        ) from exc
    return _wait(jobs, queued, should_stop, tell)


def _wait(
    jobs: Sequence[Job],
    queued: Sequence[Any],
    should_stop: Callable[[], bool],
    tell: Callable[[Outcome, float], None],
) -> list[Outcome]:
    start, outcomes = time.perf_counter(), dict[int, Outcome]()
    while len(outcomes) < len(jobs):
        for number, (job, ticket) in enumerate(zip(jobs, queued, strict=True)):
            if number not in outcomes and ticket.done():
                outcomes[number] = _outcome(job, ticket)
                tell(outcomes[number], time.perf_counter() - start)
        if should_stop():
            for number, ticket in enumerate(queued):
                if number not in outcomes:
                    ticket.cancel()
                    outcomes[number] = Outcome(jobs[number].name, "stopped")
        elif len(outcomes) < len(jobs):
            time.sleep(_POLL)
    return [outcomes[number] for number in range(len(jobs))]


def _outcome(job: Job, ticket: Any) -> Outcome:
    """Return what a job came to, or that its process came to no end of its own."""
    exception = ticket.exception()
    if exception is None:
        return ticket.result()
    lines = list(filter(str.strip, str(exception).splitlines())) or [type(exception).__name__]
    return Outcome(job.name, "failed", Path(ticket.paths.stderr), lines[-1])
