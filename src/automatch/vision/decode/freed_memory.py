"""Has the allocator keep memory that was freed, for processes that handle one photo after another.

The decoder's child process loads this file on its own, as it does `image_header.py`.
"""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's `mallopt`."""

_LARGEST, _KEPT = 32 << 20, 128 << 20
"""Bytes of the largest block that is kept (more is not possible), and of all that is."""


def keep_freed_memory() -> None:
    """Keep what a photo took for the next one, where the C library can.

    Otherwise each picture is made of pages that the kernel has to clear, which took as long as
    decoding.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _KEPT)
