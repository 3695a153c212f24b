"""A worker on RabbitMQ: rabbitmq_worker.py [URL [GROUP [CHANNEL]]]. Start as many as you like."""

import signal
import socket
import sys
import threading
from contextlib import suppress

from answers import Answers
from kombu import Connection, Consumer, Exchange, Producer, Queue

LIMITS = {"x-queue-type": "quorum", "x-max-length": 100_000}
JSON = {"content_type": "application/json", "content_encoding": "utf-8"}


def handle(event):
    """Yours to write."""
    return {"ack": ["you said", *event["args"]]}


def run(handle, url="amqp://127.0.0.1:5672", group="orders", channel="socketio"):
    """Answers one event after the other until SIGTERM, whatever the broker does."""
    name, answers, ending = f"{channel}.hallporter.worker.{group}", Answers(handle), threading.Event()
    queue = Queue(name, queue_arguments={**LIMITS, "x-overflow": "reject-publish"})
    dead = Queue(f"{name}.dead", queue_arguments=LIMITS)
    gateways = Exchange(f"{channel}.hallporter", "direct", durable=False)
    broker = Connection(url, connect_timeout=5, transport_options={"confirm_publish": True})
    signal.signal(signal.SIGTERM, lambda *_: ending.set())

    def work(message):
        """Answers first: when the acknowledgement is lost, the event comes again."""
        reply = answers.to(message.body, message.headers.get("x-delivery-count", 0) + 1)
        producer = Producer(message.channel)
        if reply is None:
            producer.publish(message.body, routing_key=dead.name, **JSON)
        elif reply[0]:
            producer.publish(reply[1], exchange=gateways, routing_key=reply[0], **JSON)
        message.ack()

    while not ending.is_set():
        try:
            with broker.clone() as connection, Consumer(connection, [queue], on_message=work, prefetch_count=1):
                dead(connection).declare()
                gateways(connection).declare()
                print(f"takes events from {name}", file=sys.stderr, flush=True)
                while not ending.is_set():
                    with suppress(socket.timeout):
                        connection.drain_events(timeout=1)
        except broker.connection_errors + broker.channel_errors as error:
            print(f"the broker: {error}", file=sys.stderr, flush=True)
            ending.wait(1)


if __name__ == "__main__":
    run(handle, *sys.argv[1:])
