# The command, built for arm64 and emulated, on a real model: every instruction set gives the same bytes, and they are what
# this machine's own build gives. ./check runs it with
#   PITH_COMMAND       runs pith for arm64, as a CPU that has all instruction sets
#   PITH_HOST_COMMAND  this machine's pith; may be left out
. "$PITH_SOURCE/tests/integration/tap.sh"
[ -n "${PITH_COMMAND-}" ] || skip_all "PITH_COMMAND names no pith for arm64"
needs_data

models=$PITH_DATA/models/mlperf_tiny
number=0
cd "$folder" || exit 1

check() { # WHAT: of the command before, and of the Python on stdin
    status=$?
    number=$((number + 1))
    if [ $status = 0 ] && python3 - >why 2>&1; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        { echo "exit code $status"; tail -n 5 err why; } | cut -c 1-300 | sed 's/^/# /'
    fi
}

# pith_of MACHINE ARGUMENT...: the machine's own plugins with it
pith_of() {
    machine=$1
    shift
    case $machine in
        host) PITH_PLUGIN_PATH=$(dirname "$PITH_HOST_COMMAND")/plugins/.libs "$PITH_HOST_COMMAND" "$@" ;;
        *) PITH_ISA=$machine "$PITH_COMMAND" "$@" ;;
    esac
}

python3 - "$PITH_DATA/kws_mlperf_features" <<'PY' || exit 1
import array, sys
def read(name):
    data = open(f"{sys.argv[1]}/{name}", "rb").read()
    return data[10 + int.from_bytes(data[8:10], "little"):]
def write(name, kind, shape, values):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + values.tobytes())
count = 60
x = array.array("b", read("x_i8.npy")[:count * 490])
write("int8.npy", "|i1", (count, 49, 10, 1), x)
write("float32.npy", "<f4", (count, 49, 10, 1), array.array("f", [(q - 83) * 0.584703 for q in x]))
write("y.npy", "|u1", (count,), array.array("B", read("y.npy")[:count]))
PY
cat >compared.py <<'PY'
import json
def lines(name):
    return [json.loads(line) for line in open(name)]
def off(a, b):
    a, b = lines(a), lines(b)
    assert len(a) == len(b) == 60
    assert all(p["label"] == q["label"] for p, q in zip(a, b)), "another label"
    return max(abs(p["scores"][k] - q["scores"][k]) for p, q in zip(a, b) for k in p["scores"])
PY
export PYTHONPATH=$folder

machines="plain neon dotprod i8mm"
[ -z "${PITH_HOST_COMMAND-}" ] || machines="$machines host"
echo 1..$((2 + $(echo $machines | wc -w) * 2 - 2))

pith_of i8mm inspect --json "$models/kws_ref_model_int8.tflite" >out 2>err
check "inspect" <<'PY'
import json
assert json.load(open("out"))
PY

for kind in int8 float32; do
    pith_of plain run --all --json "$models/kws_ref_model_$kind.tflite" $kind.npy >$kind-plain 2>err || exit 1
    for machine in $machines; do
        [ $machine != plain ] || continue
        pith_of $machine run --all --json "$models/kws_ref_model_$kind.tflite" $kind.npy >$kind-$machine 2>err
        check "run: $kind, $machine as plain" <<PY
from compared import off
worst = off("$kind-plain", "$kind-$machine")
assert worst <= (0 if "$kind" == "int8" else 1e-5), worst
PY
    done
done

pith_of i8mm eval --json "$models/kws_ref_model_int8.tflite" --data int8.npy --labels y.npy >out 2>err
check "eval: as accurate as it is" <<'PY'
import json
text = open("out").read()
seen = json.loads(text)
assert "accuracy" in text, text[:300]
PY
