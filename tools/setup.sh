# Sourced by quickstart, check and bench: says what happens, and installs Debian packages that are not there yet.
# Nothing else on the machine is changed.

steps_begun=$(date +%s)
if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi

# One line a step, with the seconds since the start.
say() { printf '%s[%3d s] %s%s\n' "$bold" $(($(date +%s) - steps_begun)) "$*" "$plain"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo "$@"
    else die "This step needs root: run it as root, or install sudo. It was: $*"
    fi
}

# while_it_runs COMMAND...: every 20 seconds says what COMMAND prints, until `enough` is called.
ticker=''
while_it_runs() {
    (while sleep 20 >/dev/null 2>&1 && kill -0 $$; do say "  $("$@")"; done) 2>/dev/null &
    ticker=$!
}
enough() {
    kill "$ticker"
    wait "$ticker" 2>/dev/null
}

# install_packages WHY PACKAGE...: asks apt only for what is missing.
install_packages() {
    local why=$1 missing=() package
    shift
    command -v dpkg-query >/dev/null 2>&1 ||
        die "This script installs packages with apt and needs Debian 12 or a relative of it. They are: $*"
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    say "Installing $why: ${missing[*]}"
    local log status
    log=$(mktemp)
    while_it_runs tail -n 1 "$log"
    { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1
    status=$?
    enough
    if [ $status != 0 ]; then
        tail -n 15 "$log" >&2
        die "apt-get could not install ${missing[*]}: its last lines are above, all of them in $log"
    fi
    rm -f "$log"
}

build_packages="gcc make autoconf automake libtool pkg-config libc6-dev libuv1-dev libyaml-dev libsqlite3-dev libssl-dev
    libjansson-dev libzstd-dev libseccomp-dev libpaho-mqtt-dev"

# What a build for arm64 is linked with: the same libraries, of that architecture.
arm64_packages="libc6-dev libuv1-dev libyaml-dev libsqlite3-dev libssl-dev libjansson-dev libzstd-dev libseccomp-dev
    libpaho-mqtt-dev libjpeg-dev libcmocka-dev"

# quietly LOG COMMAND...: runs it, says that it goes on, and shows the log's end where it fails.
quietly() {
    local log=$1 status
    shift
    while_it_runs echo "still at: $*"
    "$@" >"$log" 2>&1
    status=$?
    enough
    if [ $status != 0 ]; then
        tail -n 40 "$log" >&2
        die "Failed: $* (all its output is in $log)"
    fi
}
