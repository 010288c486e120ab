# Models and plugins that must not come to serve, through the real worker: each ends with one sentence, and the version
# before goes on. Last the wake-word chain of three graphs, which must.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
. "$PITH_SOURCE/tests/integration/deploying.sh"
needs sqlite3 python3
plan 11
worker=$PITH_BUILD/pith-worker

# Small ONNX files, each with one fault.
python3 - "$folder" <<'END'
import sys

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])

def number(field, n):
    return varint(field << 3) + varint(n)

def part(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content

def node(operator, source, target):
    return part(1, part(1, source) + part(2, target) + part(3, "node_" + target) + part(4, operator))

def value(name, dims):
    shape = b"".join(part(1, number(1, dim)) for dim in dims)
    return part(1, name) + part(2, part(1, number(1, 1) + part(2, shape)))

def model(name, nodes, dims):
    graph = nodes + part(2, "g") + part(11, value("x", dims)) + part(12, value("y", dims))
    with open(sys.argv[1] + "/" + name + ".onnx", "wb") as file:
        file.write(number(1, 8) + part(7, graph) + part(8, number(2, 13)))

model("good", node("Relu", "x", "y"), [1, 1])
model("cyclic", node("Relu", "b", "a") + node("Relu", "a", "b") + node("Relu", "x", "y"), [1, 1])
model("unknown", node("Frobnicate", "x", "y"), [1, 1])
model("misfit", node("Relu", "x", "y"), [1, 4])
model("absurd", node("Relu", "x", "y"), [1 << 40, 1 << 40])
END
head -c 40 "$folder/good.onnx" >"$folder/truncated.onnx"

mkdir "$folder/plugins"
cp "$PITH_BUILD/tests/plugins/.libs/crashing.so" "$PITH_BUILD/tests/plugins/.libs/other_abi.so" "$folder/plugins"
cp "$PITH_BUILD/tests/plugins/.libs/good.so" "$folder/plugins/writable.so"
chmod 755 "$folder/plugins"/*
chmod 777 "$folder/plugins/writable.so"
PITH_PLUGIN_PATH=$PITH_BUILD/plugins/.libs:$folder/plugins
export PITH_PLUGIN_PATH

broker_start home </dev/null
config_write "mqtt://127.0.0.1:$home_port" <<END
compression: {deadline: 5m, when: always, memory: 2GB}
END
cp "$PITH_SOURCE/etc/recipes/fast.yaml" "$folder/recipes"
pithd_start
call '{"method": "plugins"}' >"$folder/listed"
grep -q 'other_abi[^}]*ABI 9' "$folder/listed" && grep -q 'writable[^}]*writ' "$folder/listed"
ok $? "plugins of another ABI and with an open mode are refused with a reason" "$folder/listed"

make_model good kws 1.0 1 "$folder/good.onnx"
push good kws
reports kws ' is active ' '"serving":true'
ok $? "the original of a small model serves" "$folder/pithd.log"

generation=2
ends() { # STATE GRAPH PATTERN SENTENCE [MANIFEST-MEMBERS]
    make_model "m$generation" kws "1.$generation" $generation "$folder/$2.onnx" ${5:+"$5"}
    push "m$generation" kws
    reports kws "^$generation is $1 " "$3" '"active":{[^}]*"generation":1[,}]' '"serving":true'
    status=$?
    sql "SELECT reason FROM deployments WHERE generation = $generation" >"$folder/reason"
    [ $status -eq 0 ] && [ "$(wc -l <"$folder/reason")" -eq 1 ]
    ok $? "$4" "$folder/last_report"
    echo "# $(cat "$folder/reason")"
    generation=$((generation + 1))
}

ends rejected truncated 'cut off' "a truncated graph is rejected"
ends rejected cyclic 'cycle' "a cyclic one is"
ends rejected unknown 'Frobnicate' "an operator that nobody knows is named"
ends rejected absurd 'graph' "an absurd shape is"
ends rejected misfit 'takes' "stages that don't fit their graph are"
ends failed good 'the worker' "a plugin that crashes takes its worker along, and no more" \
    '"recipe": {"steps": [{"crashing": {}}]}'
ends failed good 'did you mean \\"quantize\\"' "a technique that nobody has is named" \
    '"recipe": {"steps": [{"quantise": {}}]}'

# ---- a real chain ----
models=$PITH_DATA/models/openwakeword
if [ ! -f "$models/melspectrogram.onnx" ]; then
    for sentence in "a chain of three real graphs comes to serve" "at a third of its bytes, or less"; do
        count=$((count + 1))
        echo "ok $count - $sentence # SKIP no test data (PITH_DATA)"
    done
else
    mkdir "$folder/wakeword"
    cp "$models/melspectrogram.onnx" "$folder/wakeword/mel.onnx"
    cp "$models/embedding_model.onnx" "$folder/wakeword/embedding.onnx"
    cp "$models/hey_rhasspy_v0.1.onnx" "$folder/wakeword/hey_rhasspy.onnx"
    { printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 40000), }"
      head -c 160000 /dev/urandom; } >"$folder/wakeword/noise.npy"
    cat >"$folder/wakeword/manifest.json" <<END
{ "model": "wakeword", "version": "1.0.0",
  "graphs": { "mel": {"file": "mel.onnx"}, "embedding": {"file": "embedding.onnx"},
              "hey_rhasspy": {"file": "hey_rhasspy.onnx"} },
  "input": {"type": "float32", "rate_hz": 16000},
  "stages": [ {"window": {"size": 1760, "hop": 1280}}, {"graph": "mel"}, {"map": "x / 10 + 2"},
              {"window": {"size": 76, "hop": 8}}, {"graph": "embedding"}, {"window": {"size": 16, "hop": 1}},
              {"graph": "hey_rhasspy"}, {"decide": {"threshold": 0.5}} ],
  "data": { "validation": {"x": {"file": "noise.npy"}} }, "recipe": "fast" }
END
    HOME=$folder timeout 900 "$PITH_BUILD/pith" push "$folder/wakeword" --to gw/gw-test --sign "$folder/release.key" \
        --url "mqtt://127.0.0.1:$home_port" >"$folder/push.out" 2>&1 &&
        reports wakeword ' is active ' '"serving":true'
    ok $? "a chain of three real graphs comes to serve" "$folder/push.out"
    [ "$(sql "SELECT variant_bytes * 3 < original_bytes FROM deployments WHERE model = 'wakeword'")" = 1 ]
    ok $? "at a third of its bytes, or less"
fi
