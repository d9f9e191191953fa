"""Turns this process into another program: leaves root if asked, ties its life to its parent's, then execs.

Run as a script, so that nothing of Python runs between fork and exec in a process full of threads.
Standard library only: it starts with `-I -S`.

    launch.py MODE UID GID PARENT SIGNAL FOLDER PROGRAM [ARGUMENT ...]

SIGNAL is sent when PARENT dies; with PARENT 0 the program outlives it. MODE `same` leaves the identity as it is;
the others (plain, namespace, account, account-reaching) are for PostgreSQL, which refuses to run as root.
"""

import ctypes
import os
import sys

LINUX = sys.platform == "linux"
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
# Leaving root then takes no capability away by itself, and access() answers by those we have, not by the user.
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
CAP_VERSION_3 = 0x20080522
# PostgreSQL refuses user id 0: inside the namespace we are "nobody", outside still the owner of the files.
UID_INSIDE = 65534


def main(argv: list[str]) -> None:
    mode, uid, gid, parent, number, folder, *command = argv
    if mode == "namespace":
        enter_namespace()
    elif mode in {"account", "account-reaching"}:
        become(int(uid), int(gid), keep_reach=mode == "account-reaching")
    os.chdir(folder)
    if mode != "same":
        demand_reach(folder, command[0])
    # After every change of identity: those clear the signal.
    if int(parent) and LINUX:
        checked(libc().prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0))
        if os.getppid() != int(parent):
            sys.exit("the parent has gone")
    os.execv(command[0], command)  # noqa: S606 - the point of this script


def demand_reach(folder: str, program: str) -> None:
    if os.geteuid() == 0 or not os.access(".", os.W_OK):
        sys.exit(f"cannot write to {folder} as user id {os.geteuid()}")
    # PostgreSQL asks the same of its programs, by access() too.
    if not os.access(program, os.R_OK | os.X_OK):
        sys.exit(f"cannot run {program} as user id {os.geteuid()}")


def enter_namespace() -> None:
    uid, gid = os.getuid(), os.getgid()
    checked(libc().unshare(CLONE_NEWUSER))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{UID_INSIDE} {uid} 1"),
        ("gid_map", f"{UID_INSIDE} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def become(uid: int, gid: int, *, keep_reach: bool) -> None:
    """With `keep_reach` the account may pass folders closed to it, such as a checkout below root's home."""
    if keep_reach:
        checked(libc().prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if keep_reach:
        keep_only(CAP_DAC_OVERRIDE)


def keep_only(capability: int) -> None:
    header = (ctypes.c_uint32 * 2)(CAP_VERSION_3, 0)
    bit = 1 << capability
    # Effective, permitted and inheritable, for the capabilities up to 31 and for those above.
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    checked(libc().capset(header, data))
    checked(libc().prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(f"launch: {error}")
