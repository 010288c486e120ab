#!/usr/bin/env bash
# Makes a folder that holds what a program for arm64 is built and run with: Debian's packages for arm64, unpacked. apt works
# on a state of its own inside that folder, so neither the machine's list of architectures nor its packages change.
#
#   tools/arm64-root.sh FOLDER PACKAGE...
#
# FOLDER/root is what --sysroot and qemu-aarch64 -L take. Safe to repeat: what is there for the same packages is kept.
# Needs apt, dpkg and the network, but not root. Ends with 0, or with 1 and the reason where packages can't be had.
set -u
[ $# -ge 2 ] || { echo "usage: tools/arm64-root.sh FOLDER PACKAGE..." >&2; exit 2; }
mkdir -p "$1" || exit 1
folder=$(cd "$1" && pwd)
shift
root=$folder/root made=$folder/made
[ -f "$made" ] && [ "$(cat "$made")" = "$*" ] && exit 0

command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 ||
    { echo "there is no apt-get or no dpkg-deb here" >&2; exit 1; }
rm -rf "$folder/apt" "$root" "$made"
mkdir -p "$folder/apt/state/lists/partial" "$folder/apt/cache/archives/partial" "$root/usr/lib" || exit 1
: >"$folder/apt/status"
ln -s usr/lib "$root/lib"

# apt ARGUMENT...: apt-get for arm64 alone, with nothing installed yet
apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Install-Recommends=false \
        -o APT::Sandbox::User= -o Debug::NoLocking=1 -o Acquire::Languages=none -o Acquire::Retries=2 \
        -o Dir::State="$folder/apt/state" -o Dir::State::status="$folder/apt/status" -o Dir::Cache="$folder/apt/cache" \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Update::Post-Invoke::= -o APT::Keep-Downloaded-Packages=true \
        "$@"
}

if ! { apt update && apt install -y --download-only "$@"; } >"$folder/apt.log" 2>&1; then
    echo "apt-get could not fetch the packages for arm64: $(grep -m1 '^E:' "$folder/apt.log" || tail -n 1 "$folder/apt.log")" >&2
    exit 1
fi
for package in "$folder"/apt/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -xf - -C "$root" --keep-directory-symlink ||
        { echo "$(basename "$package") could not be unpacked" >&2; exit 1; }
done
# Links from the root of a system would lead to this machine's own files.
find "$root" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
    ln -sfn "$root$(readlink "$link")" "$link"
done
rm -rf "$folder/apt"
echo "$*" >"$made"
