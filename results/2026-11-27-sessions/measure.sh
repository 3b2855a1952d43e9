#!/bin/bash
# How long `ringbeam serve` takes to start, and what it has resident 3 s later, three times.
# measure.sh RINGBEAM SIMS GROUPS SESSIONS [ip]
set -e
here=$(cd "$(dirname "$0")" && pwd)
ringbeam=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf 'a%.0s' $(seq 64) > key
cat > ringbeam.toml <<T
[[listener]]
address = "127.0.0.1:0"
[engine]
shards = 2
max_sessions = 4000
[registry]
kind = "embedded"
secret_key_file = "key"
[control]
address = "127.0.0.1:0"
T
python3 "$here/fleet.py" "$2" "$3" fleet.json "${@:5}"
"$ringbeam" fleet import fleet.json > /dev/null
python3 "$here/sessions.py" "$4" ringbeam.db
for _ in 1 2 3; do
    : > out
    began=$(date +%s%N)
    "$ringbeam" serve > out 2> log &
    until grep -q ready out; do sleep 0.01; done
    ended=$(date +%s%N)
    sleep 3
    echo "SIMs $2 groups $3 sessions $4 $5: started in $(((ended - began) / 1000000)) ms," \
        "$(awk '/VmRSS/ {print $2}' /proc/$!/status) KiB resident, $(awk '/VmHWM/ {print $2}' /proc/$!/status) at most"
    kill $!
    wait $! || true
done
