#!/bin/sh
# unpack.sh FOLDER: the official ONNX operator cases of PITH_DATA into FOLDER, once; later calls find them there.
set -eu
folder=$1
archive=$PITH_DATA/onnx_node_tests/onnx_node_tests.tar.zst
[ -e "$folder/onnx_node_tests/index.csv" ] && exit 0
[ -r "$archive" ] || { echo "$archive is not there" >&2; exit 1; }
mkdir -p "$folder"
# Into a folder beside it first, so that what is there is always whole.
part=$(mktemp -d "$folder/part.XXXXXX")
trap 'rm -rf "$part"' EXIT
zstd -dc "$archive" | tar -xf - -C "$part"
mv "$part/onnx_node_tests" "$folder/onnx_node_tests" 2>/dev/null || [ -e "$folder/onnx_node_tests/index.csv" ]
