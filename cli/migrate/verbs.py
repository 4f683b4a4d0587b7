"""The verbs `baton migrate SOURCE` and `baton migrate verify SOURCE`."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import psycopg2
import typer
from typer.core import TyperGroup

from cli import output
from cli.migrate.destination import artifact_store, database
from cli.migrate.job import migrate, verify_alone
from cli.migrate.options import Options, Verify
from cli.migrate.plan import ConflictError, OnConflict
from cli.migrate.progress import Meter, meter
from cli.migrate.rehearsal import rehearse
from cli.migrate.report import Report
from cli.migrate.target import TargetError, is_lost
from cli.migrate.tree import open_source
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from shared.errors import BatonError, UnreachableError
from shared.settings import without_password

RUN = "run"
Source = Annotated[Path, typer.Argument(help="The folder that MLflow calls mlruns.", show_default=False)]
To = Annotated[str | None, typer.Option("--to", help="postgresql://...; default: the stack that runs here.")]
Artifacts = Annotated[
    str | None, typer.Option("--artifacts", help="Folder or URI for artifacts; default: MLflow's own.")
]

Verification = Annotated[
    Verify, typer.Option("--verify", help="What is read back afterwards; sample: all, but few whole metric histories.")
]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write the report to this file as JSON.")]


class StoppedError(BatonError):
    """The user ended it."""


class SourceOrVerb(TyperGroup):
    """Takes `migrate SOURCE` for `migrate run SOURCE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb before a source that stands without one."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [RUN, *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Let Ctrl-C be one sentence, as other failures are."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise StoppedError("stopped before it was done: run the same command again to go on") from error


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command."""
    group = typer.Typer(
        name="migrate",
        cls=SourceOrVerb,
        help="Move MLflow's FileStore (mlruns/) into the PostgreSQL-backed registry: `baton migrate mlruns/`.",
        no_args_is_help=True,
    )
    group.command(RUN)(run)
    group.command()(verify)
    app.add_typer(group)


def run(
    source: Source,
    to: To = None,
    artifacts: Artifacts = None,
    on_conflict: Annotated[
        OnConflict, typer.Option(help="What to do with names that the target has.")
    ] = OnConflict.FAIL,
    only: Annotated[list[str] | None, typer.Option(help="Only this experiment (name or id); repeatable.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only runs that started then or later.")] = None,
    backup: Annotated[bool, typer.Option(help="First archive the source.")] = True,
    backup_dir: Annotated[Path, typer.Option(help="Where the archive goes.")] = Path(),
    dry_run: Annotated[bool, typer.Option(help="Print the plan and every problem; change nothing.")] = False,
    verification: Verification = Verify.SAMPLE,
    report: ReportFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Migrate a FileStore; run again after an interruption, it goes on where it stopped."""
    root, url = open_source(source), database(to, data_dir)
    result = Report(str(root), without_password(url), dry_run=dry_run)
    options = Options(
        root=root,
        url=url,
        store=artifact_store(url, artifacts, data_dir, change=not dry_run),
        on_conflict=on_conflict,
        only=tuple(only or ()),
        since=int(since.replace(tzinfo=since.tzinfo or UTC).timestamp() * 1000) if since else None,
        backup=backup_dir if backup else None,
        verify=verification,
    )
    carry_out(rehearse if dry_run else migrate, options, result)
    finish(result, report, as_json=as_json)


def verify(
    source: Source,
    to: To = None,
    artifacts: Artifacts = None,
    verification: Verification = Verify.FULL,
    report: ReportFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Compare a FileStore with what was migrated of it, read back through MLflow's client."""
    root, url = open_source(source), database(to, data_dir)
    result = Report(str(root), without_password(url))
    store = artifact_store(url, artifacts, data_dir, change=False)
    carry_out(verify_alone, Options(root, url, store, verify=verification), result)
    finish(result, report, as_json=as_json)


def carry_out(action: Callable[[Options, Report, Meter], None], options: Options, result: Report) -> None:
    """Do something with progress shown; what PostgreSQL says becomes one sentence."""
    try:
        with meter() as shown:
            action(options, result, shown)
    except psycopg2.Error as error:
        kind = UnreachableError if is_lost(error) else TargetError
        raise kind(f"PostgreSQL: {str(error).strip()}; run the same command again to go on") from error


def finish(result: Report, report: Path | None, *, as_json: bool) -> None:
    """Show a report and end with its exit code."""
    content: dict[str, Any] = result.to_json()
    if report is not None:
        report.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    if as_json:
        output.print_json(content)
    else:
        for part in result.tables():
            output.out.print(part, markup=False)
    if result.refusal:
        raise ConflictError(result.refusal)
    if not result.is_verified:
        raise typer.Exit(output.FAILED)
    if not result.is_whole:
        raise typer.Exit(output.PARTLY)
