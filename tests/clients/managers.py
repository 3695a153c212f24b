"""Which of python-socketio's managers belongs to a broker."""

import socketio


def manager_kind(kind, url):
    """The synchronous or asynchronous manager for the broker at this URL."""
    if url.startswith("amqp"):
        return {"sync": socketio.KombuManager, "async": socketio.AsyncAioPikaManager}[kind]
    return {"sync": socketio.RedisManager, "async": socketio.AsyncRedisManager}[kind]
