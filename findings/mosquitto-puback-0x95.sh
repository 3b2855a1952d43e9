#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 12): a v5 message over `message_size_limit` is acknowledged with 0x95.
#
# MQTT 5 (table 3-4) lists nine reason codes for a PUBACK; 0x95, Packet too large, is none of them. Whoever checks
# codes against that table ends the connection for it.
# Seen: PUBACK 0x95 and PUBREC 0x95; the connection goes on.
set -euo pipefail
version=2.0.11-1.2+deb12u2
folder=$(mktemp -d)
started=()
finish() { for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; rm -rf "$folder"; }
trap finish EXIT
chmod 755 "$folder" # the broker gives up its rights
cd "$folder"
apt-get download -q "mosquitto=$version" "libmosquitto1=$version" libcjson1 libdlt2 libwrap0 libwebsockets17 libuv1 libev4 libcap2 > download.log 2>&1 \
  || { cat download.log; echo "no packages: this takes Debian 12"; exit 1; }
for package in ./*.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$folder/root/usr/lib/$(uname -m)-linux-gnu:$folder/root/lib/$(uname -m)-linux-gnu
broker() { timeout 60 root/usr/sbin/mosquitto -v -c "$1.conf" > "$1.log" 2>&1 & started+=($!); }
await() { for _ in $(seq 200); do grep -q "$2" "$1.log" 2>/dev/null && return; sleep 0.05; done; echo "waited in vain for: $2"; cat "$1.log"; exit 1; } >&2

printf 'listener 27331 127.0.0.1\nallow_anonymous true\nmessage_size_limit 100\n' > broker.conf
broker broker
await broker running
timeout 20 python3 - <<'PYTHON'
import socket
client = socket.create_connection(("127.0.0.1", 27331))
client.settimeout(10)
client.sendall(b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c")
client.recv(100)
for first, kind in ((0x32, "PUBACK"), (0x34, "PUBREC")):
    body = b"\0\x01t\0\x07\0" + b"x" * 110
    client.sendall(bytes((first, len(body))) + body)
    answer = client.recv(100)
    print(kind, answer.hex(" "))
    assert answer[4] == 0x95, "changed"
client.sendall(b"\xc0\0")
assert client.recv(2) == b"\xd0\0", "changed: closed"
PYTHON
echo "seen: mosquitto $version answers with 0x95"
