"""A worker on Redis or Valkey: redis_worker.py [URL [GROUP [CHANNEL]]]. Start as many as you like."""

import signal
import sys
import threading
import uuid
from contextlib import suppress

import redis
from answers import Answers

IDLE = 15  # seconds after which an event is taken from a worker that does not say that it has it


def handle(event):
    """Yours to write."""
    return {"ack": ["you said", *event["args"]]}


def run(handle, url="redis://127.0.0.1:6379", group="orders", channel="socketio"):
    """Answers one event after the other until SIGTERM, whatever the broker does."""
    queue, me, ending = f"{channel}.hallporter.worker.{group}", uuid.uuid4().hex, threading.Event()
    db = redis.Redis.from_url(url, socket_timeout=10, decode_responses=True, encoding_errors="replace")
    answers, start = Answers(handle), "0-0"
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    while not ending.is_set():
        try:
            make(db, queue)
            print(f"takes events from {queue}", file=sys.stderr, flush=True)
            while not ending.is_set():
                # What another worker has let go of, or else what is new.
                start, entries, *_ = db.xautoclaim(queue, "workers", me, IDLE * 1000, start, count=1)
                if not entries and (streams := db.xreadgroup("workers", me, {queue: ">"}, count=1, block=1000)):
                    [[_, entries]] = streams
                for number, fields in entries:
                    work(db, queue, me, number, fields["event"], answers)
            db.xgroup_delconsumer(queue, "workers", me)
        except redis.RedisError as error:
            print(f"the broker: {error}", file=sys.stderr, flush=True)
            ending.wait(1)


def make(db, queue):
    """The queue outlives everybody."""
    try:
        db.xgroup_create(queue, "workers", id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def work(db, queue, me, number, event, answers):
    """Answers an event and removes it from the queue, together."""
    [pending] = db.xpending_range(queue, "workers", number, number, 1)
    done = threading.Event()
    threading.Thread(target=hold, args=(db, queue, me, number, done), daemon=True).start()
    reply = answers.to(event, pending["times_delivered"])
    done.set()
    with db.pipeline() as both:
        if reply is None:
            both.xadd(f"{queue}.dead", {"event": event}, maxlen=100_000)
        elif reply[0]:
            both.publish(*reply)
        both.xack(queue, "workers", number)
        both.xdel(queue, number)
        both.execute()


def hold(db, queue, me, number, done):
    """Says every now and then that the event is still in hand."""
    while not done.wait(IDLE / 3):
        with suppress(redis.RedisError):
            db.xclaim(queue, "workers", me, 0, [number], justid=True)


if __name__ == "__main__":
    run(handle, *sys.argv[1:])
