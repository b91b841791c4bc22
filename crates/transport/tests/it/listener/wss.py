"""Publishes a message by MQTT over WebSocket with TLS, and waits for its acknowledgement."""

import sys

import paho.mqtt.client as mqtt

port, authority = int(sys.argv[1]), sys.argv[2]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, transport="websockets")
client.tls_set(ca_certs=authority)
client.connect("127.0.0.1", port)
client.loop_start()
message = client.publish("t", "by wss", qos=1)
message.wait_for_publish(20)
assert message.is_published()
client.disconnect()
