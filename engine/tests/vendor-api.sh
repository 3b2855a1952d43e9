#!/usr/bin/env bash
# Asks a ringbeam of its own whatever the vendor's description of the API allows. The description is the vendor's and
# not part of this project: give its file. Needs `make target/test-venv/.ready` and a built binary.
#   engine/tests/vendor-api.sh openapi.yaml [EXAMPLES]
set -euo pipefail
document=$(realpath "${1:?which file is the description}")
examples=${2:-50}
cd "$(dirname "$0")/../.."
ringbeam=${RINGBEAM:-target/debug/ringbeam}
python=${PYTHON:-target/test-venv/bin/python}
email=operator@example.com
password=$(head -c 18 /dev/urandom | base64)
folder=$(mktemp -d)
engine=
finish() {
    if [ -n "$engine" ]; then kill "$engine" && wait "$engine" || true; fi
    rm -rf "$folder"
}
trap finish EXIT

head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$folder/key"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > "$folder/ringbeam.toml" <<END
[[listener]]
address = "127.0.0.1:0"
[registry]
kind = "embedded"
path = "$folder/ringbeam.db"
secret_key_file = "$folder/key"
[control]
address = "127.0.0.1:$port"
END
echo '{"groups": []}' > "$folder/fleet.json"
"$ringbeam" fleet import --config "$folder/ringbeam.toml" "$folder/fleet.json" > "$folder/imported"
echo "$password" | "$ringbeam" user add --config "$folder/ringbeam.toml" --email "$email" > "$folder/added"
"$ringbeam" serve --config "$folder/ringbeam.toml" > "$folder/ready" 2> "$folder/log" &
engine=$!
until grep -q ready "$folder/ready"; do
    kill -0 "$engine" || { cat "$folder/log"; exit 1; }
    sleep 0.05
done
echo "$password" | "$python" engine/tests/api/run.py --url "http://127.0.0.1:$port" --email "$email" \
    --document "$document" --base /v1 --examples "$examples" --last logout
