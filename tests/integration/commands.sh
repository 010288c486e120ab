# pith's commands on a model and its data, one after the other as somebody would who has just got both: what is in it, what
# it says, how good and fast it is, smaller, and the two side by side.
. "$PITH_SOURCE/tests/integration/tap.sh"
needs_data
needs python3
pith=$PITH_BUILD/pith
model=$PITH_DATA/models/mlperf_tiny/kws_ref_model_float32.tflite
cd "$folder" || exit 1
number=0

check() { # WHAT: of the command before, and of the Python on stdin, which finds its output in out and err
    status=$?
    number=$((number + 1))
    if [ $status = "${wanted:-0}" ] && python3 - >why 2>&1; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        { echo "exit code $status"; tail -n 3 out err why; } | cut -c 1-300 | sed 's/^/# /'
    fi
    wanted=0
}

# as_its_schema(FILE, SCHEMA), for the checks: nothing where python3-jsonschema is not installed.
export PYTHONPATH=$folder
cat >schemas.py <<'PY'
import json, os
def as_its_schema(value, name):
    try:
        import jsonschema
    except ImportError:
        return
    schema = json.load(open(os.environ["PITH_SOURCE"] + "/schemas/" + name))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(value)
PY

# 300 of the recordings, as the float model takes them.
python3 - "$PITH_DATA/kws_mlperf_features" <<'PY' || exit 1
import array, sys
def read(name):
    data = open(f"{sys.argv[1]}/{name}", "rb").read()
    return data[10 + int.from_bytes(data[8:10], "little"):]
def write(name, kind, shape, values):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + values.tobytes())
x = array.array("b", read("x_i8.npy")[:300 * 490])
write("x.npy", "<f4", (300, 49, 10, 1), array.array("f", [(q - 83) * 0.584703 for q in x]))
write("y.npy", "|u1", (300,), array.array("B", read("y.npy")[:300]))
write("wide.npy", "<f4", (300, 50, 10, 1), array.array("f", [0.0] * (300 * 500)))
PY

echo 1..26

"$pith" inspect --json "$model" >out 2>err
check "inspect: layers, parameters and products" <<'PY'
import json
seen = json.load(open("out"))
text = json.dumps(seen)
assert "DepthwiseConv" in text or "Conv" in text, text[:200]
assert "macs" in text and "parameters" in text, text[:200]
PY

"$pith" run --all --json "$model" x.npy >out 2>err
check "run: one result a recording, mostly what was said" <<'PY'
import json
labels = [int(json.loads(line)["label"]) for line in open("out")]
wanted = open("y.npy", "rb").read()[-300:]
assert len(labels) == 300
right = sum(a == b for a, b in zip(labels, wanted))
assert right > 250, right
PY

wanted=1
"$pith" run "$model" wide.npy >out 2>err
check "run: recordings of another shape are refused in a sentence" <<'PY'
said = open("err").read()
assert said.count("\n") == 1 and "wide.npy" in said, said
PY

"$pith" bench --json --runs 20 "$model" >out 2>err
check "bench: time, processor time and memory of each engine" <<'PY'
import json
rows = {row["engine"]: row for row in json.load(open("out"))}
native = rows["native"]
assert native["supported"] and 0 < native["latency_p50_us"] <= native["latency_p95_us"], native
PY

"$pith" bench --json --steps --engine native --runs 20 "$model" >out 2>err
check "bench --steps: kernel, products and time of each step" <<'PY'
import json
row = json.load(open("out"))[0]
steps = row["steps"]
assert len(steps) >= 10 and all(step["kernel"] for step in steps), steps
assert sum(step["macs"] for step in steps) > 2.6e6
assert 0 < sum(step["time_us"] for step in steps) < 100 * row["latency_p50_us"]
PY

"$pith" eval --json "$model" --data x.npy --labels y.npy >out 2>err
check "eval: accuracy and its interval" <<'PY'
import json
row = json.load(open("out"))[0]
assert row["accuracy_samples"] == 300
assert row["accuracy_low_ratio"] < row["accuracy_ratio"] < row["accuracy_high_ratio"]
assert row["accuracy_ratio"] > 0.83, row["accuracy_ratio"]
for figure in ("bytes", "raw_bytes", "entropy_bytes", "parameters", "nonzero", "macs", "peak_activation_bytes", "arena_bytes",
               "latency_p50_us", "latency_p95_us", "cpu_us"):
    assert row[figure] > 0, (figure, row[figure])
assert row["latency_p50_us"] <= row["latency_p95_us"] and row["nonzero"] <= row["parameters"]
hits, n, z = row["right"].count("1"), 300, 1.959964
middle = (hits + z * z / 2) / (n + z * z)
wide = z * (hits * (n - hits) / n + z * z / 4) ** 0.5 / (n + z * z)
assert abs(row["accuracy_low_ratio"] - (middle - wide)) < 1e-6 and abs(row["accuracy_high_ratio"] - (middle + wide)) < 1e-6
from schemas import as_its_schema
as_its_schema([row], "evaluation.json")
PY

printf 'steps:\n  - quantize: {weights: int8, activations: int8}\n' >int8.yaml
"$pith" compress --json "$model" -o small.onnx --recipe int8.yaml --data x.npy --labels y.npy >out 2>err
check "compress: the job's result" <<'PY'
import json, os
json.load(open("out"))
assert os.path.getsize("small.onnx") < 70000, os.path.getsize("small.onnx")
PY

"$pith" compress --json "$model" -o ranges.onnx --recipe int8.yaml --calibration x.npy >out 2>err
check "compress: ranges from samples that nothing is judged by" <<'PY'
import json
result = json.load(open("out"))
assert result["graphs"][0]["form"] == "int8" and result["evaluation"]["data"] != "validation", result["graphs"][0]["form"]
PY

printf 'steps: []\n' >nothing.yaml
"$pith" compress "$model" -o stays.onnx --recipe nothing.yaml --data x.npy --labels y.npy >out 2>err
check "compress: a TensorFlow Lite file that stays as it is comes out as ONNX" <<'PY'
assert open("stays.onnx", "rb").read()[4:8] != b"TFL3"
PY

mkdir tmp
TMPDIR=tmp "$pith" compress "$model" -o stopped.onnx --recipe int8.yaml --data x.npy --labels y.npy >out 2>err &
for i in $(seq 500); do
    ls tmp/pith-*/original/* >/dev/null 2>&1 && break
    sleep 0.01
done
kill -TERM $!
wanted=143
wait $!
check "compress: what is stopped leaves nothing behind" <<'PY'
import os
assert os.listdir("tmp") == [] and not os.path.exists("stopped.onnx")
PY

wanted=2
"$pith" compress "$model" -o small.onnx --recipe int8.yaml --data x.npy --labels y.npy >out 2>err
check "compress: what is there already is kept" <<'PY'
said = open("err").read()
assert "small.onnx is there already; --force" in said, said
PY

"$pith" eval --json small.onnx --data x.npy --labels y.npy --against "$model" >out 2>err
check "eval: the smaller model decides as the original does" <<'PY'
import json
rows = json.load(open("out"))
told = [row["fidelity_ratio"] for row in rows if row["fidelity_ratio"] is not None]
assert len(told) == 1 and told[0] > 0.95, told
from schemas import as_its_schema
as_its_schema(rows, "evaluation.json")
PY

"$pith" convert small.onnx small.onnx.zst >/dev/null 2>&1
"$pith" compare --json --cpu-power-mw 1000 "$model" small.onnx.zst --data x.npy --labels y.npy >out 2>err
check "compare: both, side by side" <<'PY'
import json
told = json.load(open("out"))
a, b = told["models"]
from schemas import as_its_schema
as_its_schema(told, "evaluation.json")
for row in (a, b):
    # A meter of the machine's own goes before the estimate, where there is one.
    if row["energy_source"] == "estimated":
        assert abs(row["energy_uj"] - row["cpu_us"]) < 1e-6 * row["cpu_us"], row
    else:
        assert row["energy_source"] == "measured" and row["energy_uj"] >= 0
assert b["bytes"] < b["raw_bytes"] and b["parameters"] == a["parameters"]
# McNemar's test, from the samples that only one of them gets right: exact, two-sided.
import math
only_a = sum(x == "1" and y == "0" for x, y in zip(a["right"], b["right"]))
only_b = sum(x == "0" and y == "1" for x, y in zip(a["right"], b["right"]))
assert (only_a, only_b) == (told["comparison"]["only_a"], told["comparison"]["only_b"])
n, k = only_a + only_b, min(only_a, only_b)
p = min(1, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2 ** n)
assert told["comparison"]["metric"]["test"] == "mcnemar" and abs(told["comparison"]["metric"]["p"] - p) < 1e-9
PY

wanted=2
"$pith" compress "$model" -o other.onnx --recipe nothing-of-that-name --data x.npy --labels y.npy >out 2>err
check "compress: a recipe that isn't there is named" <<'PY'
import os
said = open("err").read()
assert "nothing-of-that-name" in said and not os.path.exists("other.onnx"), said
PY

# ---- layers ----
printf 'data: x.npy\nlabels: y.npy\nsplits: {seed: 1, limit: 100}\n' >hundred.yaml
"$pith" sensitivity --json "$model" --data hundred.yaml --runs 5 --svg layers.svg >layers.json 2>err
check "sensitivity: each layer's noise, error, effect and time, and a picture" <<'PY'
import json, math, xml.dom.minidom
report = json.load(open("layers.json"))
layers = report["layers"]
assert report["complete"] and report["samples"] == 100 and len(layers) == report["layers_wanted"] == 10
for layer in layers:
    assert layer["measured"] and layer["form"] == "int8", layer
    assert 25 < layer["weight_sqnr_db"] < 80 and 15 < layer["input_sqnr_db"] < 80, layer
    assert 0 < layer["output_error_ratio"] < 0.2 and layer["output_cosine"] > 0.99, layer
    # Noise of weights and of the input are what its own output errs by, but for how they add up.
    noise = math.sqrt(10 ** (-layer["weight_sqnr_db"] / 10) + 10 ** (-layer["input_sqnr_db"] / 10))
    assert noise / 5 < layer["output_error_ratio"] < noise * 5, layer
    assert 0 < layer["alone"]["error_ratio"] < 2 * report["whole"]["error_ratio"], layer
    assert 0 < layer["others"]["error_ratio"] < 2 * report["whole"]["error_ratio"], layer
    assert layer["time_gained_us"] is not None
change = report["whole"]["metric"] - report["original"]["metric"]
assert abs(change - report["whole"]["metric_change"]) < 1e-9
svg = xml.dom.minidom.parse("layers.svg").documentElement
assert svg.tagName == "svg"
said = "".join(node.firstChild.data for node in svg.getElementsByTagName("text") if node.firstChild)
assert all(layer["layer"][-30:] in said for layer in layers)
from schemas import as_its_schema
as_its_schema(report, "sensitivity.json")
PY

# The same figure by another way: a recipe that quantizes one layer, and the file that comes of it against the original.
layer=DEPTHWISE_CONV_2D_1_1 # whose file is smaller than the original; of those that are not, the original stays
printf 'steps:\n  - quantize: {only: ["%s"], max_error_ratio: 0, equalize: off, smooth: off, rounding: nearest, bias_correction: off}\n' "$layer" >one.yaml
"$pith" compress --json "$model" -o one.onnx --recipe one.yaml --data hundred.yaml >out 2>err &&
    "$pith" eval --json one.onnx --data hundred.yaml --against "$model" >out 2>err
check "sensitivity: a layer's effect is that of a file with this layer quantized" <<'PY'
import json
told = [l for l in json.load(open("layers.json"))["layers"] if l["layer"] == "DEPTHWISE_CONV_2D_1_1"][0]["alone"]
seen = json.load(open("out"))[1]
assert abs(told["error_ratio"] - seen["error_ratio"]) < 1e-3 * seen["error_ratio"], (told, seen["error_ratio"])
assert told["fidelity_ratio"] == seen["fidelity_ratio"] and abs(told["metric"] - seen["accuracy_ratio"]) < 1e-9
PY

wanted=2
"$pith" sensitivity "$model" --data hundred.yaml --layers 'NOTHING*' >out 2>err
check "sensitivity: names that match no layer are told" <<'PY'
assert "no layer with float weights matches" in open("err").read()
PY

# ---- as other exporters write it ----
rewrite=$PITH_BUILD/tests/tools/onnx_rewrite
"$pith" convert "$model" plain.onnx >/dev/null 2>&1 && "$rewrite" --halves plain.onnx halves.onnx &&
    "$rewrite" --open plain.onnx open.onnx || exit 1
"$pith" eval --json halves.onnx --data x.npy --labels y.npy --against "$model" >out 2>err
check "eval: a model of 16-bit floats is run, and decides as that of float32" <<'PY'
import json
rows = json.load(open("out"))
told = [row["fidelity_ratio"] for row in rows if row["fidelity_ratio"] is not None]
assert len(told) == 1 and told[0] >= 0.99 and all(row["accuracy_ratio"] > 0.83 for row in rows), told
PY

"$pith" compress --json halves.onnx -o from-halves.onnx --recipe int8.yaml --data x.npy --labels y.npy >out 2>err &&
    "$pith" inspect from-halves.onnx >seen
check "compress: a model of 16-bit floats becomes integers, its inputs and outputs stay" <<'PY'
import json, os
result = json.load(open("out"))
assert result["graphs"][0]["form"] == "int8", result["reason"]
seen = open("seen").read()
assert seen.count("float16") == 3 and "int8" in seen, seen[:400]
assert os.path.getsize("from-halves.onnx") < os.path.getsize("halves.onnx")
PY

"$pith" eval --json open.onnx --data x.npy --labels y.npy >out 2>err &&
    "$pith" run --all --json open.onnx x.npy >ran 2>err &&
    "$pith" compress open.onnx -o from-open.onnx --recipe int8.yaml --data x.npy --labels y.npy >more 2>err
check "eval, run, compress: samples say what the model's file leaves open" <<'PY'
import json, os
assert json.load(open("out"))[0]["accuracy_ratio"] > 0.83 and len(open("ran").readlines()) == 300
assert os.path.getsize("from-open.onnx") < 70000
PY

# One score that says class 1 from 0.5 on: y = sin(x). Rounding of this recipe's weights to 4 bits costs decisions.
python3 - <<'PY'
import array, math
def write(name, kind, shape, values):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + values.tobytes())
x = [i * 2 * math.pi / 400 for i in range(400)]
write("angle.npy", "<f4", (400, 1), array.array("f", x))
write("high.npy", "|u1", (400,), array.array("B", [math.sin(a) >= 0.5 for a in x]))
PY
printf 'budget: {accuracy_drop_points: 1}\nsteps:\n  - quantize: {weights: int4, per_channel: false, rounding: nearest, max_error_ratio: 0}\n' >four.yaml
sine=$PITH_DATA/models/tflite_micro/hello_world_float.tflite
"$pith" compress --json "$sine" -o sine.onnx --recipe four.yaml --data angle.npy --labels high.npy >out 2>err &&
    "$pith" compare --json "$sine" sine.onnx --data angle.npy --labels high.npy >compared 2>err
check "compress: a model of one score is judged by class 0 and 1, as metrics have it" <<'PY'
import json
total, seen = json.load(open("out"))["total"], json.load(open("compared"))["models"]
assert total["original"]["accuracy_ratio"] == seen[0]["metric"]["value"] > 0.9, total["original"]["accuracy_ratio"]
assert total["variant"]["accuracy_ratio"] == seen[1]["metric"]["value"], (total["variant"]["accuracy_ratio"], seen[1]["metric"])
assert seen[1]["metric"]["value"] >= seen[0]["metric"]["value"] - 0.01
PY

# Outputs of 14336 numbers are no scores: nothing is decided, and 100 % of decisions alike would be no finding.
python3 - <<'PY'
import array, random
random.seed(1)
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 128, 128, 3), }".ljust(117) + "\n"
open("faces.npy", "wb").write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() +
                              array.array("f", [random.random() for _ in range(4 * 128 * 128 * 3)]).tobytes())
PY
printf 'budget: {accuracy_drop_points: 1}\nsteps:\n  - quantize: {activations: float32}\n' >weights.yaml
faces=$PITH_DATA/models/mediapipe/face_detection_short_range.tflite
"$pith" compress --json "$faces" -o faces.onnx --recipe weights.yaml --data faces.npy >out 2>err &&
    "$pith" compare --json "$faces" faces.onnx --data faces.npy >compared 2>err
check "compress, compare: where outputs are no scores, no decisions are told alike" <<'PY'
import json
result, compared = json.load(open("out")), json.load(open("compared"))
assert "no decisions were compared" in result["reason"], result["reason"]
assert result["total"]["variant"]["fidelity_ratio"] is None and 0 < result["total"]["variant"]["error_ratio"] < 0.1
assert compared["comparison"]["fidelity_ratio"] is None and compared["models"][1]["fidelity_ratio"] is None, compared["comparison"]
from schemas import as_its_schema
as_its_schema(compared, "evaluation.json")
PY

# ---- a graph with state ----
vad=$PITH_DATA/models/silero_vad
mkdir vad
cp "$vad/silero_vad_16k_op15.onnx" vad/vad.onnx
cat >vad/manifest.json <<'END'
{"model": "vad", "version": "1", "graphs": {"vad": {"file": "vad.onnx"}}, "input": {"type": "int16", "rate_hz": 16000},
 "stages": [{"map": "x / 32768"}, {"window": {"size": 576, "hop": 512, "before": 64}},
            {"graph": "vad", "state": {"state": "stateN"}, "inputs": {"sr": 16000}}, {"decide": {"threshold": 0.5, "every": true}}],
 "labels": ["speech"]}
END
"$pith" run --all --json vad "$vad/golden/speech_60s.wav" >out 2>err
check "run: a graph that carries state gives what ONNX Runtime gives over a minute" <<'PY'
import array, json, os
data = open(os.environ["PITH_DATA"] + "/models/silero_vad/golden/silero_vad_16k_op15_prob.npy", "rb").read()
wanted = array.array("f", data[10 + int.from_bytes(data[8:10], "little"):])
seen = [json.loads(line)["scores"]["speech"] for line in open("out")]
assert len(seen) == len(wanted) == 1875
worst = max(abs(a - b) for a, b in zip(seen, wanted))
assert worst < 1e-4, worst
PY

# total.next = total + x, in a file that says which input gets which output.
python3 - <<'PY' || exit 1
def part(field, text):
    text = text if isinstance(text, bytes) else text.encode()
    return bytes([field << 3 | 2, len(text) & 127 | 128, len(text) >> 7]) + text
def value(field, name):
    size = part(1, bytes([8, 1]))
    return part(field, part(1, name) + part(2, part(1, bytes([8, 1]) + part(2, size + size))))
def node(op, inputs, output):
    return part(1, b"".join(part(1, name) for name in inputs) + part(2, output) + part(4, op))
graph = (node("Add", ["x", "total"], "y") + node("Identity", ["y"], "total.next") + part(2, "g") + value(11, "x") +
         value(11, "total") + value(12, "y") + value(12, "total.next"))
state = part(14, part(1, "pith.state") + part(2, '{"total": "total.next"}'))
open("sums.onnx", "wb").write(bytes([8, 8]) + part(7, graph) + part(8, bytes([16, 13])) + state)
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 1), }".ljust(117) + "\n"
open("ones.npy", "wb").write(b"\x93NUMPY\1\0" + bytes([118, 0]) + header.encode() + bytes([0, 0, 128, 63]) * 4)
PY
"$pith" run --all --json sums.onnx ones.npy >out 2>err && "$pith" convert sums.onnx again.onnx >/dev/null 2>>err &&
    "$pith" run --all --json again.onnx ones.npy >more 2>>err
check "run: a single file that says what it keeps is handed it back" <<'PY'
import json
for file in "out", "more":
    seen = [list(json.loads(line)["scores"].values()) for line in open(file)]
    assert seen == [[1], [2], [3], [4]], seen
PY

# Ten clips of a second and a half.
python3 - "$vad/golden/speech_60s.wav" <<'PY' || exit 1
import sys, wave
sound = wave.open(sys.argv[1])
samples = sound.readframes(10 * 24576)
header = "{'descr': '<i2', 'fortran_order': False, 'shape': (10, 24576), }".ljust(117) + "\n"
open("clips.npy", "wb").write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + samples)
PY
printf 'steps:\n  - quantize: {weights: int8, activations: int8}\n' >vad.yaml
"$pith" compress --json vad -o vad8 --recipe vad.yaml --data clips.npy >out 2>err &&
    "$pith" compare --json vad vad8 --data clips.npy >out 2>err
check "compress: a graph that carries state is calibrated, smaller, and decides alike" <<'PY'
import json
told = json.load(open("out"))
a, b = told["models"]
assert b["bytes"] < 0.75 * a["bytes"], (a["bytes"], b["bytes"])
assert told["comparison"]["fidelity_ratio"] == 1 and 0 < told["comparison"]["error_ratio"] < 0.2, told["comparison"]
PY

"$pith" sensitivity --json vad --data clips.npy --form weights-int8 --layers '*stft*' --runs 0 >out 2>err
check "sensitivity: of a graph that carries state" <<'PY'
import json
report = json.load(open("out"))
assert len(report["layers"]) == 1 and report["layers"][0]["measured"], report
assert report["layers"][0]["alone"]["error_ratio"] > 0
PY
