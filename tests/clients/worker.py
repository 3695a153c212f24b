"""A worker as users have it: emits through a write-only manager and holds no clients.

    worker.py {sync|async} BROKER_URL CHANNEL PREFIX SKIPPED_SID MOVED_SID

The calls are those of python-socketio's documentation; the prefix keeps the rooms of one run apart from another's.
"""

import asyncio
import sys

from managers import manager_kind


def calls(prefix, skipped, moved):
    """Method, arguments and keywords of every call, in order."""
    everyone, few, fewer = f"{prefix}-all", f"{prefix}-a", f"{prefix}-b"
    odd, guests = f"{prefix}-odd", f"{prefix}-guests"
    return [
        ("emit", ("str", "hello"), {"room": everyone}),
        ("emit", ("dict", {"a": 1, "b": {"c": [True, False, None, 1.5, -7]}}), {"room": everyone}),
        ("emit", ("list", [1, "two", [3]]), {"room": everyone}),
        ("emit", ("empty-list", []), {"room": everyone}),
        ("emit", ("tuple", ("several", 2, {"three": 3})), {"room": everyone}),
        ("emit", ("empty-tuple", ()), {"room": everyone}),
        ("emit", ("none", None), {"room": everyone}),
        ("emit", ("none-first", (None, 1)), {"room": everyone}),
        ("emit", ("number", 12345678901234), {"room": everyone}),
        ("emit", ("big-number", 2**80), {"room": everyone}),
        ("emit", ("bytes", b"\x00\x01\xff"), {"room": everyone}),
        ("emit", ("empty-bytes", b""), {"room": everyone}),
        ("emit", ("nested", {"x": [b"one", {"y": b"two"}], "z": "three"}), {"room": everyone}),
        ("emit", ("nested-tuple", (b"first", {"second": b"2"}, "third")), {"room": everyone}),
        ("emit", ("placeholder", {"_placeholder": True, "num": 0}), {"room": everyone}),
        ("emit", ("unicode", "gr\u00fc\u00df \U0001f6ce\ufe0f \u2028 \" \\ \n \x00"), {"room": everyone}),
        ("emit", ("Ereignis \U0001f514", "name"), {"room": everyone}),
        ("emit", ("to", 1), {"to": everyone}),
        ("emit", ("rooms", 1), {"room": [few, fewer]}),
        ("emit", ("skip", 1), {"room": everyone, "skip_sid": skipped}),
        ("emit", ("skip-list", 1), {"room": everyone, "skip_sid": [skipped, moved]}),
        ("emit", ("sid", 1), {"room": moved}),
        ("emit", ("nobody", 1), {"room": ""}),
        ("emit", ("nan", {"x": float("nan"), "y": [float("inf"), float("-inf")], "z": "NaN"}), {"room": odd}),
        ("emit", ("elsewhere", 1), {"room": everyone, "namespace": "/custom"}),
        ("enter_room", (moved, "/", guests), {}),
        ("emit", ("entered", 1), {"room": guests}),
        ("leave_room", (moved, "/", guests), {}),
        ("emit", ("left", 1), {"room": guests}),
        ("emit", ("before-close", 1), {"room": few}),
        ("close_room", (few, "/"), {}),
        ("emit", ("after-close", 1), {"room": few}),
        ("emit", ("end", prefix), {"room": everyone}),
        ("emit", ("end", prefix), {"room": everyone, "namespace": "/custom"}),
    ]


def run(url, channel, script):
    """A synchronous worker."""
    manager = manager_kind("sync", url)(url, channel=channel, write_only=True)
    for method, args, kwargs in script:
        getattr(manager, method)(*args, **kwargs)


async def run_async(url, channel, script):
    """An asynchronous worker."""
    manager = manager_kind("async", url)(url, channel=channel, write_only=True)
    for method, args, kwargs in script:
        await getattr(manager, method)(*args, **kwargs)


if __name__ == "__main__":
    kind, broker_url, channel, *rest = sys.argv[1:]
    if kind == "sync":
        run(broker_url, channel, calls(*rest))
    else:
        asyncio.run(run_async(broker_url, channel, calls(*rest)))
