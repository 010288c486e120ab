# Samples that a gateway keeps with its config's consent: drawn from the stream, used by the real worker to compress the next
# version within its budget, unharmed by kill -9 of pithd, gone when the consent is.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
. "$PITH_SOURCE/tests/integration/deploying.sh"
needs sqlite3 python3
plan 16
# The real worker, which begins late where a test has to see its job under way.
worker=$folder/worker
cat >"$worker" <<END
#!/bin/sh
[ -e "$folder/late" ] && sleep 3 >/dev/null 2>&1 3>&-
exec "$PITH_BUILD/pith-worker" "\$@"
END
chmod 755 "$worker"
samples=$folder/state/samples/kws
budget='"budget": {"accuracy_drop_points": 5.0}'

# Sends numbers until the command succeeds.
feed_until() {
    (while seq 1 40; do # until nobody reads it
        sleep 0.1
    done) 2>/dev/null | mosquitto_pub -p "$home_port" -q 1 -t test/numbers -l 2>/dev/null &
    feeding=$!
    wait_for "$@"
    fed=$?
    kill "$feeding" 2>/dev/null
    wait "$feeding" 2>/dev/null
    return $fed
}

kept() { # AT-LEAST
    [ "$(find "$samples" -name '*.npy' 2>/dev/null | wc -l)" -ge "$1" ]
}

exactly() { # COUNT
    [ "$(find "$samples" -name '*.npy' | wc -l)" -eq "$1" ]
}

seen() { # NUMBER: so many samples were offered
    [ "$(find "$samples" -name '*.npy' | sed 's/.*\///; s/\.npy//' | sort -n | tail -n 1)" -ge "$1" ]
}

active() { # GENERATION
    [ "$(sql "SELECT state FROM deployments WHERE generation = $1")" = active ]
}

heard() { # AT-LEAST
    [ "$(wc -l <"$folder/results")" -ge "$1" ]
}

gone() {
    [ ! -e "$folder/state/samples" ]
}

write_config() { # KEEP-SAMPLES
    config_write "mqtt://127.0.0.1:$home_port" <<END
compression: {when: always, deadline: 120s, memory: 512MB, keep_samples: $1, sample_every: 10ms}
pipelines:
  numbers: {source: test/numbers, codec: {json: {}}, model: kws, queue: 1000}
END
}

broker_start home </dev/null
printf 'steps:\n  - quantize: {weights: int8, activations: int8}\n' >"$folder/recipes/balanced.yaml"
write_config 0
mkdir -p "$folder/state/samples/kws"
: >"$folder/state/samples/kws/0.npy"
pithd_start
wait_for gone
ok $? "without consent, what was kept before is removed at a start" "$folder/pithd.log"
make_model a kws 1.0 1 20000 "$budget"
push a kws
reports kws ' is active ' '"serving":true'
mosquitto_sub -p "$home_port" -t pith/1/gw/gw-test/result/numbers >"$folder/results" &
children="$children $!"
feed_until heard 100
[ $? -eq 0 ] && gone
ok $? "and nothing is kept of what arrives" "$folder/pithd.log"

write_config 12
kill -HUP "$pithd_pid"
wait_for logged 'event=reloaded'
feed_until kept 12
ok $? "with consent, samples are kept" "$folder/pithd.log"
feed_until seen 20
wait_for exactly 12 # a new one is there for an instant before another gives way
ok $? "never more than the config allows, whatever is drawn"
[ "$(stat -c %a "$folder/state/samples/kws")" = 700 ]
ok $? "for the daemon's user alone"

make_model b kws 2.0 2 20000 "$budget"
push b kws
wait_for active 2
ok $? "the next version is compressed with them" "$folder/pithd.log"
logged 'event=kept_samples_used model=kws sample_count=12' &&
    logged 'generation=2 state=active .*its outputs are no scores, so no decisions were compared: they err by 0\.000' &&
    [ "$(sql "SELECT count(*) FROM deployments WHERE generation = 2 AND variant_bytes < original_bytes AND
        fidelity_ratio IS NULL")" = 1 ]
ok $? "and compared with the original on samples held back" "$folder/pithd.log"

# ---- killed while samples are kept and used ----
seed=${SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
echo "# seed $seed"
broken=0
make_model c kws 3.0 3 200000 "$budget"
push c kws
for kill in 1 2 3 4; do
    feed_until sleep "$(awk -v s="$seed" 'BEGIN { printf "%.3f", 0.05 + (s % 300) / 1000 }')"
    seed=$(((seed * 75 + 74) % 65537))
    kill -KILL "$pithd_pid"
    wait "$pithd_pid" 2>/dev/null
    for file in "$samples"/*.npy; do
        [ "$(head -c 6 "$file" | tail -c 5)" = NUMPY ] || broken=$((broken + 1))
    done
    kept 13 && [ "$(find "$samples" -name '*.npy' | wc -l)" -gt 13 ] && broken=$((broken + 1))
    pithd_start
done
[ "$broken" -eq 0 ]
ok $? "after each of $kill kills every sample is whole, and at most one is too many"
wait_for active 3
ok $? "and the deployment goes through" "$folder/pithd.log"
[ ! -e "$folder/state/deployments/3/data" ]
ok $? "its job keeps no copy of them"

# ---- consent withdrawn while a job has them ----
copied() {
    [ -e "$folder/state/deployments/4/data/calibration_x.npy" ] &&
        [ "$(sql "SELECT state FROM deployments WHERE generation = 4")" = vetting ]
}
copies_gone() {
    [ ! -e "$folder/state/deployments/4/data/calibration_x.npy" ] && [ ! -e "$folder/state/deployments/4/data/validation_x.npy" ]
}
make_model d kws 4.0 4 400000 "$budget"
touch "$folder/late"
push d kws
wait_for copied
ok $? "a job works on copies of them" "$folder/pithd.log"
rm "$folder/late"
write_config 0
kill -HUP "$pithd_pid"
wait_for gone
ok $? "when the consent is withdrawn, all of them are removed" "$folder/pithd.log"
wait_for copies_gone && logged 'reason="begins anew without the samples that were kept here'
ok $? "those of the job under way too, which begins anew without them" "$folder/pithd.log"
wait_for active 4 && [ "$(sql "SELECT count(*) FROM deployments WHERE generation = 4 AND fidelity_ratio IS NULL")" = 1 ]
ok $? "and goes through" "$folder/pithd.log"

# ---- a budget that nothing keeps ----
make_model e kws 5.0 5 20000 '"budget": {"latency_ms": 0.000001}'
push e kws
wait_for active 5
[ "$(sql "SELECT count(*) FROM deployments WHERE generation = 5 AND
    reason LIKE '%; not kept: median latency is % ms; the budget is 1e-06 ms'")" = 1 ]
ok $? "what a budget gave up stands in the database, in a sentence" "$folder/pithd.log"
reports kws '^5 is active ' '"reason":"[^"]*; not kept: median latency is '
ok $? "and in the reported document" "$folder/last_report"
pithd_stop
