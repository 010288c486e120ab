# The systemd unit: nothing that systemd doesn't understand, and tight; the sample config loads.
. "$PITH_SOURCE/tests/integration/tap.sh"
needs systemd-analyze
plan 3

# verify wants the program to be there, which it isn't before `make install`.
sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' "$PITH_BUILD/systemd/pithd.service" >"$folder/pithd.service"
systemd-analyze verify --man=no "$folder/pithd.service" >"$folder/said" 2>&1
[ ! -s "$folder/said" ]
ok $? "systemd-analyze verify has nothing to say" "$folder/said"
systemd-analyze security --offline=yes --threshold=15 --no-pager "$folder/pithd.service" >"$folder/said" 2>&1
ok $? "its exposure is at most 1.5: $(sed -n 's/.*pithd.service: \([0-9.]*\).*/\1/p' "$folder/said")" "$folder/said"

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
"$PITH_BUILD/pithd" --check --config "$folder/pithd.yaml" >"$folder/said" 2>&1
ok $? "the sample config has no faults once its key is there" "$folder/said"
