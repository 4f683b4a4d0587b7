"""Under which account PostgreSQL runs: it refuses root, and a user without a name, as containers like to have.

Root's choices: the owner of a cluster that exists, else the user `nobody`; where that user cannot reach the files, with
the capability to pass all the same; a user namespace, in which root has another number and keeps its files. No
permissions are changed.
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
PASSING = ("setpriv", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")
NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


def unprivileged(cluster: Path, programs: Path) -> Account:
    """Return an account for a cluster that is not root and reaches it; raise `StackError` if there is none."""
    if os.geteuid() != 0:
        nameless = not _has_name(os.geteuid()) and _works(NAMESPACE)
        return Account(prefix=NAMESPACE) if nameless else Account()
    owner = cluster.stat() if cluster.exists() else None
    closed = [path for path in (cluster, programs) if not reachable_by_others(path)]
    if owner is None or owner.st_uid:  # PostgreSQL insists on the owner of its cluster
        uid, gid = (owner.st_uid, owner.st_gid) if owner else pwd.getpwnam(NOBODY)[2:4]
        if not closed:
            return Account(uid=uid, gid=gid)
        passing = (*PASSING, f"--reuid={uid}", f"--regid={gid}")
        if _works(passing):
            return Account(prefix=passing, uid=uid, gid=gid)
    if (owner is None or owner.st_uid == 0) and _works(NAMESPACE):
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


def _works(prefix: tuple[str, ...]) -> bool:
    if shutil.which(prefix[0]) is None:
        return False
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
