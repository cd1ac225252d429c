"""What this machine takes from a process that rests: an idle share of a CPU is read beside it."""

import time
from typing import Any

PAGE = 4096
PAGES = 10_000
REST_SECONDS = 5.0


def rested_memory() -> dict[str, Any]:
    """Microseconds of CPU to touch a page that nobody touched for five seconds, and (`limit`) one just touched. Some
    hypervisors take memory away that fast, unseen by the guest's own count of faults, and whatever wakes pays for it:
    on an idle machine the two are alike."""
    memory = bytearray(PAGES * PAGE)
    _touch(memory)
    at_work = _touch(memory)
    time.sleep(REST_SECONDS)
    return {
        "name": f"this machine: a page of memory after {REST_SECONDS:g} s of rest",
        "ours": _touch(memory),
        "limit": at_work,
        "unit": "µs",
        "lower_is_better": True,
    }


def _touch(memory: bytearray) -> float:
    begun = time.thread_time()
    for at in range(0, len(memory), PAGE):
        memory[at] = 1
    return 1e6 * (time.thread_time() - begun) / PAGES
