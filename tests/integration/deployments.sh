# Deployments from outside: a real broker, a real pithd, real workers that behave as the version's name says.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
. "$PITH_SOURCE/tests/integration/deploying.sh"
needs sqlite3
sanitized=
grep -q '^#define PITH_SANITIZED' "$PITH_BUILD/config.h" && sanitized=1
plan $((36 - ${sanitized:-0})) # the memory limit is address space, which sanitizers reserve by the terabyte

broker_start home </dev/null
mosquitto_sub -p "$home_port" -t 'pith/1/gw/gw-test/event/#' -v >"$folder/events" 2>/dev/null &
children="$children $!"
limit_jobs() { # TIME that a job may take
    config_write "mqtt://127.0.0.1:$home_port" <<END
groups: [beta]
compression: {when: always, deadline: $1, memory: 512MB}
model_max_size: 4MB
END
}
relimit_jobs() {
    reloads=$(grep -c 'event=reloaded' "$folder/pithd.log")
    limit_jobs "$1"
    kill -HUP "$pithd_pid"
    wait_for logged 'event=reloaded' $((reloads + 1))
}
limit_jobs 10min
pithd_start

# ---- the way to active ----
make_model a kws 1.0 1 200000
push a kws
reports kws ' is active ' '"serving":true'
ok $? "a signed model goes all the way to active" "$folder/pithd.log"
sql "SELECT group_concat(state, ' ') FROM (SELECT state FROM deployment_states ORDER BY sequence)" >"$folder/states"
# A worker that is quick passes through compressing while the state before is still being written.
grep -qx 'accepted fetching verifying vetting\( compressing\)\{0,1\} evaluating active' "$folder/states"
ok $? "each state is in the database, in order" "$folder/states"
[ "$(sql "SELECT original_bytes, variant_bytes, fidelity_ratio FROM deployments")" = "1000|500|1.0" ] &&
    [ "$(sql "SELECT name, bytes_before, bytes_after, latency_after_us FROM deployment_steps")" = "vet|1000|1000|20.0" ]
ok $? "what was measured is in the database, step by step"
sql "SELECT * FROM deployment_history" | grep -q '^kws|1.0|1|.*|active|1|'
ok $? "deployment_history reads like a story"
[ ! -e "$folder/state/deployments/1/data" ] && [ "$folder/state/deployments/1/original/g.onnx" -ef \
    "$folder/state/blobs/$(cat "$folder/a/graph")" ]
ok $? "the job's scratch is gone, and its original is the store's"

# ---- documents that are not taken ----
cp "$folder/release.key" "$folder/good.key"
openssl genpkey -algorithm ed25519 -out "$folder/release.key" 2>/dev/null
make_model stranger kws 2.0 2 1000
mv "$folder/good.key" "$folder/release.key"
put_desired stranger kws
reports kws '"refused":{[^}]*"generation":2' ' is active '
ok $? "a stranger's signature is refused, and the model goes on" "$folder/last_report"
put_desired stranger never-heard-of
reports never-heard-of '^2 is rejected '
ok $? "so it is for a model that is not here" "$folder/last_report"

make_model b kws 1.1 5 1000
sed 's/"payload":"[A-Za-z0-9]\{8\}/"payload":"AAAAAAAA/' "$folder/b/desired" >"$folder/altered"
put gw/gw-test/model/kws/desired "$folder/altered"
wait_for logged 'event=deployment_refused model=kws' 2
ok $? "an altered document is refused" "$folder/pithd.log"
printf '{"model": "kws", "version": "9", "generation": 9}' >"$folder/unsigned"
put gw/gw-test/model/kws/desired "$folder/unsigned"
wait_for logged 'event=deployment_refused model=kws' 3
ok $? "an unsigned one is refused" "$folder/pithd.log"

push b kws
reports kws '^5 is active ' '"previous":{[^}]*"generation":1'
ok $? "a newer generation takes over, and the old version is kept" "$folder/last_report"
put_desired a kws
reports kws '"refused":{"generation":1,"reason":"generation 1 is older than 5' '"active":{[^}]*'
ok $? "an older generation is ignored, and the document says why" "$folder/last_report"
make_model equal kws 1.2 5 1000
put_desired equal kws
reports kws 'has come before with other content'
wait_for grep -q '"refusal":"equivocation"' "$folder/events"
ok $? "the same generation with other content is refused, with an event" "$folder/events"
count_before=$(sql "SELECT count(*) FROM deployment_states")
put_desired b kws
put_desired b other-name
reports other-name 'was published as one of other-name'
[ "$(sql "SELECT count(*) FROM deployment_states")" = "$count_before" ]
ok $? "the same document again changes nothing; under another name it is refused"

# ---- chunks ----
make_model c kws 1.3 6 300000
sha=$(cat "$folder/c/graph")
put_chunk c "$(cat "$folder/c/manifest")" 0
for n in 4 4 1 3; do
    put_chunk c "$sha" $n
done
put_desired c kws
reports kws ' is fetching ' '"missing_count":2'
ok $? "what is missing is waited for, and told" "$folder/last_report"
reports kws '"progress":"graph g: waits for chunk [02] of 5'
ok $? "by its number" "$folder/last_report"
call '{"method": "cancel", "params": {"model": "kws", "reason": "a test"}}' | grep -q '"ok":true'
reports kws ' is cancelled ' '"reason":"by hand: a test"' '"active":{[^}]*"generation":5'
ok $? "waiting can be cancelled, and the active version stays" "$folder/last_report"

make_model d kws 1.4 7 300000
put_chunk d "$(cat "$folder/d/manifest")" 0
put_desired d kws
reports kws '^7 is fetching '
sha=$(cat "$folder/d/graph")
for n in 3 0 0 4 2; do
    put_chunk d "$sha" $n
done
reports kws '"missing_count":1'
head -c 100000 /dev/zero >"$folder/too_long"
put "blob/$sha/1" "$folder/too_long"
head -c 100 /dev/zero >"$folder/too_short"
put "blob/$sha/1" "$folder/too_short"
put_chunk d "$sha" 1
reports kws '^7 is active '
ok $? "chunks that come late, twice, out of order or of a wrong size do no harm" "$folder/last_report"

make_model e kws 1.5 8 100000
sha=$(cat "$folder/e/graph")
put_chunks e
head -c 65536 /dev/zero >"$folder/e/blob/$sha/0"
put_chunk e "$sha" 0
put_desired e kws
reports kws ' is failed ' 'does not have the digest' '"active":{[^}]*"generation":7'
ok $? "a corrupted chunk is fetched again, three times, then the deployment fails" "$folder/last_report"
[ "$(grep -c 'event=blob_damaged' "$folder/pithd.log")" -eq 3 ]
ok $? "three times it was"

make_model f kws 1.6 9 8000000
put_chunk f "$(cat "$folder/f/manifest")" 0
put_desired f kws
reports kws ' is rejected ' 'model_max_size'
ok $? "a model that is too large is rejected before its bytes are fetched" "$folder/last_report"

# ---- workers ----
generation=10
misbehaves() { # VERSION STATE PATTERN SENTENCE
    make_model "w-$1" kws "$1" $generation 1000
    push "w-$1" kws
    reports kws "^$generation is $2 " "$3" '"active":{[^}]*"generation":7' '"serving":true'
    ok $? "$4" "$folder/last_report"
    generation=$((generation + 1))
}
if [ -n "$sanitized" ]; then
    misbehaves crash failed 'without a word' "a worker that crashes is one failed job"
    misbehaves socket failed 'refused' "so is one that wants a socket"
else
    misbehaves crash failed 'crashed (signal 11' "a worker that crashes is one failed job"
    misbehaves socket failed 'sandbox forbids' "so is one that wants a socket"
fi
relimit_jobs 2s
misbehaves hang failed 'not done within 2 s.*CPU time' "one that hangs"
relimit_jobs 10min
if [ -z "$sanitized" ]; then
    misbehaves memory failed 'out of memory' "one that eats memory"
fi
misbehaves write-outside failed 'refused: ' "one that writes outside its folder"
misbehaves no-result failed 'no result.json' "one that leaves nothing"
misbehaves bad-result failed 'result.json' "one that leaves half a result"
misbehaves broken rejected 'the file ends within a field' "a broken model is rejected, with its place"
misbehaves rejected rejected 'needs operator Foo' "an operator that no engine has is named"

make_model gate kws worse $generation 1000 '"gates": {"min_fidelity": 0.9}'
push gate kws
reports kws ' is failed ' 'gate min_fidelity: 0.5000' '"outcome":"failed"' '"active":{[^}]*"generation":7'
ok $? "a variant that is worse than its gate allows does not come to serve" "$folder/last_report"

# ---- superseded, group, rollback, removal ----
make_model s1 kws 2.1 30 100000
put_chunk s1 "$(cat "$folder/s1/manifest")" 0
put_desired s1 kws
reports kws '^30 is fetching '
make_model s2 kws 2.2 31 1000
put_chunks s2
put group/beta/model/kws/desired "$folder/s2/desired"
reports kws '^31 is active '
[ "$(sql "SELECT state FROM deployments WHERE generation = 30")" = superseded ]
ok $? "a newer document, for the group, supersedes one under way" "$folder/last_report"

call '{"method": "rollback", "params": {"model": "kws"}}' | grep -q '"version":"1.4"'
reports kws ' is rolled-back ' '"active":{[^}]*"generation":7' '"serving":true'
ok $? "rollback goes back without the network" "$folder/last_report"
wait_for sh -c "sqlite3 -readonly '$folder/state/pith.db' 'SELECT trial_count FROM models' | grep -qx 0"
call '{"method": "activate", "params": {"model": "kws", "version": "2.2"}}' >"$folder/answer"
reports kws '"active":{[^}]*"generation":31' '"serving":true'
ok $? "activate brings a kept version back" "$folder/answer"
call '{"method": "activate", "params": {"model": "kws", "version": "7.7"}}' | grep -q 'is not kept here; there is 2.2 and 1.4'
ok $? "a version that is not kept is refused with those that are"

make_model gone kws none 40 absent
put_desired gone kws
reports kws ' is absent ' '"active":null'
wait_for sh -c "[ -z \"\$(ls '$folder/state/deployments' '$folder/state/blobs' | grep -v :)\" ]"
ok $? "absent removes the model, and its files" "$folder/last_report"

pithd_stop
status=$?
[ "$status" -eq 0 ] && ! grep -q 'event=stop_overdue' "$folder/pithd.log" # a sanitizer's finding shows in the status
ok $? "it stops cleanly" "$folder/pithd.log"
