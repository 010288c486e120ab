# What pith writes gives the same numbers in ONNX Runtime as what it has read: models as they are, models raised to
# opset 21, and models full of QuantizeLinear and DequantizeLinear, which go into values' quantization and come back.
. "$PITH_SOURCE/tests/integration/tap.sh"
needs_data
needs_onnxruntime compare.js
list=$folder/list
: >"$list"

# pair KIND IN NAME LEVEL TOLERANCE [OPTION]: rewrites IN, and lists both. A model that an option can't be used on is left out (3).
pair() {
    mkdir -p "$folder/$1"
    "$PITH_BUILD/tests/tools/onnx_rewrite" $6 "$2" "$folder/$1/$3" 2>"$folder/said"
    case $? in
    0) printf '%s\t%s\t%s\t%s\n' "$2" "$folder/$1/$3" "$4" "$5" >>"$list" ;;
    3) ;;
    *) sed 's/^/# /' "$folder/said" ;;
    esac
}

for model in "$PITH_DATA"/models/*/*.onnx; do
    name=$(basename "$model")
    pair plain "$model" "$name" disabled 0
    # Another opset may take another kernel of ONNX Runtime: the same to within rounding.
    pair raised "$model" "$name" disabled 1e-5 --raise
    pair qdq "$model" "$name" disabled 1 --qdq # only made here; compared in the next line
    sed -i "/\/qdq\//d" "$list"
    [ -e "$folder/qdq/$name" ] || continue
    pair back "$folder/qdq/$name" "$name" disabled 0
    pair back "$folder/qdq/$name" "$name" all 0
done

# Operators whose form changed after opset 7 to 12, one by one: those of the official cases that can be raised.
if sh "$PITH_SOURCE/tests/conformance/unpack.sh" "$PITH_BUILD/tests/conformance/cases" 2>/dev/null; then
    cases=$PITH_BUILD/tests/conformance/cases/onnx_node_tests
    for case in $(awk -F, '$3 >= 7 && $3 <= 12 { print $1 }' "$cases/index.csv"); do
        [ -e "$cases/$case/model.onnx" ] || continue
        # With 0 rounds, as a random input may ask for, its result has the shape that the body declares, which
        # inference replaces by what is known of any number of rounds.
        [ "$case" = node/test_loop11 ] && continue
        # These take indices, a depth or a shape: both files refuse what is drawn at random, so nothing would be compared.
        case $case in */test_maxunpool* | */test_onehot* | */test_expand_shape*) continue ;; esac
        pair case "$cases/$case/model.onnx" "$(basename "$case").onnx" disabled 1e-5 --raise
    done
fi
node "$tools/compare.js" "$list"
