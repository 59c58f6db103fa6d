"""Taskiq's brokers with the settings under which they lose least, and fastask's results.

Each loads only what it needs, as with fastask: what is loaded costs time in collections.
"""

# ruff: noqa: PLC0415

from counting import PREFETCH, QUEUE, URL
from taskiq import AsyncBroker

RESULTS_TTL = 86_400  # seconds; what fastask sets


def made() -> AsyncBroker:
    """The broker of the URL's scheme."""
    return {"redis": on_redis, "nats": on_nats, "amqp": on_rabbitmq}[URL.partition(":")[0]]()


def on_redis() -> AsyncBroker:
    from taskiq.serializers import JSONSerializer
    from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

    broker = RedisStreamBroker(URL, queue_name=QUEUE, consumer_id="0", xread_count=PREFETCH)
    return broker.with_result_backend(
        RedisAsyncResultBackend(
            URL, serializer=JSONSerializer(), result_ex_time=RESULTS_TTL, prefix_str=QUEUE
        )
    )


def on_nats() -> AsyncBroker:
    from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig
    from taskiq_nats import PullBasedJetStreamBroker

    from fastask.brokers.nats import results
    from fastask.brokers.url import parsed

    broker = PullBasedJetStreamBroker(
        URL,
        subject=QUEUE,
        stream_name=QUEUE,
        durable=QUEUE,
        pull_consume_batch=PREFETCH,
        pull_consume_timeout=1,
        stream_config=StreamConfig(retention=RetentionPolicy.WORK_QUEUE),
        consumer_config=ConsumerConfig(durable_name=QUEUE, ack_wait=60, max_ack_pending=1000),
        max_reconnect_attempts=-1,
    )
    # The plugin's own keeps an object for each result, which takes several messages.
    return broker.with_result_backend(results(parsed(f"{URL}?queue={QUEUE}")))


def on_rabbitmq() -> AsyncBroker:
    from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

    return AioPikaBroker(
        URL,
        qos=PREFETCH,
        exchange=Exchange(name=QUEUE),
        task_queues=[Queue(name=QUEUE)],
        dead_letter_queue=Queue(name=f"{QUEUE}.dead_letter"),
    )
