# Sensors on one broker, the fleet on another, and either may go: results flow on, a deployment that was cut goes on with
# the chunks that it had, and a reload moves a link to another broker or is refused with a sentence.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
. "$PITH_SOURCE/tests/integration/deploying.sh"
needs python3 sqlite3
plan 11

broker_start home </dev/null
broker_start fleet </dev/null
mosquitto_sub -p "$home_port" -t 'pith/1/gw/gw-test/#' -v >"$folder/at_home" 2>/dev/null &
children="$children $!"
mosquitto_sub -p "$fleet_port" -t 'pith/1/gw/gw-test/#' -v >"$folder/at_fleet" 2>/dev/null &
children="$children $!"

config_two() { # HOME-PORT FLEET-PORT
    config_write "mqtt://127.0.0.1:$1" <<END
fleet: {url: "mqtt://127.0.0.1:$2"}
compression: {when: always}
pipelines: {scale: {source: hub/scale, codec: json, model: kws}}
END
}
config_two "$home_port" "$fleet_port"
pithd_start

results() {
    grep -c '/result/scale' "$folder/$1"
}
results_reach() { # FILE COUNT
    [ "$(results "$1")" -ge "$2" ]
}
weigh_once() {
    mosquitto_pub -p "$1" -q 1 -t hub/scale -m 1.5 && sleep 0.3
    results_reach "$2" "$3"
}
# Sends until a result comes: the subscription may be a moment later than what asked for it.
weigh() { # PORT FILE
    wanted=$(($(results "$2") + 1))
    wait_for weigh_once "$1" "$2" "$wanted"
}
linked() { # LINK true|false
    call '{"method": "status"}' | python3 -c '
import json, sys
link = json.load(sys.stdin)["result"]["links"][sys.argv[1]]
sys.exit(link["connected"] != (sys.argv[2] == "true"))' "$1" "$2"
}

make_model a kws 1.0 1 8
push a kws
reports kws ' is active ' '"serving":true'
ok $? "a deployment over the fleet's broker comes to serve" "$folder/pithd.log"
weigh "$home_port" at_home
ok $? "and its results come out on the home broker" "$folder/pithd.log"
! grep -q '/result/' "$folder/at_fleet" && ! grep -q '/reported\|/event/\|/telemetry' "$folder/at_home"
ok $? "neither broker carries what is the other's" "$folder/at_home"
grep -q 'availability online' "$folder/at_home" && grep -q 'availability online' "$folder/at_fleet"
ok $? "both are told that the gateway is online" "$folder/at_fleet"

# ---- the fleet is cut while a model is fetched ----
make_model b kws 2.0 2 300000
sha=$(cat "$folder/b/graph")
put_chunk b "$(cat "$folder/b/manifest")" 0
for n in 0 1 3; do
    put_chunk b "$sha" $n
done
put_desired b kws
reports kws '^2 is fetching ' '"missing_count":2'
broker_stop fleet
wait_for linked fleet false && linked home true && weigh "$home_port" at_home
ok $? "with the fleet's broker gone, results flow on" "$folder/pithd.log"
call '{"method": "deployments"}' | grep -q '"active":{[^}]*"generation":1' && weigh "$home_port" at_home
ok $? "and the control socket tells what serves"

# The broker comes back with nothing that it had retained, and gets only the chunks that the gateway lacked.
broker_run fleet
for n in 2 4; do
    put_chunk b "$sha" $n
done
reports kws '^2 is active ' '"serving":true'
ok $? "when it is back, the deployment goes on with the chunks that it had" "$folder/last_report"
[ "$(retained "$fleet_port" pith/1/gw/gw-test/availability)" = online ] &&
    [ -n "$(retained "$fleet_port" pith/1/gw/gw-test/info)" ]
ok $? "and the broker knows again who is there" "$folder/pithd.log"

# ---- reload ----
broker_start other </dev/null
mosquitto_sub -p "$other_port" -t 'pith/1/gw/gw-test/#' -v >"$folder/at_other" 2>/dev/null &
children="$children $!"
config_two "$other_port" "$fleet_port"
kill -HUP "$pithd_pid"
wait_for logged 'event=reloaded' && weigh "$other_port" at_other
ok $? "a reload that names another home broker moves sensors and results there" "$folder/pithd.log"

broker_start second </dev/null
config_two "$other_port" "$second_port"
kill -HUP "$pithd_pid"
wait_for logged 'event=reloaded' 2
fleet_port=$second_port
make_model c kws 3.0 3 8
push c kws
reports kws '^3 is active ' '"serving":true'
[ $? -eq 0 ] && weigh "$other_port" at_other && tail -n 1 "$folder/at_other" | grep -q '"version":"3.0"'
ok $? "one that names another fleet takes deployments from there" "$folder/pithd.log"

config_write "mqtt://127.0.0.1:$other_port" </dev/null
kill -HUP "$pithd_pid"
wait_for logged 'event=reload_refused reason="fleet has changed, which takes effect only at a start: systemctl restart pithd"' &&
    linked fleet true && weigh "$other_port" at_other && pithd_stop
ok $? "one that drops the fleet is refused with a sentence, and all goes on" "$folder/pithd.log"
