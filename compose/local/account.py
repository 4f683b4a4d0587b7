"""Under which account PostgreSQL runs: it refuses root.

Root's choices, in this order: the user `nobody`, where that user can reach the files; a user namespace of its own, in
which root has another number and keeps its files. Nobody's permissions are changed on the way.
"""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

from compose.local.child import Account
from shared.errors import StackError

NOBODY = "nobody"
NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


def unprivileged(paths: Iterable[Path]) -> Account:
    """Return an account that can reach the paths and is not root; raise `StackError` if there is none."""
    if os.geteuid() != 0:
        return Account()
    closed = [path for path in paths if not reachable_by_others(path)]
    if not closed:
        nobody = pwd.getpwnam(NOBODY)
        return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)
    if _namespaces_work():
        return Account(prefix=NAMESPACE)
    raise StackError(
        f"PostgreSQL refuses to run as root, and the user {NOBODY} cannot reach {closed[0]}: choose another --data-dir "
        "(and another place for this project, if it is that), or start the stack as an ordinary user"
    )


def reachable_by_others(path: Path) -> bool:
    """Say whether every folder on the way to a path lets other users pass."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def _namespaces_work() -> bool:
    if shutil.which(NAMESPACE[0]) is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
