"""What a decoder's process may do: compute, and answer on the socket that it was born with.

Every measure is tried; where the kernel or the machine's rules do not allow one, the others still hold, and the
process says which apply. Caps on processor time come from the parent, for each picture anew.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_CLONE_NEWIPC = 0x08000000
_MIB = 1024 * 1024
_EPERM = 1

# Memory, the open socket and memory files, time, its own end. No open, connect, exec, clone, kill or ptrace.
_ALLOWED_CALLS = (
    "read", "write", "pread64", "pwrite64", "readv", "writev", "lseek", "close", "recvmsg", "sendmsg", "recvfrom",
    "sendto", "poll", "ppoll", "select", "pselect6", "fcntl", "fstat", "ftruncate", "memfd_create",
    "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "futex", "sched_yield", "sched_getaffinity",
    "rt_sigreturn", "rt_sigaction", "rt_sigprocmask", "sigaltstack", "restart_syscall",
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "times", "getrusage",
    "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrandom", "rseq", "set_robust_list",
    "exit", "exit_group",
)  # fmt: skip


def confine(*, memory_mib: int, output_mib: int) -> list[str]:
    """Shuts this process in, for good. memory_mib: address space beyond that of now. output_mib: largest memory file.

    Returns the measures that apply, of `memory`, `network` and `syscalls`.
    """
    applied = []
    if _without_network():
        applied.append("network")
    if _with_limits(memory_mib, output_mib):
        applied.append("memory")
    if _with_few_calls():
        applied.append("syscalls")
    return applied


def _without_network() -> bool:
    """Moves into a network of its own, which has not even a loopback that is up."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return any(
        libc.unshare(flags) == 0
        for flags in (
            _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC,
            _CLONE_NEWUSER | _CLONE_NEWNET,
            # Without a user namespace of its own only root may; in containers often neither.
            _CLONE_NEWNET,
        )
    )


def _with_limits(memory_mib: int, output_mib: int) -> bool:
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, output_mib * _MIB)
    _limit(resource.RLIMIT_NOFILE, 16)
    pages = _address_pages()
    return pages > 0 and _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_mib * _MIB)


def _limit(kind: int, value: int) -> bool:
    try:
        resource.setrlimit(kind, (value, value))
    except (ValueError, OSError):
        return False
    return True


def _address_pages() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0


def _with_few_calls() -> bool:
    """An allow-list of system calls; every other fails as not permitted."""
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError):
        # libseccomp is missing, or this is no Linux.
        return False
    try:
        rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(_EPERM))
        for name in _ALLOWED_CALLS:
            try:
                rules.add_rule(pyseccomp.ALLOW, name)
            except OSError:
                # Not a call of this kind of processor.
                continue
        rules.load()
    except OSError:
        return False
    return os.getpid() > 0
