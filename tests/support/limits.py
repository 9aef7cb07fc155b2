"""A real limit of memory."""

import resource
from pathlib import Path


def allow(mebibytes: int) -> None:
    """Let this process's address space grow by so much, once."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + mebibytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
