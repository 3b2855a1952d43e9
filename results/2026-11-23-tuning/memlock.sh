#!/usr/bin/env bash
# The smallest `ulimit -l` with which an unprivileged ringbeam starts. As root; RINGBEAM=path/to/ringbeam,
# which user nobody must be able to execute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
chmod 755 "$folder"
echo '{}' >"$folder/fleet.json"
for shards in 1 2 4 8; do
    printf '[[listener]]\nnetwork = "default"\naddress = "127.0.0.1:18999"\n[engine]\nshards = %s\n' $shards >"$folder/ringbeam.toml"
    chmod a+r "$folder"/*
    for ((kib = 16; kib < 6000; kib += 16)); do
        shown=$(setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set -all \
            bash -c "ulimit -l $kib; exec timeout -s INT 0.25 $RINGBEAM --log error serve --config $folder/ringbeam.toml" 2>&1) || true
        if grep -q ready <<<"$shown"; then
            echo "{\"experiment\": \"memlock\", \"shards\": $shards, \"smallest_ulimit_l_kib\": $kib}"
            break
        fi
    done
done
