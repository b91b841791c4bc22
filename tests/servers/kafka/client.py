"""Another client of Kafka than Rigline's, for tests: creates and deletes topics, produces and consumes.

usage: client.py SERVER create TOPIC PARTITIONS [SETTING=VALUE...]
       client.py SERVER delete TOPIC
       client.py SERVER produce TOPIC [TRANSACTION]   records as JSON lines from standard input:
                                       {"key", "value", "partition", "headers", "base64"}; with TRANSACTION (commit
                                       or abort) all of them in one
       client.py SERVER consume TOPIC  all committed records, as JSON lines
       client.py SERVER offsets GROUP TOPIC  the offsets that the group has committed, by partition
       client.py SERVER trim TOPIC PARTITION OFFSET  deletes the records before OFFSET
"""

import base64
import json
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

LIMIT = 30


def create(server, topic, partitions, *settings):
    admin = AdminClient({"bootstrap.servers": server})
    config = dict(setting.split("=", 1) for setting in settings)
    for attempt in range(LIMIT * 10):
        made = admin.create_topics([NewTopic(topic, int(partitions), 1, config=config)])
        try:
            made[topic].result(LIMIT)
            return
        except KafkaException as error:
            # A topic of that name may still be on its way out.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            time.sleep(0.1)
    raise SystemExit(f"the topic {topic} is still there")


def delete(server, topic):
    admin = AdminClient({"bootstrap.servers": server})
    admin.delete_topics([topic])[topic].result(LIMIT)


def produce(server, topic, transaction=None):
    settings = {"bootstrap.servers": server, "linger.ms": 5}
    if transaction:
        settings["transactional.id"] = f"client-{topic}"
    producer = Producer(settings)
    failed = []
    if transaction:
        producer.init_transactions(LIMIT)
        producer.begin_transaction()
    for line in sys.stdin:
        record = json.loads(line)
        value = record.get("value")
        if record.get("base64"):
            value = base64.b64decode(value)
        producer.produce(
            topic,
            value,
            record.get("key"),
            record.get("partition", -1),
            headers=[tuple(header) for header in record.get("headers", [])],
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
        )
        producer.poll(0)
    producer.flush(LIMIT)
    if transaction == "commit":
        producer.commit_transaction(LIMIT)
    elif transaction:
        producer.abort_transaction(LIMIT)
    if failed:
        raise SystemExit(failed[0])


def consume(server, topic):
    consumer = Consumer({
        "bootstrap.servers": server,
        "group.id": "client",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    })
    partitions = list(consumer.list_topics(topic, LIMIT).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    ended = set()
    while len(ended) < len(partitions):
        message = consumer.poll(LIMIT)
        if message is None:
            raise SystemExit(f"no answer within {LIMIT} s")
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise SystemExit(str(message.error()))
            ended.add(message.partition())
            continue
        print(json.dumps({
            "partition": message.partition(),
            "offset": message.offset(),
            "key": message.key().decode() if message.key() else None,
            "value": base64.b64encode(message.value() or b"").decode(),
        }))
    consumer.close()


def offsets(server, group, topic):
    consumer = Consumer({"bootstrap.servers": server, "group.id": group})
    partitions = list(consumer.list_topics(topic, LIMIT).topics[topic].partitions)
    found = consumer.committed([TopicPartition(topic, partition) for partition in partitions], LIMIT)
    print(json.dumps({each.partition: each.offset for each in found}))
    consumer.close()


def trim(server, topic, partition, offset):
    place = TopicPartition(topic, int(partition), int(offset))
    admin = AdminClient({"bootstrap.servers": server})
    admin.delete_records([place])[place].result(LIMIT)


if __name__ == "__main__":
    _, server, command, *arguments = sys.argv
    commands = [create, delete, produce, consume, offsets, trim]
    {known.__name__: known for known in commands}[command](server, *arguments)
