# What quantization is held to, on one real network with its data: keywords at 8 and at 4 bits, ranges from 100 recordings,
# validation on 100 and the test on the 800 others. bench/compression/ptq has every row.
. "$PITH_SOURCE/tests/integration/tap.sh"
needs_data
needs python3
pith=$PITH_BUILD/pith
model=$PITH_DATA/models/mlperf_tiny/kws_ref_model_float32.tflite
cd "$folder" || exit 1

cat >kws.yaml <<YAML
data: $PITH_DATA/kws_mlperf_features/x_i8.npy
labels: $PITH_DATA/kws_mlperf_features/y.npy
prepare: {mean: [83], scale: [0.584703]}
splits: {seed: 1, calibration: 100, validation: 100}
metric: top1
YAML
printf 'steps:\n  - quantize: {weights: int8, activations: int8}\n' >int8.yaml
printf 'steps:\n  - quantize: {weights: int4, activations: int8}\n' >int4.yaml

echo 1..2
number=0
held() { # FORM MOST-POINTS MOST-BYTES: on the test split, which nothing else has seen
    number=$((number + 1))
    "$pith" compress "$model" -o "$1.onnx.zst" --recipe "$1.yaml" --data kws.yaml >out 2>&1 &&
        "$pith" compare --json "$model" "$1.onnx.zst" --data kws.yaml --split test >"$1.json" 2>>out &&
        python3 - "$@" >>out 2>&1 <<'PY'
import json, os, sys
form, points, most = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
found = json.load(open(form + ".json"))
difference = found["comparison"]["metric"]["difference"]
assert found["comparison"]["samples"] == 800
assert difference >= -points / 100, difference
assert os.path.getsize(form + ".onnx.zst") <= most, os.path.getsize(form + ".onnx.zst")
PY
    status=$?
    if [ $status = 0 ]; then
        echo "ok $number - $1: at most $2 points of accuracy are lost, at most $3 bytes are left"
    else
        echo "not ok $number - $1: at most $2 points of accuracy are lost, at most $3 bytes are left"
        tail -n 5 out | sed 's/^/# /'
    fi
}
held int8 0.5 31000
held int4 1.0 17000
