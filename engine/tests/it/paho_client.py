"""A device with paho: publishes up at every QoS, subscribes and is published to at every QoS.

Arguments: the device's address, the entry point's port, the broker's port, the MQTT version (31, 311, 5).
Prints what the broker and what the device received.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt

ADDRESS, ENTRY_POINT, BROKER, VERSION = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
PROTOCOL = {"31": mqtt.MQTTv31, "311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[VERSION]
PATIENCE_SECONDS = 20


def connect(name, port, protocol, address=""):
    """A connected client whose messages and subscriptions arrive in queues."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol)
    client.received, client.granted, client.connected = queue.Queue(), queue.Queue(), queue.Queue()
    client.on_connect = lambda _c, _u, _f, reason, _p: client.connected.put(reason)
    client.on_subscribe = lambda _c, _u, _m, reasons, _p: client.granted.put(reasons)
    client.on_message = lambda _c, _u, m: client.received.put([m.topic, m.qos, m.payload.decode()])
    client.connect("127.0.0.1", port, keepalive=60, bind_address=address)
    client.loop_start()
    reason = client.connected.get(timeout=PATIENCE_SECONDS)
    assert not reason.is_failure, reason
    return client


def subscribe(client, topic):
    client.subscribe(topic, qos=2)
    for reason in client.granted.get(timeout=PATIENCE_SECONDS):
        assert not reason.is_failure, reason


def exchange(publisher, topic, receiver, word):
    """Publishes at each QoS, waits for every acknowledgement, returns what arrived."""
    for qos in (0, 1, 2):
        publisher.publish(topic, f"{word} {qos}", qos=qos).wait_for_publish(PATIENCE_SECONDS)
    return [receiver.received.get(timeout=PATIENCE_SECONDS) for _ in range(3)]


observer = connect("observer", BROKER, mqtt.MQTTv311)
device = connect("paho-device", ENTRY_POINT, PROTOCOL, ADDRESS)
subscribe(observer, "paho/up/#")
subscribe(device, "paho/down/{{imsi}}")
up = exchange(device, "paho/up", observer, "up")
imsi = up[0][0].rsplit("/", 1)[1]
down = exchange(observer, f"paho/down/{imsi}", device, "down")
device.disconnect()
observer.disconnect()
print(json.dumps({"up": up, "down": down}))
