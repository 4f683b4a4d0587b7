"""Under which account PostgreSQL runs: it refuses root, and a user without a name, as containers like to have.

Root's choices, in this order: the owner of a cluster that exists; the user `nobody`, where that user can reach the
files; a user namespace of its own, in which root has another number and keeps its files. No permissions are changed.
A user without a name gets such a namespace too.
"""

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from compose.local.child import Account
from shared.errors import StackError

NOBODY = "nobody"
NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


def unprivileged(cluster: Path, programs: Path) -> Account:
    """Return an account for a cluster that is not root and reaches it; raise `StackError` if there is none."""
    if os.geteuid() != 0:
        nameless = not _has_name(os.geteuid()) and _namespaces_work()
        return Account(prefix=NAMESPACE) if nameless else Account()
    owner = cluster.stat() if cluster.exists() else None
    if owner and owner.st_uid != 0:  # PostgreSQL insists on its owner
        return Account(uid=owner.st_uid, gid=owner.st_gid)
    closed = [path for path in (cluster, programs) if not reachable_by_others(path)]
    if not closed and owner is None:
        nobody = pwd.getpwnam(NOBODY)
        return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)
    if _namespaces_work():
        return Account(prefix=NAMESPACE)
    obstacle = f"the user {NOBODY} cannot reach {closed[0]}" if closed else f"{cluster} belongs to root"
    raise StackError(
        f"PostgreSQL refuses to run as root, and {obstacle}: choose another --data-dir (and another place for this "
        "project, if it is that), or start the stack as an ordinary user"
    )


def reachable_by_others(path: Path) -> bool:
    """Say whether every folder on the way to a path lets other users pass."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _namespaces_work() -> bool:
    if shutil.which(NAMESPACE[0]) is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
