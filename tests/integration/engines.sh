# Engines of others beside ours: each that is here keeps what the ABI promises and agrees with ours, `pith bench` times a
# model on all of them, and one whose library is missing is refused with what to do.
. "$PITH_SOURCE/tests/integration/tap.sh"
. "$PITH_SOURCE/tools/onnxruntime.sh"
fetch_onnxruntime "$PITH_SOURCE" "$PITH_BUILD/tests/tools/ort" || skip_all "$onnxruntime_missing"
needs_data

number=0
result() { # GOOD? WHAT
    number=$((number + 1))
    if [ "$1" = 0 ]; then echo "ok $number - $2"; else echo "not ok $number - $2"; fi
}

pith=$PITH_BUILD/pith
model=$PITH_DATA/models/mlperf_tiny/kws_ref_model_int8.tflite
echo 1..4

"$PITH_BUILD/tests/conformance/test_engine" >"$folder/suite" 2>&1 && grep -q '^# engine onnxruntime' "$folder/suite"
result $? "the suite of engines passes with ONNX Runtime here"
[ ! -s "$folder/suite" ] || grep -v '^ok' "$folder/suite" | sed 's/^/# /'

"$pith" bench "$model" --runs 5 --json >"$folder/rows" 2>"$folder/said" &&
    python3 - "$folder/rows" <<'PY'
import json, sys
rows = {row["engine"]: row for row in json.load(open(sys.argv[1]))}
for engine in ("native", "onnxruntime"):
    assert rows[engine]["supported"] and rows[engine]["latency_p50_us"] > 0, rows[engine]
assert all(row["supported"] or row["reason"] for row in rows.values())
PY
result $? "pith bench times a model on each engine"
sed 's/^/# /' "$folder/said"

PITH_ONNXRUNTIME=$folder/none.so "$pith" plugins >"$folder/plugins" 2>&1
grep -q 'refused.*onnxruntime.*set PITH_ONNXRUNTIME to its path' "$folder/plugins"
result $? "an engine whose library is missing is refused with what to do"

PITH_ONNXRUNTIME=$PITH_BUILD/.libs/libpith.so "$pith" plugins >"$folder/plugins" 2>&1 &&
    grep -q 'refused.*onnxruntime.*is no ONNX Runtime' "$folder/plugins"
result $? "another library in its place is refused"
