"""Publishes at QoS 1 with a window, and prints how many messages were acknowledged, and in which order.

Arguments: port, protocol (4 or 5), number of messages, window, user, password.
"""

import sys
import threading

import paho.mqtt.client as mqtt

port, protocol, count, window = map(int, sys.argv[1:5])
user, password = sys.argv[5:7]
done = threading.Event()
connected = threading.Event()
refused = []
acknowledged = []


def on_connect(client, userdata, flags, reason, properties):
    if reason.is_failure:
        refused.append(str(reason))
        done.set()
    connected.set()


def on_publish(client, userdata, mid, reason, properties):
    acknowledged.append(mid)
    if len(acknowledged) == count:
        done.set()


client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2, client_id="paho", protocol=protocol
)
if user:
    client.username_pw_set(user, password)
client.will_set("wills/paho", "gone", qos=1, retain=True)
client.max_inflight_messages_set(window)
client.on_connect = on_connect
client.on_publish = on_publish
client.connect("127.0.0.1", port, keepalive=5)
client.loop_start()
# What is published before the CONNACK, the client may send twice.
connected.wait(60)
sent = [
    client.publish("rigs/RIG-1/measurements/pressure", str(n), qos=1, retain=n % 2 == 0).mid
    for n in range(count)
]
done.wait(60)
client.disconnect()
client.loop_stop()
if refused:
    print("refused:", refused[0])
else:
    print(len(acknowledged), "in order" if acknowledged == sent else "not in order")
