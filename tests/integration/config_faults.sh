# Every fault of a config is told at once, with its place and what would be right.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"

# Each case: the file on stdin; then the lines that are expected, as patterns, in order.
check_faults() { # SENTENCE PATTERN...
    sentence=$1
    shift
    cat >"$folder/bad.yaml"
    "$pithd" --check --config "$folder/bad.yaml" >"$folder/out" 2>"$folder/said"
    code=$?
    good=0
    [ "$code" -eq 78 ] || good=1
    [ "$(wc -l <"$folder/said")" -eq $# ] || good=1
    line=0
    for pattern in "$@"; do
        line=$((line + 1))
        sed -n "${line}p" "$folder/said" | grep -q -- "bad.yaml:$pattern" || good=1
    done
    ok "$good" "$sentence" "$folder/said"
}

plan 14
least="trust: [$folder/release.pub]
worker: /bin/true
recipe_path: $folder/recipes
gateway: g"

check_faults "an unknown key is told with the one that was meant" '5:1: "pipeline" is not known here; did you mean "pipelines"?' <<END
$least
pipeline: {}
END
check_faults "a wrong type is told with what it must be" '5:7: groups\|5:9: groups: "beta" is not right; it must be a list' <<END
$least
groups: beta
END
check_faults "a key that comes twice is told" '5:1: ' <<END
$least
gateway: other
END
check_faults "a syntax error is told with its place" '6:1: not valid YAML' <<END
$least
groups: [a
END
check_faults "a missing key is told" '1:1: "trust" is missing' <<END
gateway: g
worker: /bin/true
recipe_path: $folder/recipes
END
check_faults "several faults are told at once, in their order" '5:6: log' '6:8: lanes' '7:23: max_size' '7:32: keep' '8:21: when' <<END
$least
log: loud
lanes: many
telemetry: {max_size: 2, keep: 1000y}
compression: {when: sometimes}
END
check_faults "TLS files without mqtts are told" '5:46: ca: there is no TLS' <<END
$least
home: {url: "mqtt://broker.example.org", ca: $folder/release.pub}
END
check_faults "a URL that is none is told" '5:13: url: "http://broker" is no MQTT URL' <<END
$least
home: {url: "http://broker"}
END
printf 'secret' >"$folder/open.key"
chmod 644 "$folder/open.key"
check_faults "a key file that others may read is told" '5:33: cert: /does/not/exist can.t be read' '5:55: key: .*open to everyone' <<END
$least
fleet: {url: "mqtts://b", cert: /does/not/exist, key: $folder/open.key}
END
check_faults "a trusted key that is none is told" '1:9: trust: ' <<END
trust: [/etc/passwd]
worker: /bin/true
recipe_path: $folder/recipes
gateway: g
END
check_faults "a codec that does not exist is told" '6:43: there is no codec "pmc"' <<END
$least
pipelines:
  kitchen: {source: a/b, model: m, codec: pmc}
END
check_faults "an option of the wrong type is told where it stands" '6:[0-9]*: .*rate_hz' <<END
$least
pipelines:
  kitchen: {source: a/b, model: m, codec: {pcm: {rate_hz: fast}}}
END
check_faults "a source that would hear its own results is told" '6:[0-9]*: source: .*its own results' <<END
$least
pipelines:
  kitchen: {source: "pith/#", model: m, codec: {pcm: {rate_hz: 16000, format: s16le}}}
END
printf '%s\n' "$least" >"$folder/bad.yaml"
"$pithd" --config "$folder/nowhere.yaml" --check >/dev/null 2>"$folder/said"
[ $? -eq 78 ] && grep -q nowhere.yaml "$folder/said"
ok $? "a file that is not there is told" "$folder/said"
