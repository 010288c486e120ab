# One MQTT link against a real broker that is restarted, frozen, absent, forgetful, picky; and a flood.
. "$PITH_SOURCE/tests/integration/broker.sh"
plan 29
probe=$PITH_BUILD/tests/tools/mqtt_probe

# The arguments after the URL are CLIENT-ID and the rest; the name serves as the id.
start() { # NAME URL [INBOX-BYTES ...]
    name=$1 url=$2
    shift 2
    mkfifo "$folder/$name.in"
    "$probe" "$url" "$name" "$@" <"$folder/$name.in" >"$folder/$name.out" 2>"$folder/$name.err" &
    probe_pid=$!
    children="$children $probe_pid"
    exec 7>"$folder/$name.in"
}

say() {
    echo "$*" >&7
}

told() { # PATTERN [TIMES]
    [ "$(grep -c -- "$1" "$folder/$name.out")" -ge "${2:-1}" ]
}

end() {
    say quit
    wait_for told '^closed'
    ended=$?
    exec 7>&-
    wait "$probe_pid" && return $ended
}

number() { # KEY of the last counts
    sed -n "s/^counts.* $1=\([0-9]*\).*/\1/p" "$folder/$name.out" | tail -n 1
}

# Handled all there is: no count changes any more.
settle() {
    last=x now=
    until [ "$last" = "$now" ]; do
        last=$now
        lines=$(grep -c '^counts' "$folder/$name.out")
        say counts
        wait_for told '^counts' $((lines + 1))
        now=$(number received)/$(number handled)/$(number dropped)
        sleep 0.3
    done
}

# ---- a broker that is absent at first ----
absent_port=$(free_port)
start absent "mqtt://127.0.0.1:$absent_port"
wait_for told '^down no connection to 127.0.0.1'
ok $? "a broker that refuses the connection is told once, in words" "$folder/$name.out"
say subscribe t/a keep
say publish t/a 10 3
broker_config home "allow_anonymous true" </dev/null
home_port=$absent_port
sed -i "s/^listener .*/listener $absent_port 127.0.0.1/" "$folder/home.conf"
broker_run home
wait_for told '^up session=0'
ok $? "it connects once the broker is there" "$folder/$name.err"
wait_for told '^done 3 0'
ok $? "what was queued is sent then" "$folder/$name.out"

# ---- many small ones, in a window ----
say publish t/many 100 2000
wait_for told '^done 2000 0'
ok $? "2000 publishes are all acknowledged" "$folder/$name.out"

# ---- restarted: the session and the retained messages are gone ----
broker_restart home
wait_for told '^up session=0' 2
ok $? "it comes back after the broker was killed and started again" "$folder/$name.err"
mosquitto_pub -p "$home_port" -t t/a -m hello -q 1
wait_for told '^message t/a hello'
ok $? "subscriptions are renewed when the broker has lost the session" "$folder/$name.out"
wait_for told '^down the connection broke off'
ok $? "the loss is told"

# ---- publishing while the broker is killed ----
say publish t/burst 2000 1500
broker_restart home
wait_for told '^done 1500 0'
ok $? "1500 publishes are acknowledged though the broker is killed among them" "$folder/$name.out"

# ---- frozen: keep-alive is 5 s ----
broker_pause home
downs=$(grep -c '^down' "$folder/$name.out")
wait_for told '^down' $((downs + 1))
ok $? "a frozen broker is noticed by keep-alive or by what it doesn't acknowledge" "$folder/$name.out"
say publish t/frozen 10 5
broker_resume home
wait_for told '^done 5 0'
ok $? "it comes back when the broker thaws, and what waited is sent" "$folder/$name.err"

# ---- the session lives on with the broker ----
mosquitto_pub -p "$home_port" -t t/kept -m there -r -q 1
end
ok $? "it closes, with nothing left open" "$folder/$name.err"

# ---- a retained message comes with each subscription; two handlers may share a filter, and filters may overlap ----
start shared "mqtt://127.0.0.1:$home_port"
wait_for told '^up'
say subscribe t/kept keep
wait_for told '^message t/kept retained there'
ok $? "a retained message comes with the subscription" "$folder/$name.out"
say unsubscribe t/kept
say subscribe t/kept keep
wait_for told '^message t/kept retained there' 2
ok $? "and again with the next" "$folder/$name.out"
say subscribe s/x keep
say subscribe s/x keep
say subscribe 's/+' keep
wait_for subscribed home 's/+'
mosquitto_pub -p "$home_port" -t s/x -m one -q 1
wait_for told '^message s/x one' 3
mosquitto_pub -p "$home_port" -t s/y -m last -q 1
wait_for told '^message s/y last'
[ "$(grep -c '^message s/x one' "$folder/$name.out")" -eq 3 ]
ok $? "each of three handlers with shared and overlapping filters has a message once" "$folder/$name.out"
end

# ---- a flood that the loop can't keep up with ----
start flood "mqtt://127.0.0.1:$home_port" 262144
wait_for told '^up'
say subscribe 'flood/#' drop 1
wait_for subscribed home 'flood/#'
awk 'BEGIN { text = sprintf("%1000s", "x"); for (i = 0; i < 5000; i++) print text }' >"$folder/flood.txt"
mosquitto_pub -p "$home_port" -t flood/1 -l -q 0 <"$folder/flood.txt"
settle
[ "$(number dropped)" -gt 0 ] && [ "$(number received)" -eq $(($(number handled) + $(number dropped))) ] &&
    [ "$(number received)" -eq 5000 ]
ok $? "of 5000 messages each is handled or counted as dropped: $(tail -n 1 "$folder/$name.out")" "$folder/$name.out"
say subscribe 'keep/#' keep 1
wait_for subscribed home 'keep/#'
handled=$(number handled)
head -n 600 "$folder/flood.txt" | mosquitto_pub -p "$home_port" -t keep/1 -l -q 1
settle
[ "$(number handled)" -eq $((handled + 600)) ]
ok $? "what may not be dropped is not, though it fills more than the inbox's bound: $(tail -n 1 "$folder/$name.out")" "$folder/$name.out"
end

# ---- a broker with a small packet limit: told in CONNACK, and refused here ----
broker_start small <<END
max_packet_size 20000
END
start picky "mqtt://127.0.0.1:$small_port"
say publish t/early 30000 1
wait_for told '^done 0 1'
ok $? "a publish queued before the limit was known is given up alone" "$folder/$name.err"
say publish t/big 30000 1
wait_for told '^refused -90 30000 bytes on t/big are more than the broker takes'
ok $? "a publish past the broker's limit is refused with both sizes" "$folder/$name.out"
say publish t/fits 1000 1
wait_for told '^done 1 0' && ! told '^down'
ok $? "and the link stays up" "$folder/$name.out"
end

# ---- a broker that speaks MQTT 3.1.1 alone ----
old_port=$(free_port)
"$PITH_BUILD/tests/tools/old_broker" "$old_port" "$home_port" >"$folder/versions" &
children="$children $!"
wait_for listens "$old_port"
start old "mqtt://127.0.0.1:$old_port"
wait_for told '^up'
ok $? "a broker that refuses MQTT 5 is spoken to in 3.1.1, at once" "$folder/$name.err"
[ "$(tr '\n' ' ' <"$folder/versions")" = "connect 5 connect 4 " ]
ok $? "after one attempt in each" "$folder/versions"
say publish t/old 2000 500
wait_for told '^done 500 0'
ok $? "500 publishes are acknowledged there" "$folder/$name.out"
before=$(subscriptions home s/x)
say subscribe t/kept keep
say subscribe 's/+' keep
say subscribe s/x keep
wait_for told '^message t/kept retained there'
ok $? "a retained message comes with the subscription" "$folder/$name.out"
wait_for subscribed home s/x "$before"
mosquitto_pub -p "$home_port" -t s/x -m three -q 1
wait_for told '^message s/x three' 2
ok $? "handlers with overlapping filters have each message" "$folder/$name.out"
mosquitto_sub -p "$home_port" -t probe/will -C 1 -W 120 >"$folder/will.out" &
listening=$!
wait_for subscribed home probe/will
kill -KILL "$probe_pid"
exec 7>&-
wait "$listening"
[ "$(cat "$folder/will.out")" = offline ]
ok $? "the will is published when it is gone" "$folder/will.out"
start three "mqtt://127.0.0.1:$home_port" 1048576 - - - 3.1.1
wait_for told '^up'
say publish t/three 10 1
wait_for told '^done 1 0'
grep -q 'event=mqtt_up .*mqtt=3.1.1' "$folder/$name.err"
ok $? "3.1.1 is spoken where the config says so" "$folder/$name.err"
end
start five "mqtt://127.0.0.1:$old_port" 1048576 - - - 5
wait_for told '^down .*Version'
ok $? "where it says 5, there is no way back: $(grep -m 1 '^down' "$folder/$name.out")" "$folder/$name.out"
end

# ---- TLS with client certificates ----
broker_start_tls fleet </dev/null
start tls "mqtts://localhost:$fleet_port" 1048576 "$folder/tls/ca.pem" "$folder/tls/gateway.pem" "$folder/tls/gateway.key"
say publish t/tls 3000 50
wait_for told '^done 50 0'
ok $? "TLS with certificates on both sides works" "$folder/$name.err"
end
start stranger "mqtts://localhost:$fleet_port" 1048576 "$folder/tls/stranger.pem" "$folder/tls/gateway.pem" "$folder/tls/gateway.key"
wait_for told '^down .*\(TLS\|certificate\)'
ok $? "a broker whose certificate nobody vouches for is refused: $(grep -m 1 '^down' "$folder/$name.out")" "$folder/$name.err"
end
