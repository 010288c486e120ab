# pithd starts, says what it is, reloads all or nothing, answers calls, and stops.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
needs python3
plan 22

broker_start home </dev/null
mosquitto_sub -p "$home_port" -t 'pith/#' -v >"$folder/seen" 2>/dev/null &
children="$children $!"
config_write "mqtt://127.0.0.1:$home_port" </dev/null
"$pithd" --check --config "$folder/pithd.yaml" >"$folder/check" 2>&1
ok $? "a config without faults passes --check" "$folder/check"
pithd_start
wait_for grep -q 'gw/gw-test/info' "$folder/seen"
ok $? "it says what it is on gw/<gw>/info" "$folder/pithd.log"
[ "$(retained "$home_port" pith/1/gw/gw-test/availability)" = online ]
ok $? "availability is retained and online" "$folder/seen"

"$pithd" --config "$folder/pithd.yaml" >"$folder/second" 2>&1
[ $? -eq 1 ] && grep -q 'another pithd works in' "$folder/second"
ok $? "a second one on the same state folder is refused" "$folder/second"
sed "s|^state_dir: .*|state_dir: $folder/state-of-another|" "$folder/pithd.yaml" >"$folder/another.yaml"
"$pithd" --config "$folder/another.yaml" >"$folder/second" 2>&1
[ $? -eq 1 ] && grep -q 'another pithd listens there' "$folder/second" && call '{"method": "status"}' | grep -q '"ok":true'
ok $? "so is one with a state folder of its own but the same socket, which goes on answering" "$folder/second"
[ "$(stat -c %a "$folder/run/control.sock")" = 660 ]
ok $? "the control socket is open to user and group alone"
call '{"method": "status"}' | grep -q '"ok":true.*"connected":true\|"connected":true.*"ok":true'
ok $? "status tells that the link is up" "$folder/pithd.log"
call '{"method": "statu"}' | grep -q '"code":"not_found","error":"there is no method \\"statu\\"; did you mean \\"status\\"?"'
ok $? "an unknown method is refused with a suggestion"
call '{"method": "status", "method": "plugins"}' | grep -q '"code":"invalid"'
ok $? "a request with a key twice is refused"
{ printf '{"method": "status"}\n\n{"method": "describe"}\n'; } >"$folder/lines"
[ "$(python3 - "$folder/run/control.sock" "$folder/lines" <<'END'
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(120)
    s.connect(sys.argv[1])
    s.sendall(open(sys.argv[2], "rb").read())
    got = b""
    while got.count(b"\n") < 2:
        got += s.recv(65536)
    lines = got.split(b"\n")
    print("uptime_ms" in lines[0].decode() and "methods" in lines[1].decode())
END
)" = True ]
ok $? "two requests in one packet are answered in order"
python3 - "$folder/run/control.sock" >"$folder/long" <<'END'
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(120)
    s.connect(sys.argv[1])
    try:
        s.sendall(b"x" * 100000)
    except OSError:
        pass
    got = b""
    while True:
        try:
            part = s.recv(65536)
        except OSError:
            break
        if not part:
            break
        got += part
    print("closed")
END
grep -q closed "$folder/long" && call '{"method": "status"}' | grep -q '"ok":true'
ok $? "a request without an end is cut off, and others are still served"

# The other door.
listen_for_answer() { # -> $listener, which ends with the answer
    listening=$(subscriptions home pith/1/answer/test)
    mosquitto_sub -V mqttv5 -p "$home_port" -t pith/1/answer/test -C 1 -W 120 >"$folder/answer" 2>/dev/null &
    listener=$!
    wait_for subscribed home pith/1/answer/test "$listening"
}
listen_for_answer
mosquitto_pub -V mqttv5 -p "$home_port" -t pith/1/gw/gw-test/call/status -n -q 1 \
    -D publish response-topic pith/1/answer/test -D publish correlation-data 42
wait $listener
grep -q '"gateway":"gw-test"' "$folder/answer"
ok $? "a call over MQTT is answered on the response topic" "$folder/answer"
listen_for_answer
mosquitto_pub -V mqttv5 -p "$home_port" -t pith/1/gw/gw-test/call/reload -m '{}' -q 1 \
    -D publish response-topic pith/1/answer/test
wait $listener
grep -q 'remote_changes: true' "$folder/answer"
ok $? "what changes state is refused over MQTT unless the config allows it" "$folder/answer"

# Reload: all or nothing.
cp "$folder/pithd.yaml" "$folder/good.yaml"
printf 'telemetri: {keep: 1d}\nlog: loud\n' >>"$folder/pithd.yaml"
kill -HUP "$pithd_pid"
wait_for logged 'event=reload_refused'
ok $? "SIGHUP with a broken file keeps the old config" "$folder/pithd.log"
logged 'config_fault.*pithd.yaml:8:1: .*did you mean .*telemetry' && logged 'config_fault.*pithd.yaml:9:6: '
ok $? "each fault is logged with line and column" "$folder/pithd.log"
wait_for grep -q 'event/reload-refused' "$folder/seen" && call '{"method": "status"}' | grep -q '"ok":true'
ok $? "and it goes on serving" "$folder/pithd.log"
{ cat "$folder/good.yaml"; echo "meters: [cputime]"; } >"$folder/pithd.yaml"
kill -HUP "$pithd_pid"
wait_for logged 'event=reload_refused reason="meters has changed, which takes effect only at a start'
ok $? "SIGHUP with other meters is refused" "$folder/pithd.log"
{ cat "$folder/good.yaml"; echo "groups: [beta]"; } >"$folder/pithd.yaml"
kill -HUP "$pithd_pid"
wait_for grep -q 'gw-test/info.*"groups":\["beta"\]' "$folder/seen"
ok $? "SIGHUP with a good file takes it" "$folder/pithd.log"

pithd_stop && [ "$(retained "$home_port" pith/1/gw/gw-test/availability)" = offline ] && [ ! -e "$folder/run/control.sock" ]
ok $? "SIGTERM says offline, removes the socket and ends with 0" "$folder/pithd.log"

# Without stdin, stdout and stderr the next files would take their places, and the log be written into them.
: >"$folder/pithd.log"
"$pithd" --config "$folder/pithd.yaml" <&- >&- 2>&- &
pithd_pid=$!
children="$children $pithd_pid"
wait_for test -S "$folder/run/control.sock"
call '{"method": "status"}' | grep -q '"ok":true' && readlink "/proc/$pithd_pid/fd/0" "/proc/$pithd_pid/fd/1" \
    "/proc/$pithd_pid/fd/2" >"$folder/standard" && [ "$(grep -cx /dev/null "$folder/standard")" -eq 3 ] && pithd_stop
ok $? "it runs without standard files" "$folder/standard"

# What systemd is told, on a socket of our own.
python3 - "$folder/notify" >"$folder/told" <<'END' &
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.bind(sys.argv[1])
    s.settimeout(180)
    while True:
        text = s.recv(4096).decode()
        print(text.replace("\n", " "), flush=True)
        if "STOPPING=1" in text:
            break
END
listener=$!
children="$children $listener"
wait_for test -S "$folder/notify"
: >"$folder/pithd.log"
NOTIFY_SOCKET=$folder/notify WATCHDOG_USEC=200000 "$pithd" --config "$folder/pithd.yaml" 2>>"$folder/pithd.log" &
pithd_pid=$!
children="$children $pithd_pid"
wait_for grep -q '^READY=1' "$folder/told"
kill -HUP "$pithd_pid"
wait_for grep -q '^RELOADING=1 MONOTONIC_USEC=[0-9]' "$folder/told" && wait_for grep -q '^WATCHDOG=1' "$folder/told"
ok $? "systemd is told of readiness, reloading and that it lives" "$folder/told"
pithd_stop && wait_for grep -q '^STOPPING=1' "$folder/told" && ! logged 'took_ms=[0-9]\{5\}'
ok $? "and of stopping; no turn of the loop counts as slow for having slept" "$folder/pithd.log"
