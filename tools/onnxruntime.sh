# Sourced: fetches ONNX Runtime, the library that we compare with, from npm. Nothing is installed on the machine.

# fetch_onnxruntime SOURCE FOLDER: about 300 MB, once a folder, in the version that SOURCE/tests/tools/ort asks for. Sets and
# exports PITH_ONNXRUNTIME where it isn't set. 1: it can't be had, and $onnxruntime_missing says why.
fetch_onnxruntime() {
    local arch
    onnxruntime_missing=
    [ -n "${PITH_ONNXRUNTIME:-}" ] && return 0
    case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) onnxruntime_missing="onnxruntime-node has no library for $(uname -m)"; return 1 ;;
    esac
    command -v node >/dev/null && command -v npm >/dev/null ||
        { onnxruntime_missing="node and npm are not installed"; return 1; }
    mkdir -p "$2"
    (
        flock 9 # tests that run side by side ask for it at once
        cmp -s "$1/tests/tools/ort/package.json" "$2/installed.json" && exit 0
        cp "$1/tests/tools/ort/package.json" "$2/package.json" && cd "$2" &&
            timeout 300 npm install --no-audit --no-fund --ignore-scripts --no-package-lock >npm.log 2>&1 &&
            cp package.json installed.json
    ) 9>"$2/lock" || { onnxruntime_missing="npm could not install onnxruntime-node ($2/npm.log)"; return 1; }
    PITH_ONNXRUNTIME=$(find "$2/node_modules/onnxruntime-node/bin" -path "*/linux/$arch/libonnxruntime.so.1" 2>/dev/null | head -n 1)
    [ -n "$PITH_ONNXRUNTIME" ] || { onnxruntime_missing="onnxruntime-node has no libonnxruntime.so.1"; return 1; }
    export PITH_ONNXRUNTIME
}
