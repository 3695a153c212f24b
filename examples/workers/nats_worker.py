"""A worker on NATS with JetStream: nats_worker.py [URL [GROUP [CHANNEL]]]. Start as many as you like."""

import asyncio
import signal
import sys
from contextlib import suppress

import nats
from answers import Answers
from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

LIMIT = 100_000  # events that may wait
WAIT = 15  # seconds after which an event is taken from a worker that does not say that it has it


def handle(event):
    """Yours to write."""
    return {"ack": ["you said", *event["args"]]}


def run(handle, url="nats://127.0.0.1:4222", group="orders", channel="socketio"):
    """Answers one event after the other until SIGTERM, whatever the broker does."""
    asyncio.run(work(Answers(handle), url, f"{channel}.hallporter.worker.{group}"))


async def work(answers, url, queue):
    server = await nats.connect(url, max_reconnect_attempts=-1)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    while not ending.is_set():
        try:
            events = await subscribe(server.jetstream(), queue)
            print(f"takes events from {queue}", file=sys.stderr, flush=True)
            while not ending.is_set():
                try:
                    [event] = await events.fetch(timeout=1)
                except nats.errors.TimeoutError:
                    continue
                await settle(server, event, answers)
        except (nats.errors.Error, OSError) as error:
            print(f"the broker: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(1)
    with suppress(OSError):
        await server.close()


async def subscribe(js, queue):
    """The queue and its dead-letter queue outlive everybody."""
    name = queue.replace(".", "+")
    await make(js, StreamConfig(name, subjects=[queue], max_msgs=LIMIT, discard=DiscardPolicy.NEW, retention=RetentionPolicy.WORK_QUEUE))
    await make(js, StreamConfig(f"{name}+dead", subjects=[f"{queue}.dead"], max_msgs=LIMIT))
    return await js.pull_subscribe(queue, "workers", name, ConsumerConfig(ack_wait=WAIT))


async def make(js, stream):
    try:
        await js.stream_info(stream.name)
    except NotFoundError:
        await js.add_stream(stream)


async def settle(server, event, answers):
    """Answers first: when the acknowledgement is lost, the event comes again."""
    held = asyncio.create_task(hold(event))
    try:
        # In a thread, so that the connection lives meanwhile.
        reply = await asyncio.to_thread(answers.to, event.data, event.metadata.num_delivered)
    finally:
        held.cancel()
    if reply is None:
        await server.jetstream().publish(f"{event.subject}.dead", event.data)
    elif reply[0]:
        await server.publish(reply[0], reply[1].encode())
    await event.ack_sync()


async def hold(event):
    while True:
        await asyncio.sleep(WAIT / 3)
        await event.in_progress()


if __name__ == "__main__":
    run(handle, *sys.argv[1:])
