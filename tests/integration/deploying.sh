# Sourced after broker.sh and pithd.sh by tests of deployments: making, publishing, waiting.
worker=$PITH_BUILD/tests/tools/test_worker

# make NAME MODEL VERSION GENERATION GRAPH|BYTES [MANIFEST-MEMBERS]: files in $folder/NAME
make_model() {
    made=$folder/$1
    shift
    "$PITH_BUILD/tests/tools/make_model" "$folder/release.key" "$made" "$@"
}

put() { # TOPIC FILE
    mosquitto_pub -p "${fleet_port:-$home_port}" -q 1 -r -t "pith/1/$1" -f "$2"
}

put_chunk() { # NAME SHA256 N
    put "blob/$2/$3" "$folder/$1/blob/$2/$3"
}

put_chunks() { # NAME
    (cd "$folder/$1/blob" && find . -type f) | while read -r file; do
        put "blob/${file#./}" "$folder/$1/blob/${file#./}"
    done
}

put_desired() { # NAME MODEL
    put "gw/gw-test/model/$2/desired" "$folder/$1/desired"
}

push() { # NAME MODEL
    put_chunks "$1"
    put_desired "$1" "$2"
}

# The reported document; fields of it by python-free means are greps on its compact text.
reported() { # MODEL
    retained "${fleet_port:-$home_port}" "pith/1/gw/gw-test/model/$1/reported"
}

# The same, with what it is about in front, since generations and states stand in its versions as well: "5 is active {...}".
reported_state() { # MODEL
    reported "$1" | python3 -c 'import json, sys
for line in sys.stdin:
    document = json.loads(line)
    print(document["generation"], "is", document["state"], line, end="")'
}

reports() { # MODEL PATTERN...: waits until one document matches them all; '^5 is active ' is generation 5's
    wait_for report_matches "$@"
    found=$?
    reported "$1" >"$folder/last_report"
    return $found
}

report_matches() {
    report=$(reported_state "$1")
    shift
    for pattern in "$@"; do
        printf '%s\n' "$report" | grep -q -- "$pattern" || return 1
    done
}

sql() { # STATEMENT
    sqlite3 -readonly "$folder/state/pith.db" "$1"
}
