# Operators of ONNX Runtime's own, taken apart, give what it gives: tests/unit/test_onnx_dissolve beside its library.
. "$PITH_SOURCE/tests/integration/tap.sh"
. "$PITH_SOURCE/tools/onnxruntime.sh"
fetch_onnxruntime "$PITH_SOURCE" "$PITH_BUILD/tests/tools/ort" || skip_all "$onnxruntime_missing"
"$PITH_SOURCE/tests/run.sh" "$PITH_BUILD/tests/unit/test_onnx_dissolve"
