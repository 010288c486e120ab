# Every form that quantize offers, as a file: our engine and ONNX Runtime read the same file and decide the same.
. "$PITH_SOURCE/tests/integration/tap.sh"
needs_data
needs python3
needs_onnxruntime scores.js
pith=$PITH_BUILD/pith
model=$PITH_DATA/models/mlperf_tiny/kws_ref_model_float32.tflite
cd "$folder" || exit 1

# kws: ranges are taken from some recordings, and both runtimes are asked about others. recurrent: GRU, LSTM and two products
# with weights by a generator, over noise.
python3 - "$PITH_DATA/kws_mlperf_features" <<'PY' || exit 1
import array, random, sys
def read(name):
    data = open(f"{sys.argv[1]}/{name}", "rb").read()
    return data[10 + int.from_bytes(data[8:10], "little"):]
def write(name, shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.array("f", values).tobytes())
x = array.array("b", read("x_i8.npy")[:232 * 490])
def maps(first, count):
    return [(q - 83) * 0.584703 for q in x[first * 490:(first + count) * 490]]
write("kws.calibration.npy", (32, 49, 10, 1), maps(0, 32))
write("kws.npy", (200, 49, 10, 1), maps(32, 200))
random.seed(7)
write("recurrent.calibration.npy", (32, 12, 16), [random.gauss(0, 1) for _ in range(32 * 192)])
write("recurrent.npy", (200, 12, 16), [random.gauss(0, 1) for _ in range(200 * 192)])

# ONNX by hand: fields of protobuf messages, as onnx.proto numbers them.
def number(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])
def field(at, value):
    if isinstance(value, int):
        return number(at << 3) + number(value)
    value = value.encode() if isinstance(value, str) else value
    return number(at << 3 | 2) + number(len(value)) + value
def tensor(name, dims, values, kind="f"):
    return field(5, b"".join(field(1, d) for d in dims) + field(2, 1 if kind == "f" else 7) + field(8, name) +
                 field(9, array.array(kind, values).tobytes()))
def weights(name, *dims):
    count, fan = 1, dims[-2]
    for d in dims:
        count *= d
    return tensor(name, dims, [random.gauss(0, 1.5 / fan ** 0.5) for _ in range(count)])
def node(op, inputs, outputs, *attributes):
    return field(1, b"".join(field(1, i) for i in inputs) + b"".join(field(2, o) for o in outputs) + field(3, op + outputs[-1]) +
                 field(4, op) + b"".join(field(5, a) for a in attributes))
def value(at, name, dims):
    shape = b"".join(field(1, field(1, d)) for d in dims)
    return field(at, field(1, name) + field(2, field(1, field(1, 1) + field(2, shape))))
hidden = field(1, "hidden_size") + field(3, 32) + field(20, 2)
swapped = field(1, "perm") + b"".join(field(8, d) for d in (1, 0, 2)) + field(20, 7)
graph = b"".join([
    node("Transpose", ["x"], ["steps"], swapped), node("GRU", ["steps", "gw", "gr"], ["gy"], hidden),
    node("Squeeze", ["gy", "axis"], ["g"]), node("LSTM", ["g", "lw", "lr"], ["", "ly"], hidden),
    node("Squeeze", ["ly", "first"], ["l"]), node("MatMul", ["l", "m1"], ["a"]), node("Relu", ["a"], ["b"]),
    node("MatMul", ["b", "m2"], ["c"]), node("Softmax", ["c"], ["y"]), field(2, "recurrent"),
    weights("gw", 1, 96, 16), weights("gr", 1, 96, 32), weights("lw", 1, 128, 32), weights("lr", 1, 128, 32),
    weights("m1", 32, 64), weights("m2", 64, 8), tensor("axis", [1], [1], "q"), tensor("first", [1], [0], "q"),
    value(11, "x", (1, 12, 16)), value(12, "y", (1, 8))])
open("recurrent.onnx", "wb").write(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 17)))
PY
cp "$model" kws.tflite
mkdir forms

# model | name | options of quantize | form in the report. Five layers of kws come with weights of int8, which halves leave alone.
cat >rows <<'END'
kws       | int8           | weights: int8, activations: int8 | int8
kws       | int8-tensor    | weights: int8, activations: int8, per_channel: false | int8
kws       | int8-reduced   | weights: int8, activations: int8, reduce_range: true | int8
kws       | uint8          | weights: int8, activations: uint8 | int8
kws       | w8a16          | weights: int8, activations: int16 | w8a16
kws       | int4           | weights: int4, activations: int8 | int4
kws       | int4-blocks    | weights: int4, activations: int8, block_size: 32 | int4
kws       | w4a16          | weights: int4, activations: int16 | w4a16
kws       | weights-int8   | weights: int8, activations: float32 | weights-int8
kws       | weights-int4   | weights: int4, activations: float32 | weights-int4
kws       | weights-blocks | weights: int4, activations: float32, block_size: 32 | weights-int4
kws       | bfloat16       | weights: bfloat16, activations: float32 | mixed
kws       | mixed          | weights: int8, schemes: ["CONV_2D_0*=w8a16", "DEPTHWISE*=int8", "CONV_2D_2*=int4", "CONV_2D_4*=weights-int8", "CONV_2D_6*=weights-bfloat16", "FULLY*=float32"] | mixed
recurrent | int8           | weights: int8, activations: int8 | int8, some weights-int8
recurrent | w8a16          | weights: int8, activations: int16 | mixed
recurrent | weights-int8   | weights: int8, activations: float32 | weights-int8
recurrent | weights-int4   | weights: int4, activations: float32 | weights-int4
recurrent | weights-blocks | weights: int4, activations: float32, block_size: 16 | weights-int4
recurrent | float16        | weights: float16, activations: float32 | weights-float16
recurrent | bfloat16       | weights: bfloat16, activations: float32 | weights-bfloat16
END
echo "1..$(grep -c . rows)"
while IFS='|' read -r of name options form; do
    of=${of// /} name=${name// /}
    file=forms/$of.$name
    printf 'steps:\n  - quantize: {%s, max_error_ratio: 0}\n' "$options" >recipe.yaml
    "$pith" compress --json "$(ls $of.tflite $of.onnx 2>/dev/null)" -o "$file.onnx" --recipe recipe.yaml --data "$of.calibration.npy" >"$file.result" 2>"$file.err"
    "$pith" run --all --json --engine native "$file.onnx" "$of.npy" >"$file.ours" 2>>"$file.err"
done <rows
for of in kws recurrent; do
    node "$tools/scores.js" "$of.npy" forms/$of.*.onnx
done >theirs 2>theirs.err

python3 - <<'PY'
import json
theirs = {}
for line in open("theirs"):
    told = json.loads(line)
    theirs[told["model"][:-len(".onnx")]] = told
for number, line in enumerate(open("rows"), 1):
    of, name, options, form = (part.strip() for part in line.split("|"))
    file = f"forms/{of}.{name}"
    faults, notes = [], []
    try:
        result = json.load(open(file + ".result"))
        if result["graphs"][0]["form"] != form:
            faults.append(f'it became {result["graphs"][0]["form"]}: {result["reason"]}')
        ours = [json.loads(row)["scores"] for row in open(file + ".ours")]
        ours = [[row[str(i)] for i in range(len(row))] for row in ours]
        if "error" in theirs.get(file, {"error": "it was not run"}):
            faults.append(theirs.get(file, {"error": "ONNX Runtime was not run"})["error"])
        else:
            other = theirs[file]["scores"]
            worst = max(abs(a - b) for x, y in zip(ours, other) for a, b in zip(x, y))
            same = 0
            for i, (x, y) in enumerate(zip(ours, other)):
                a, b = x.index(max(x)), y.index(max(y))
                same += a == b
                # Where a product's sum falls between two integers, either may be right: then both labels are all but even.
                if a != b and x[a] - x[b] > 0.02:
                    faults.append(f"recording {i}: {a} ({x[a]:.3f}) became {b} ({y[b]:.3f})")
            if len(ours) != 200 or len(other) != 200:
                faults.append(f"{len(ours)} and {len(other)} results")
            if same < 198:
                faults.append(f"{same} of 200 decisions are the same")
            notes.append(f"{same} of 200 alike, scores within {worst:.2g}")
    except Exception as error:
        faults.append(repr(error) + " " + open(file + ".err").read()[:200])
    print(f'{"not ok" if faults else "ok"} {number} - {of}, {name}: ONNX Runtime decides as we do ({", ".join(notes)})')
    for fault in faults[:5]:
        print("# " + fault)
PY
sed 's/^/# /' theirs.err
