"""Asks for a build and follows it to its end; or aborts it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from time import monotonic

from bessemer.api.jobprogress import JobProgress, LogQuery
from bessemer.cli.job.builder import Builder, Refused
from bessemer.cli.job.client import open_client
from bessemer.cli.job.kubeclient import open_kube_builder
from bessemer.cli.job.log import JobLog, list_failed, list_results, write_failed
from bessemer.cli.job.results import Exit, compute_exit, write_dotenv, write_junit
from bessemer.cli.job.settings import JobSettings, Settings, Wanted
from bessemer.clock import get_now
from bessemer.errors import Invalid, Retry

RECORD, DOTENV, JUNIT = "record", "bessemer.env", "verification.xml"
POLL_SECONDS = 3.0
OUTAGE_SECONDS = 600.0
"""How long the operator may be silent before a job gives up; the build goes on as long as the job runs."""
ABORT_SECONDS = 60.0
"""The same for an order to abort, which a job gives in its last minutes."""
END_SECONDS = 30.0
"""The same for the last lines of a log."""
_RECORD = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


async def run_build(settings: Settings) -> Exit:
    """Build, and print what happens. Raises Invalid for settings that can't be used.

    SIGTERM is how a runner stops a job that was cancelled. A section that is left open would hide all later lines.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  this is a coroutine
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async with _open(settings) as client:
            progress = await outlast(client.build, OUTAGE_SECONDS)
            _write(settings.wanted, RECORD, f"{progress.record}\n".encode())
            progress = await _follow(client, progress)
            failed = [line for query in list_failed(progress) for line in await _read_end(client, progress, query)]
    except Refused as error:
        _print([f"refused: {error.message}"])
        return Exit.REFUSED
    except Retry as error:
        _print([f"error: {error.message}"])
        return Exit.ERROR
    except asyncio.CancelledError:
        _print(["stopped by SIGTERM"])
        return Exit.ERROR
    _write(settings.wanted, DOTENV, write_dotenv(progress).encode())
    _write(settings.wanted, JUNIT, write_junit(progress))
    _print([*failed, *list_results(progress)])
    return compute_exit(progress)


async def run_abort(settings: Settings) -> Exit:
    """Abort the build that the job has asked for; nothing where it has not asked for any."""
    try:
        record = (settings.wanted.folder / RECORD).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        _print(["the job has not asked for a build: there is nothing to abort"])
        return Exit.READY
    if not _RECORD.fullmatch(record):
        raise Invalid("InvalidSetting", f"{settings.wanted.folder / RECORD} was changed: it has no name of a record")
    try:
        async with _open(settings) as client:
            await outlast(lambda: client.abort(record), ABORT_SECONDS)
    except (Refused, Retry) as error:
        _print([f"not aborted: {error.message}"])
        return Exit.ERROR
    _print(["the build is being aborted"])
    return Exit.READY


def _open(settings: Settings) -> AbstractAsyncContextManager[Builder]:
    return open_client(settings) if isinstance(settings, JobSettings) else open_kube_builder(settings)


async def outlast(ask: Callable[[], Awaitable[JobProgress]], seconds: float) -> JobProgress:
    """Return the answer, asked for again while the operator can't give one; raises Retry when the time is up."""
    until, said = monotonic() + seconds, ""
    while True:
        try:
            return await ask()
        except Retry as error:
            if monotonic() >= until:
                raise
            if error.message != said:
                said = error.message
                _print([f"waiting: {said}"])
            await asyncio.sleep(min(error.after or POLL_SECONDS, max(0.0, until - monotonic())))


async def _follow(client: Builder, progress: JobProgress) -> JobProgress:
    log, asked = JobLog(), None
    try:
        while True:
            _print(log.write(progress, get_now(), asked))
            behind = log.is_behind(progress)
            if progress.final and not behind:
                return progress
            if not behind:
                await asyncio.sleep(POLL_SECONDS)
            asked = log.choose(progress)
            progress = await outlast(partial(client.show, progress.record, asked), OUTAGE_SECONDS)
    finally:
        _print(log.end(get_now()))


async def _read_end(client: Builder, progress: JobProgress, query: LogQuery) -> list[str]:
    """Return the end of the log of a phase that has failed; it changes nothing of the result."""
    try:
        answer = await outlast(partial(client.show, progress.record, query), END_SECONDS)
    except (Refused, Retry) as error:
        return [f"{query.build} {query.phase}: its log can't be read: {error.message}"]
    if answer.log is not None and answer.log.problem:
        return [f"{query.build} {query.phase}: its log can't be read: {answer.log.problem}"]
    return list(write_failed(query, list(answer.log.lines) if answer.log is not None else []))


def _write(wanted: Wanted, name: str, content: bytes) -> None:
    try:
        wanted.folder.mkdir(parents=True, exist_ok=True)
        (wanted.folder / name).write_bytes(content)
    except OSError as error:
        raise Invalid("InvalidSetting", f"{wanted.folder / name} can't be written: {error.strerror}") from None


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
