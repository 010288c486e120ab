# Sourced after broker.sh: a pithd with a config of the test's own.
pithd=${PITHD_COMMAND:-$PITH_BUILD/pithd}
mkdir -p "$folder/recipes"
printf 'steps: []\n' >"$folder/recipes/balanced.yaml"
openssl genpkey -algorithm ed25519 -out "$folder/release.key" 2>/dev/null
openssl pkey -in "$folder/release.key" -pubout -out "$folder/release.pub" 2>/dev/null

# The least that a config needs, in $folder/pithd.yaml; more on stdin.
config_write() { # HOME-URL
    {
        cat <<END
gateway: gw-test
home: {url: "$1"}
trust: [$folder/release.pub]
state_dir: $folder/state
run_dir: $folder/run
recipe_path: $folder/recipes
worker: ${worker:-$PITH_BUILD/pithd}
END
        cat
    } >"$folder/pithd.yaml"
}

started_or_gone() {
    grep -q 'event=started\|event=start_failed' "$folder/pithd.log" || ! kill -0 "$pithd_pid"
}

pithd_start() { # -> $pithd_pid, its log in $folder/pithd.log
    "$pithd" --config "$folder/pithd.yaml" >"$folder/pithd.out" 2>>"$folder/pithd.log" &
    pithd_pid=$!
    children="$children $pithd_pid"
    wait_for started_or_gone
}

logged() { # PATTERN [TIMES]
    [ "$(grep -c -- "$1" "$folder/pithd.log")" -ge "${2:-1}" ]
}

pithd_stop() { # -> its exit status
    kill -TERM "$pithd_pid"
    wait "$pithd_pid"
}

# The retained message, or nothing.
retained() { # PORT TOPIC
    mosquitto_sub -p "$1" -t "$2" -C 1 -W 20 2>/dev/null
}

# One call over the socket; the answer on stdout.
call() { # REQUEST
    python3 - "$folder/run/control.sock" "$1" <<'END'
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(120)
    s.connect(sys.argv[1])
    s.sendall(sys.argv[2].encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        part = s.recv(65536)
        if not part:
            break
        answer += part
    sys.stdout.write(answer.decode())
END
}
