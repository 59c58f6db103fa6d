"""Results in Redis: JSON, which a plain Taskiq program can read too."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from redis.asyncio import Redis
from taskiq import TaskiqResult
from taskiq.serializers import JSONSerializer
from taskiq_redis import RedisAsyncResultBackend

from fastask.brokers.durable import wait_for_server
from fastask.brokers.redis.connection import OPTIONS, checked
from fastask.brokers.url import BrokerURL

__all__ = ["RedisResults"]


class RedisResults(RedisAsyncResultBackend[Any]):
    """taskiq-redis's results, saved over one client.

    The plugin makes a new client for each, which costs an eighth of a small task (1.2.4).

    Args:
        url: the server and the settings.
    """

    def __init__(self, url: BrokerURL | str) -> None:
        url = checked(url)
        super().__init__(
            url.address,
            serializer=JSONSerializer(),
            result_ex_time=url.settings.results_ttl,
            prefix_str=url.settings.queue,
            **OPTIONS,
        )
        self._address = url.shown
        self._wait = url.settings.wait

    async def startup(self) -> None:
        """Wait for the server.

        Raises:
            BrokerUnavailableError: it is not there.
        """
        try:
            await wait_for_server(self._address, self._wait, self._reach)
        except BaseException:
            await self.redis_pool.disconnect()
            raise
        await super().startup()

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        """Save a result.

        Raises:
            redis.exceptions.RedisError: the server is away, or does not take it.
        """
        value = self.serializer.dumpb(result.model_dump(mode="json"))
        await self._redis.set(self._task_name(task_id), value, ex=self.result_ex_time)

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result.

        Raises:
            redis.exceptions.RedisError: the server is away.
        """
        return bool(await self._redis.exists(self._task_name(task_id)))

    async def _reach(self) -> None:
        await self._redis.ping()

    @cached_property
    def _redis(self) -> Any:
        return Redis(connection_pool=self.redis_pool)
