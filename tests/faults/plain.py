"""The same on the ground that fastask stands on: plain taskiq-redis, as it comes."""

from __future__ import annotations

import os

from taskiq_redis import RedisStreamBroker

from tests.faults.tasks import quick, slow, stuck_once

_url, _, _query = os.environ["FAULTS_URL"].partition("?")
_settings = dict(each.split("=") for each in _query.split("&"))

broker = RedisStreamBroker(_url, queue_name=_settings["queue"])
for _task in (quick, slow, stuck_once):
    broker.register_task(_task, _task.__name__)
