#!/bin/sh
# unpack.sh FOLDER [SET]: a set of operator cases of PITH_DATA (default: the official ones of ONNX) into FOLDER, once; later
# calls find them there.
set -eu
folder=$1
set=${2:-onnx_node_tests}
archive=$PITH_DATA/$set/$set.tar.zst
[ -d "$folder/$set" ] && exit 0
[ -r "$archive" ] || { echo "$archive is not there" >&2; exit 1; }
mkdir -p "$folder"
# Into a folder beside it first, so that what is there is always whole.
part=$(mktemp -d "$folder/part.XXXXXX")
trap 'rm -rf "$part"' EXIT
zstd -dc "$archive" | tar -xf - -C "$part"
mv "$part/$set" "$folder/$set" 2>/dev/null || [ -d "$folder/$set" ]
