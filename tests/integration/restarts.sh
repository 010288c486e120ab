# What a start of pithd finds: a version that keeps it from starting, a database that was lost.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
. "$PITH_SOURCE/tests/integration/deploying.sh"
needs sqlite3
plan 7

broker_start home </dev/null
config_write "mqtt://127.0.0.1:$home_port" <<END
compression: {when: always}
END
pithd_start
make_model a kws 1.0 3 1000
push a kws
reports kws '^3 is active ' '"serving":true'
make_model b kws 1.1 4 1000
push b kws
reports kws '^4 is active ' '"previous":{[^}]*"generation":3' '"serving":true'
ok $? "two versions are here, the newer one serves" "$folder/pithd.log"
# The trial is over before the daemon may be ended: what is written below must be the last word.
wait_for sh -c "sqlite3 -readonly '$folder/state/pith.db' 'SELECT trial_count FROM models' | grep -qx 0"

# ---- a crash loop ----
# A version that takes the daemon down leaves its trial open: each start counts one more, before it is loaded.
started_with_trials() { # COUNT: as if so many starts had ended before the version came to serve
    kill -KILL "$pithd_pid"
    wait "$pithd_pid" 2>/dev/null
    sqlite3 "$folder/state/pith.db" "UPDATE models SET trial_count = $1"
    : >"$folder/pithd.log"
    pithd_start
}

started_with_trials 4
reports kws '"active":{[^}]*"generation":4' '"serving":true'
ok $? "after four starts that ended early it is tried once more" "$folder/pithd.log"
wait_for sh -c "sqlite3 -readonly '$folder/state/pith.db' 'SELECT trial_count FROM models' | grep -qx 0"
ok $? "and as it serves now, the trial ends" "$folder/pithd.log"
started_with_trials 5
reports kws ' is rolled-back ' '"active":{[^}]*"generation":3' '"serving":true' \
    'pithd ended 5 times while it began to serve this version'
ok $? "after five the version before serves, and the document says why" "$folder/last_report"

# ---- a lost database ----
pithd_stop
rm -f "$folder/state"/pith.db*
mosquitto_pub -p "$home_port" -r -n -t pith/1/gw/gw-test/model/kws/desired
: >"$folder/pithd.log"
pithd_start
logged 'event=deployment_guard_kept model=kws generation=4'
ok $? "without its database, pithd knows which generation it has accepted" "$folder/pithd.log"
put_desired a kws
wait_for logged 'event=deployment_refused model=kws.*generation 3 is older than 4'
ok $? "an older document is still refused" "$folder/pithd.log"
put_desired b kws
reports kws ' is active ' '"active":{[^}]*"generation":4' '"serving":true'
ok $? "and the one that it had accepted brings the model back" "$folder/pithd.log"
