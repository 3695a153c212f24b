"""Shows what the workers of a group could not deal with, and puts it back: dead_letters.py URL [GROUP [CHANNEL]] [--again]"""

import asyncio
import sys

import kombu
import nats
import redis
from nats.errors import TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig


def of_redis(url, queue, again):
    db = redis.Redis.from_url(url, decode_responses=True)
    for number, fields in db.xrange(f"{queue}.dead"):
        yield fields["event"]
        if again:
            db.xadd(queue, fields)
            db.xdel(f"{queue}.dead", number)


def of_rabbitmq(url, queue, again):
    with kombu.Connection(url, transport_options={"confirm_publish": True}) as connection:
        channel, producer = connection.default_channel, connection.Producer()
        while message := channel.basic_get(f"{queue}.dead"):
            yield message.body
            if again:
                producer.publish(message.body, routing_key=queue, content_type="application/json", content_encoding="utf-8")
                channel.basic_ack(message.delivery_tag)
        # What was not acknowledged is there again when the connection ends.


def of_nats(url, queue, again):
    return asyncio.run(all_of_nats(url, queue, again))


async def all_of_nats(url, queue, again):
    server = await nats.connect(url)
    js, stream, found = server.jetstream(), f"{queue}.dead".replace(".", "+"), []
    letters = await js.pull_subscribe(f"{queue}.dead", stream=stream, config=ConsumerConfig(ack_policy=AckPolicy.NONE))
    try:
        while True:
            [letter] = await letters.fetch(timeout=1)
            found.append(letter.data.decode())
            if again:
                await js.publish(queue, letter.data)
                await js.delete_msg(stream, letter.metadata.sequence.stream)
    except TimeoutError:
        return found
    finally:
        await server.close()


OF = {"redis": of_redis, "amqp": of_rabbitmq, "nats": of_nats}


def main(url, group="orders", channel="socketio", again=False):
    for letter in OF[url.split(":")[0]](url, f"{channel}.hallporter.worker.{group}", again):
        print(letter)


if __name__ == "__main__":
    main(*[word for word in sys.argv[1:] if word != "--again"], again="--again" in sys.argv)
