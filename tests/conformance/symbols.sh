# Every plugin that is built exports pith_plugin and nothing else, and the library what begins with pith_.
cd "${PITH_BUILD:-.}" || exit 1
objects=$(find plugins examples -path '*/.libs/*.so' | sort)
number=0
echo 1..$(($(printf '%s\n' $objects | grep -c .) + 1))

check() { # FILE ALLOWED-PATTERN
    number=$((number + 1))
    # The sanitizers' own symbols come with them.
    others=$(nm -D --defined-only "$1" | awk '{print $NF}' | sed 's/@.*//' | grep -vE "^($2)\$|^(__)?(asan|ubsan|tsan|lsan|sancov|odr_asan)|^_?_?start___|^_?_?stop___")
    if [ -n "$others" ]; then
        echo "not ok $number - $1 exports $2 alone"
        printf '%s\n' $others | head -n 10 | sed 's/^/# /'
    elif ! nm -D --defined-only "$1" | awk '{print $NF}' | grep -qE "^($2)(@|\$)"; then
        echo "not ok $number - $1 exports $2 alone"
        echo "# it exports nothing"
    else
        echo "ok $number - $1 exports $2 alone"
    fi
}

for object in $objects; do
    check "$object" pith_plugin
done
check .libs/libpith.so 'pith_[a-z0-9_]+'
