# Includes point down the floors only: a room may use those below it, never one above. Plugins have the public headers
# alone, but for the native engine, which may use the kernels, the graph and the base.
cd "${PITH_SOURCE:-.}" || exit 1

# below ROOM: what files of that room may include, as alternatives of a regular expression.
below() {
    case $1 in
    libpith/base) echo 'libpith/base' ;;
    libpith/graph) echo 'libpith/(base|graph)' ;;
    libpith/formats) echo 'libpith/(base|graph|formats)' ;;
    libpith/kernels) echo 'libpith/(base|graph|kernels)' ;;
    libpith/plugin) echo 'libpith/(base|graph|formats|kernels|plugin)' ;;
    libpith/model) echo 'libpith/(base|graph|formats|kernels|plugin|model)' ;;
    libpith/pipeline) echo 'libpith/(base|graph|formats|kernels|plugin|model|pipeline)' ;;
    libpith/train) echo 'libpith/(base|graph|formats|kernels|plugin|model|pipeline|train)' ;;
    libpith/compress) echo 'libpith/(base|graph|formats|kernels|plugin|model|pipeline|train|compress)' ;;
    worker) echo 'libpith/[a-z]+|worker' ;;
    cli) echo 'libpith/[a-z]+|cli' ;;
    daemon) echo 'libpith/(base|graph|formats|kernels|plugin|model|pipeline)|daemon' ;;
    plugins/engines/native) echo 'libpith/(base|graph|kernels)|plugins/engines/native' ;;
    plugins/*) echo "$1" ;;
    *) echo 'none' ;;
    esac
}

number=0
rooms="libpith/base libpith/graph libpith/formats libpith/kernels libpith/plugin libpith/model libpith/pipeline
    libpith/train libpith/compress worker cli daemon plugins/engines/native plugins/engines/onnxruntime
    plugins/engines/xnnpack plugins/techniques plugins/codecs
    plugins/meters examples"
present=
for room in $rooms; do
    [ -d "$room" ] && present="$present $room"
done
echo 1..$(($(echo $present | wc -w) + 1))
for room in $present; do
    number=$((number + 1))
    # Generated text (SQL) is a file of its own room.
    wrong=$(find "$room" -name '*.[ch]' -exec grep -nE '^ *# *include "' /dev/null {} + |
        grep -vE "# *include \"($(below "$room"))/[^\"]*\"|# *include \"(schemas/|config\\.h\")")
    if [ -z "$wrong" ]; then
        echo "ok $number - $room includes what lies below it"
    else
        echo "not ok $number - $room includes what lies below it"
        printf '%s\n' "$wrong" | sed 's/^/# /'
    fi
done
number=$((number + 1))
wrong=$(grep -nE '^ *# *include ["<](libpith|daemon|worker|cli|plugins)' include/pith/*.h)
if [ -z "$wrong" ]; then
    echo "ok $number - public headers include public headers alone"
else
    echo "not ok $number - public headers include public headers alone"
    printf '%s\n' "$wrong" | sed 's/^/# /'
fi
