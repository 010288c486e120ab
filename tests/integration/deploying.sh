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

reports() { # MODEL PATTERN...: waits until the document matches all
    watched=$1
    shift
    for pattern in "$@"; do
        wait_for report_matches "$watched" "$pattern" || {
            reported "$watched" >"$folder/last_report"
            echo "# wanted $pattern"
            return 1
        }
    done
    reported "$watched" >"$folder/last_report"
}

report_matches() {
    mosquitto_sub -p "${fleet_port:-$home_port}" -t "pith/1/gw/gw-test/model/$1/reported" -C 1 -W 2 2>/dev/null | grep -q -- "$2"
}

sql() { # STATEMENT
    sqlite3 -readonly "$folder/state/pith.db" "$1"
}
