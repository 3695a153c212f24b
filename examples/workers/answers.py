"""What the workers share: from an event to its reply. docs/workers.md says what stands in both."""

import json
import sys
import traceback

TRIES = 5  # what was in the hands of so many workers that died is put aside
KEPT = 1000  # replies remembered for events that come again


class Answers:
    """Calls `handle`, which takes an event and returns a reply, once for each event."""

    def __init__(self, handle):
        self.handle, self.given = handle, {}

    def to(self, body, attempt):
        """Topic and JSON of the reply; None when the event belongs into the dead-letter queue."""
        try:
            event = json.loads(body)
            name, topic = event["id"], event.get("reply_to")
        except (ValueError, TypeError, KeyError):
            attempt = TRIES + 1
        if attempt > TRIES:
            print(f"put aside: {body[:200]}", file=sys.stderr, flush=True)
            return None
        if name not in self.given:
            self.given[name] = self.reply(event, {"id": name, "attempt": attempt})
            if len(self.given) > KEPT:
                del self.given[next(iter(self.given))]
        return topic, self.given[name]

    def reply(self, event, mark):
        """What `handle` raises is an answer too: the same would be raised the next time."""
        try:
            return json.dumps({"reply": {**(self.handle(event) or {}), **mark}})
        except Exception:
            traceback.print_exc()
            error = {"code": "internal", "message": "internal error"}
            return json.dumps({"reply": {"error": error, **mark}})
