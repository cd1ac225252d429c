"""Becomes a server: takes the user id, asks the kernel to be ended with its parent, and executes the program.

Run as a script by `child.py`. A `preexec_fn` would run Python between fork and exec, which can hang in a process with
threads; and the kernel forgets the request when the user id changes, so it is made last.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, signal: int, uid: int, gid: int, command: list[str]) -> None:
    if os.getuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
    if os.getppid() == parent:  # Else the parent went before we asked.
        os.execv(command[0], command)  # noqa: S606 - its words are ours


if __name__ == "__main__":
    parent, signal, uid, gid = (int(word) for word in sys.argv[1:5])
    main(parent, signal, uid, gid, sys.argv[5:])
