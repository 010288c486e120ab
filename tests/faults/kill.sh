# kill -9 of pithd at random instants of deployments: what was committed is still there, the active version serves again,
# and the deployment goes on or ends with a reason. KILLS sets how many, SEED the instants.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
. "$PITH_SOURCE/tests/integration/deploying.sh"
needs sqlite3
plan 7
kills=${KILLS:-50}
seed=${SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
echo "# seed $seed"

broker_start home </dev/null
config_write "mqtt://127.0.0.1:$home_port" <<END
compression: {when: always, deadline: 10min}
END
pithd_start
make_model first kws 1.0 1 1000
push first kws
reports kws ' is active ' '"serving":true'
ok $? "a version serves to begin with" "$folder/pithd.log"

# Ends as each deployment may. Prints its state once it has.
ended() { # GENERATION
    sql "SELECT state FROM deployments WHERE generation = $1" | grep -x 'active\|failed\|superseded'
}

lost=0
idle=0
generation=1
killed=0
in_work=0
# A kill counts that hit a deployment under way; the others are as welcome, and bounded.
while [ "$in_work" -lt "$kills" ] && [ "$killed" -lt $((3 * kills)) ]; do
    if [ "$generation" -eq 1 ] || ended "$generation" >/dev/null; then
        generation=$((generation + 1))
        make_model "g$generation" kws "slow-$generation" "$generation" 300000
        push "g$generation" kws
    fi
    seed=$(((seed * 75 + 74) % 65537))
    sleep "$(awk -v s="$seed" 'BEGIN { printf "%.3f", 0.02 + (s % 250) / 1000 }')"
    kill -KILL "$pithd_pid"
    wait "$pithd_pid" 2>/dev/null
    killed=$((killed + 1))
    sql "SELECT deployment, sequence, state FROM deployment_states ORDER BY 1, 2" | sort >"$folder/now"
    [ -f "$folder/before" ] && [ -n "$(comm -23 "$folder/before" "$folder/now")" ] && lost=$((lost + 1)) &&
        comm -23 "$folder/before" "$folder/now" | sed "s/^/# lost with kill $killed: /"
    ended "$generation" >/dev/null || in_work=$((in_work + 1))
    : >"$folder/pithd.log"
    pithd_start
    sql "SELECT deployment, sequence, state FROM deployment_states" | sort >"$folder/before"
    # The active version is handed to the pipelines before the daemon says that it has started.
    [ "$(sql "SELECT count(active) FROM models WHERE model = 'kws'")" = 1 ] || idle=$((idle + 1))
    grep -q 'event=model_not_serving\|event=start_failed\|event=database_put_aside' "$folder/pithd.log" &&
        idle=$((idle + 1)) && grep 'level=error\|^error' "$folder/pithd.log" | sed 's/^/# /'
done
[ "$in_work" -ge "$kills" ]
ok $? "$kills kills hit a deployment under way"
echo "# $in_work of $killed kills hit a deployment under way; $((generation - 1)) deployments"
[ "$lost" -eq 0 ]
ok $? "no row that was committed is lost"
[ "$idle" -eq 0 ]
ok $? "after each kill the active version is taken up again" "$folder/pithd.log"
wait_for ended "$generation"
ok $? "what was interrupted comes to its end" "$folder/pithd.log"
[ -z "$(sql "SELECT generation FROM deployments WHERE state NOT IN ('active', 'superseded') AND NOT
    (state = 'failed' AND reason LIKE 'pithd was stopped 5 times while it was %: push it again')" |
    tee "$folder/unexplained")" ]
ok $? "none failed but for the limit of five attempts" "$folder/unexplained"
sql "SELECT state, count(*) FROM deployments GROUP BY state" | sed 's/^/# /'
make_model last kws last 9999 1000
push last kws
reports kws '^9999 is active ' '"serving":true'
[ $? -eq 0 ] && [ "$(sql "PRAGMA quick_check")" = ok ] && pithd_stop && ! ls "$folder/state" | grep -q broken
ok $? "and the next deployment goes through" "$folder/pithd.log"
