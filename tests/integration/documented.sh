# What the code has, the documents name: control methods, topics, events, states, commands, exit codes, plugins and their
# options, schemas. Config keys are compared by tests/unit/test_config.c. And the manual pages format without a warning.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
plan 12

man=$PITH_SOURCE/man
page() { # a page as its source says, without font changes and escapes
    sed -e 's/\\f[BRIP]//g' -e 's/\\-/-/g' -e 's/\\e/\\/g' "$man/$1"
}

# Lines of the page's section or sub-section of that name, up to the next.
section() { # PAGE SS|SH NAME
    page "$1" | awk -v head=".$2 $3" '$0 == head {on = 1; next} on && (/^\.SH/ || (/^\.SS/ && head ~ /^\.SS/)) {exit} on'
}

missing=$folder/missing
all_there() { # SENTENCE: nothing was missing, and something was looked for
    if [ "$looked" -gt 0 ] && [ ! -s "$missing" ]; then
        ok 0 "$1 ($looked)"
    else
        echo "looked for: $looked" >>"$missing"
        ok 1 "$1" "$missing"
    fi
    looked=0
    : >"$missing"
}
look() { # STATUS WHAT
    looked=$((looked + 1))
    [ "$1" -eq 0 ] || echo "$2" >>"$missing"
}
looked=0
: >"$missing"

# ---- methods ----
methods=$(cat "$PITH_SOURCE"/daemon/*.c | awk '/^const struct control_method [a-z_]*_methods\[\] = \{/ {on = 1; next} /^};/ {on = 0} on' |
    sed -n -e 's/^ *{"\([a-z_]*\)".*/\1/p' -e 's/^ *{\.name = "\([a-z_]*\)".*/\1/p')
for method in $methods; do
    section pith-mqtt.7.in SH CALLS | grep -q "^\.BR\{0,1\} $method\( \|\*\|$\)"
    look $? "pith-mqtt(7), CALLS: $method"
    section pithd.8.in SH "CONTROL SOCKET" | grep -q "^\.BR\{0,1\} $method\( \|$\)"
    look $? "pithd(8), CONTROL SOCKET: $method"
    grep -q "^    \"$method\": {" "$PITH_SOURCE/schemas/control_methods.json"
    look $? "schemas/control_methods.json: $method"
done
all_there "each control method is in pith-mqtt(7), pithd(8) and its schema"

config_write mqtt://127.0.0.1:1 </dev/null
pithd_start
call '{"method": "describe"}' | grep -o '"name":"[a-z_]*"' | cut -d'"' -f4 | sort >"$folder/described"
pithd_stop
echo "$methods" | sort | cmp -s - "$folder/described"
ok $? "and they are those that describe lists" "$folder/described"

# ---- topics, events, states ----
# As the daemon writes them: daemon_topic(..., "event/%s", ...) and "%s/blob/%s/%lld"; as the page heads them: gw/GW/event/KIND.
one_line() {
    cat "$PITH_SOURCE"/daemon/*.c | tr -s '\n ' '  '
}
{
    one_line | grep -o 'daemon_topic([^;"]*"[^"]*"' | sed 's/.*"\(.*\)"/gw\/%s\/\1/'
    one_line | grep -o '"%s/[a-z]*/[^"]*"' | sed -e 's/^"%s\///' -e 's/"$//' | grep -v -e '/$' -e '^deployments/' -e '^guard/' # the last two are files
    one_line | grep -o '"/answer/"' | sed 's/.*/answer\/%s/'
} | sort -u >"$folder/topics"
page pith-mqtt.7.in | sed -n 's/^\.SS //p' >"$folder/heads"
while read -r topic; do
    grep -Eqx "$(echo "$topic" | sed -e 's/%s\|%lld\|+/[A-Z0-9]+/g')" "$folder/heads"
    look $? "pith-mqtt(7): $topic"
done <"$folder/topics"
[ "$looked" -ge 12 ] || echo "only $looked topics were found in the code" >>"$missing"
all_there "each topic that the daemon uses has its part in pith-mqtt(7)"

for kind in $(one_line | grep -o 'daemon_event([^;"]*"[a-z-]*"' | sed 's/.*"\(.*\)"/\1/' | sort -u); do
    section pith-mqtt.7.in SS gw/GW/event/KIND | grep -Eq "^\.BR? (.* )?$kind( |\$)"
    look $? "pith-mqtt(7): event $kind"
    grep '"kind": {"enum"' "$PITH_SOURCE/schemas/event.json" | grep -q "\"$kind\""
    look $? "schemas/event.json: $kind"
done
all_there "each kind of event is in pith-mqtt(7) and its schema"

for state in $(sed -n 's/^ *\[STATE_[A-Z_]*\] = *{"\([a-z-]*\)".*/\1/p' "$PITH_SOURCE/daemon/deployment_states.c"); do
    section pith-mqtt.7.in SH "DEPLOYMENT STATES" | grep -qx "\.B $state"
    look $? "pith-mqtt(7): state $state"
    grep '"state": {"enum"' "$PITH_SOURCE/schemas/reported.json" | grep -q "\"$state\""
    look $? "schemas/reported.json: $state"
done
all_there "each state of a deployment is in pith-mqtt(7) and its schema"

# ---- the command ----
for command in $("$PITH_BUILD/pith" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    section pith.1 SH COMMANDS | grep -Eq "^\.BI? \"?$command( |\"|\$)"
    look $? "pith(1): $command"
done
all_there "each sub-command is in pith(1)"
for command in $("$PITH_BUILD/pith" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    for option in $("$PITH_BUILD/pith" "$command" --help | sed -n 's/^ *\(--[a-z-]*\).*/\1/p'); do
        page pith.1 | grep -q -e "$option\( \|,\|\.\|$\)"
        look $? "pith(1): $command $option"
    done
done
all_there "each option of a sub-command is in pith(1)"
for code in $(sed -n 's/^ *CLI_[A-Z_]* = \([0-9]*\),.*/\1/p' "$PITH_SOURCE/cli/cli.h"); do
    section pith.1 SH "EXIT STATUS" | grep -qx "\.B $code"
    look $? "pith(1): exit code $code"
done
all_there "each exit code is in pith(1)"

# ---- plugins ----
for plugin in $("$PITH_BUILD/pith" plugins | awk 'NR > 1 && $1 ~ /^(engine|technique|codec|meter)$/ {print $2}'); do
    section pith-plugins.7.in SS "$plugin" >"$folder/section"
    test -s "$folder/section"
    look $? "pith-plugins(7): $plugin"
    "$PITH_BUILD/pith" plugins "$plugin" | sed -n 's/^  \([a-z_0-9]*\) .*(default: \(.*\))$/\1 \2/p' >"$folder/options"
    while read -r option default; do
        [ "$default" = '~' ] && default=none
        grep -Fqx ".BR $option \" (default: $default)\"" "$folder/section"
        look $? "pith-plugins(7), $plugin: $option (default: $default)"
    done <"$folder/options"
done
all_there "each plugin and option, with its default, is in pith-plugins(7)"
for option in $("$PITH_BUILD/pith" plugins quantize | sed -n 's/^  \([a-z_0-9]*\) .*/\1/p'); do
    section pith-recipe.5.in SH "TECHNIQUE QUANTIZE" | grep -q "^\.BR $option "
    look $? "pith-recipe(5): $option"
done
all_there "each option of quantize is in pith-recipe(5)"

# ---- schemas and pages as such ----
for schema in "$PITH_SOURCE"/schemas/*.json; do
    grep -q "%D%/${schema##*/}\( \|\$\)" "$PITH_SOURCE/schemas/Makefile.inc"
    look $? "not installed: $schema"
done
all_there "each schema is installed"

if ! command -v man >/dev/null; then
    echo "ok 12 - pages format without a warning # SKIP man is not installed"
    exit 0
fi
for source in "$man"/*.[1-9] "$man"/*.[1-9].in; do
    [ -f "$source" ] || continue
    MANWIDTH=100 LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l "$source" >/dev/null 2>"$folder/said"
    [ $? -eq 0 ] && [ ! -s "$folder/said" ]
    look $? "$source: $(cat "$folder/said")"
done
all_there "each page formats without a warning"
