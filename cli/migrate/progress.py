"""What a user sees while a migration runs: how far, how fast, how long still."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cli import output


class Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """Return the rate as text."""
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


class Meter:
    """The progress bar of one step after another, on stderr."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def step(self, title: str, total: int | None) -> Iterator["Step"]:
        """Show one step; its bar goes full when the step ends."""
        task = self._progress.add_task(title, total=total)
        yield Step(self._progress, task)
        self._progress.update(task, total=self._progress.tasks[-1].completed)


class Step:
    """One bar."""

    def __init__(self, progress: Progress, task: object) -> None:
        self._progress, self._task = progress, task

    def advance(self, by: int = 1) -> None:
        """Say that so many more items are done."""
        self._progress.advance(self._task, by)  # type: ignore[arg-type]


@contextmanager
def meter() -> Iterator[Meter]:
    """Show progress while the block runs."""
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), Rate())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=output.err) as progress:
        yield Meter(progress)
