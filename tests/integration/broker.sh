# Sourced by integration tests: what tap.sh has, free ports, and a real mosquitto on loopback.
#
#   . "$PITH_SOURCE/tests/integration/broker.sh"
#   broker_start home                  # -> $home_port, $folder/home.log; more lines for its config on stdin
#   broker_start_tls fleet             # -> $fleet_port; certificates in $folder/tls, client certificates asked for
#   broker_pause fleet; broker_resume fleet; broker_stop fleet; broker_restart fleet
#
# All that was started is ended when the test ends.

. "$PITH_SOURCE/tests/integration/tap.sh"

# Waits until the command succeeds; at most $patience tries of 0.1 s. What is there comes at once on a machine that is idle,
# and all of this is for one that is slow or busy with something else: only what is stuck for good should fail here.
patience=${PATIENCE:-1800}
wait_for() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -ge "$patience" ] && return 1
        sleep 0.1
    done
    return 0
}

command -v mosquitto >/dev/null || PATH=$PATH:/usr/sbin
needs mosquitto mosquitto_sub

# A port that nobody listens on now; who takes it tries another where it was taken meanwhile.
free_port() {
    while :; do
        port=$((20000 + $(od -An -N4 -tu4 /dev/urandom) % 12000))
        grep -qi "$(printf ':%04X ' "$port")" /proc/net/tcp /proc/net/tcp6 2>/dev/null || break
    done
    echo "$port"
}

listens() { # PORT
    grep -qi "$(printf ':%04X 00000000:0000 0A' "$1")" /proc/net/tcp
}

broker_run() { # NAME: from its config
    mosquitto -c "$folder/$1.conf" >>"$folder/$1.log" 2>&1 &
    eval "$1_pid=$!"
    children="$children $!"
    eval "wait_for listens \$$1_port"
}

broker_config() { # NAME LINE...: its config, and what stands on stdin
    broker=$1
    shift
    port=$(free_port)
    eval "${broker}_port=$port"
    {
        echo "listener $port 127.0.0.1"
        for line in "$@" "log_type error" "log_type warning" "log_type notice" "log_type information" "log_type subscribe"; do
            echo "$line"
        done
        cat
    } >"$folder/$broker.conf"
}

# Not at the end of a pipe, where it would run in a shell of its own.
broker_start() { # NAME, config lines on stdin (</dev/null for none)
    broker_config "$1" "allow_anonymous true"
    broker_run "$1"
}

# A certificate authority, a server certificate for localhost and 127.0.0.1, and one for a client called `gateway`.
tls_make() {
    [ -d "$folder/tls" ] && return
    mkdir "$folder/tls"
    (
        cd "$folder/tls" || exit 1
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=test authority" \
            -keyout ca.key -out ca.pem
        for who in server gateway stranger; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$who" -keyout $who.key -out $who.csr
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >ext
            openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $who.pem
        done
        # signed by nobody that the server knows
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=stranger" \
            -keyout stranger.key -out stranger.pem
        chmod 600 ./*.key
    ) >"$folder/tls.log" 2>&1
}

broker_start_tls() { # NAME
    tls_make
    broker_config "$1" "cafile $folder/tls/ca.pem" "certfile $folder/tls/server.pem" "keyfile $folder/tls/server.key" \
        "require_certificate true" "use_identity_as_username true"
    # Started by root it would become its own user, which can't read the key.
    [ "$(id -u)" -eq 0 ] && echo "user root" >>"$folder/$1.conf"
    broker_run "$1"
}

# How often somebody has subscribed to the filter; the broker logs it when it has taken it.
subscriptions() { # NAME FILTER
    grep -c -- " [012] $2\$" "$folder/$1.log"
}

subscribed() { # NAME FILTER [MORE-THAN]: what is published from now on reaches who asked for it
    [ "$(subscriptions "$1" "$2")" -gt "${3:-0}" ]
}

broker_pause() {
    eval "kill -STOP \$$1_pid"
}

broker_resume() {
    eval "kill -CONT \$$1_pid"
}

broker_stop() { # at once, without a word to its clients
    eval "kill -KILL \$$1_pid"
    eval "wait \$$1_pid 2>/dev/null"
}

broker_restart() { # the same port; what it retained is gone
    broker_stop "$1"
    broker_run "$1"
}
