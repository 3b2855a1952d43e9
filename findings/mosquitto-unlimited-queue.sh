#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 12): with `max_queued_messages 0` a client that may not publish somewhere is cut off.
#
# The manual: "Set to 0 for no maximum". MQTT 3.1.1 has no way to refuse a message, so a broker acknowledges it and
# drops it, and that is what happens with any other limit.
# Seen: with 0 the PUBACK still comes, and then the connection is closed ("Unknown error" in the log).
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

printf 'topic read #\n' > acl
chmod 644 acl
try() { # the limit -> what follows the PUBACK of a message that is not allowed
  printf 'listener %s 127.0.0.1\nallow_anonymous true\nacl_file %s/acl\nmax_queued_messages %s\n' "$2" "$folder" "$1" > "limit$1.conf"
  broker "limit$1"
  await "limit$1" running
  timeout 20 python3 - "$2" <<'PYTHON'
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.settimeout(10)
client.sendall(b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c")
assert client.recv(4) == b"\x20\x02\0\0"
client.sendall(b"\x32\x06\0\x01t\0\x07x")
assert client.recv(4) == b"\x40\x02\0\x07", "no PUBACK"
client.sendall(b"\xc0\0")
try:
    print("PINGRESP" if client.recv(2) == b"\xd0\0" else "closed")
except ConnectionResetError:
    print("closed")
PYTHON
}
try 1000 27321 > some
try 0 27322 > none
some=$(cat some) none=$(cat none)
echo "mosquitto $version: max_queued_messages 1000: $some, 0: $none"
[ "$some $none" = "PINGRESP closed" ] || { echo "changed"; exit 1; }
echo "seen: no maximum closes the connection"
