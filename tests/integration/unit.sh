# The systemd unit: nothing that systemd doesn't understand, and tight; the sample config loads.
command -v systemd-analyze >/dev/null || { echo "1..0 # SKIP systemd-analyze is not installed"; exit 0; }
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
echo "1..3"

# verify wants the program to be there, which it isn't before `make install`.
sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' "$PITH_BUILD/systemd/pithd.service" >"$folder/pithd.service"
systemd-analyze verify --man=no "$folder/pithd.service" >"$folder/said" 2>&1
if [ -s "$folder/said" ]; then
    echo "not ok 1 - systemd-analyze verify has nothing to say"
    sed 's/^/# /' "$folder/said"
else
    echo "ok 1 - systemd-analyze verify has nothing to say"
fi
if systemd-analyze security --offline=yes --threshold=15 --no-pager "$folder/pithd.service" >"$folder/said" 2>&1; then
    echo "ok 2 - its exposure is at most 1.5: $(sed -n 's/.*pithd.service: \([0-9.]*\).*/\1/p' "$folder/said")"
else
    echo "not ok 2 - its exposure is at most 1.5"
    sed 's/^/# /' "$folder/said"
fi

openssl genpkey -algorithm ed25519 -out "$folder/key" 2>/dev/null
openssl pkey -in "$folder/key" -pubout -out "$folder/release.pub" 2>/dev/null
mkdir "$folder/recipes"
cp "$PITH_SOURCE"/etc/recipes/*.yaml "$folder/recipes"
{
    sed "s|^trust: .*|trust: [$folder/release.pub]|" "$PITH_BUILD/etc/pithd.yaml"
    echo "gateway: hub"
    echo "recipe_path: $folder/recipes"
    echo "worker: /bin/true"
} >"$folder/pithd.yaml"
if "$PITH_BUILD/pithd" --check --config "$folder/pithd.yaml" >"$folder/said" 2>&1; then
    echo "ok 3 - the sample config has no faults once its key is there"
else
    echo "not ok 3 - the sample config has no faults once its key is there"
    sed 's/^/# /' "$folder/said"
fi
