"""The worker for python-socketio, as src/apps/mod.rs describes it. `worker.py REDIS_URL`"""

import sys

import socketio

manager = socketio.RedisManager(sys.argv[1], write_only=True)
print("ready", flush=True)

for line in sys.stdin:
    first, count = map(int, line.split())
    for number in range(first, first + count):
        manager.emit("news", f"{number:08}".ljust(128, "x"), room="hall")
