"""The sandbox of the decoder's child: it gives up every right that decoding does not need.

The child loads this module without the package, so it imports only the standard library.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import platform
import resource
import signal
import struct
import sys

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_FILTER_MODE = 2
_CLONE_THREAD = 0x10000
_X32 = 0x4000_0000

# For each architecture: its audit number, the number of `clone`, and the calls that are always
# refused (fork, vfork, execve, execveat, socket, ptrace). `clone3` has the same number everywhere.
_ARCHITECTURES = {
    "x86_64": (0xC000_003E, 56, (57, 58, 59, 322, 41, 101)),
    "aarch64": (0xC000_00B7, 220, (221, 281, 198, 117)),
}
_CLONE3 = 435

# Instructions of the kernel's BPF filter (linux/filter.h) and its results (linux/seccomp.h).
_LOAD, _IF_EQUAL, _IF_ANY, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF_0000, 0x0005_0000
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def enter(memory_mb: int) -> None:
    """Deny this process files, sockets and child processes; limit its address space."""
    memory = memory_mb * 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))
    # The three standard streams are open, and no further file can be.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    _deny_processes()


def allow_cpu(seconds: int) -> None:
    """Let this process use *seconds* more of CPU time; then SIGXCPU ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when *parent* dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def _deny_processes() -> None:
    """Refuse new processes and programs, but allow threads, which decoding HEIC needs.

    A limit on the number of processes would count threads too. Where the kernel has no seccomp,
    only the other limits apply.
    """
    if sys.platform != "linux" or platform.machine() not in _ARCHITECTURES:
        return
    code = b"".join(_filter(*_ARCHITECTURES[platform.machine()]))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(program), 0, 0)


def _filter(machine: int, clone: int, refused: tuple[int, ...]) -> list[bytes]:
    """Return the filter: instructions with a value and how many to skip if true and if false."""
    no_such_call, not_allowed = _REFUSE | errno.ENOSYS, _REFUSE | errno.EPERM
    return [
        _step(_LOAD, _MACHINE),
        _step(_IF_EQUAL, machine, skip_if=1),
        _step(_RETURN, not_allowed),
        _step(_LOAD, _NUMBER),
        _step(_IF_AT_LEAST, _X32, skip_if_not=1),
        _step(_RETURN, not_allowed),
        *(
            step
            for number in refused
            for step in (_step(_IF_EQUAL, number, skip_if_not=1), _step(_RETURN, not_allowed))
        ),
        # A filter cannot read its flags, which are in memory; libc then falls back to `clone`.
        _step(_IF_EQUAL, _CLONE3, skip_if_not=1),
        _step(_RETURN, no_such_call),
        _step(_IF_EQUAL, clone, skip_if_not=3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_IF_ANY, _CLONE_THREAD, skip_if=1),
        _step(_RETURN, not_allowed),
        _step(_RETURN, _ALLOW),
    ]


def _step(operation: int, value: int, skip_if: int = 0, skip_if_not: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, skip_if, skip_if_not, value)
