"""A job, as Celery would run it, that tells a room when it is done: job.py ROOM [BROKER]"""

import sys

import socketio

ROOM, BROKER = sys.argv[1], [*sys.argv, "redis://127.0.0.1:6379"][2]

manager = socketio.RedisManager(BROKER, channel="flask-socketio", write_only=True)


def report(room):
    manager.emit("report", {"room": room, "rows": sum(range(1000))}, room=room)


if __name__ == "__main__":
    report(ROOM)
