#!/usr/bin/env bash
# paho.mqtt.c 1.3.12 (Debian 12) with the MQTT version left to the library: a broker that closes without a CONNACK, as one that is starting does, makes the next
# attempt one of MQTT 3.1, whatever the broker speaks; if that one is served, the session is 3.1. It is what a refusal of the version (CONNACK 1) is for.
#
# seen: protocol levels 4 and 3 among the first four CONNECTs of one client, three of which were answered by closing.
# Fails (exit 1) if that changes. Needs gcc, apt-get and python3.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q libpaho-mqtt-dev=1.3.12-1 libpaho-mqtt1.3=1.3.12-1 >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" .; done
libraries=$(dirname "$(find "$folder" -name libpaho-mqtt3a.so)")
cat > client.c <<'END'
#include <stdio.h>
#include <unistd.h>
#include <MQTTAsync.h>
static volatile int again = 1;
static void failed(void *context, MQTTAsync_failureData *data) { again = 1; }
int main(int argc, char **argv) {
    MQTTAsync client;
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    MQTTAsync_create(&client, argv[1], "c", MQTTCLIENT_PERSISTENCE_NONE, NULL);
    options.onFailure = failed;
    for (int second = 0; second < 30; second++) {
        if (again) { again = 0; MQTTAsync_connect(client, &options); }
        sleep(1);
    }
}
END
gcc -o client client.c -Iusr/include -L"$libraries" -lpaho-mqtt3a -Wl,-rpath,"$libraries"
timeout 60 python3 - <<'END'
import socket
import subprocess
import sys

listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(25)
client = subprocess.Popen(["./client", f"tcp://127.0.0.1:{listener.getsockname()[1]}"])
levels = []
try:
    while len(levels) < 4:
        stream, _ = listener.accept()
        connect = b""
        while len(connect) < 14 and (more := stream.recv(4096)):
            connect += more
        if len(connect) < 14:
            continue
        name = connect.index(b"MQ")
        levels.append(connect[name + connect[name - 1]])
        if len(levels) == 4:
            stream.sendall(b"\x20\x02\x00\x00")
        stream.close()
finally:
    client.kill()
print("paho.mqtt.c 1.3.12, protocol levels of its CONNECTs:", *levels)
sys.exit(0 if 3 in levels and 4 in levels else 1)
END
