"""Tells whether somebody holds a file open for writing, where the platform can."""

import errno
import os
import signal
import sys
from pathlib import Path

if sys.platform == "linux":
    import fcntl


def has_writer(path: Path) -> bool | None:
    """True while a process holds the file open for writing; None where this cannot be told.

    Linux grants a read lease only on a file that nobody has open for writing. It needs our own file or the right
    to lease (CAP_LEASE), and a local file system. Raises OSError when the file cannot be opened.
    """
    if sys.platform != "linux":
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # A writer that comes while we hold the lease makes the kernel send a signal; SIGIO would end us, SIGURG
        # is ignored by default.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK) else None
    else:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    finally:
        os.close(descriptor)
