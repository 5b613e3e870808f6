#!/bin/bash
# Proves that a fresh Debian 12 is enough: a root made by debootstrap, git and make installed into it, the committed
# branch cloned, and `make demo` and `make test` run there. Needs root, debootstrap and 6 GB.
#
#   scripts/fresh_machine.sh [--keep FOLDER] [TARGET...]
#
# --keep leaves the root in FOLDER; else it lies in a temporary folder and is removed. TARGETs default to: demo test.
# Mirror, apt's and pip's settings and certificates are those of this machine. The log is build/fresh_machine.log.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$(pwd)
release=bookworm

fail() {
    echo "fresh_machine: $*" >&2
    exit 1
}
say() { echo "fresh_machine: $* ($(($(date +%s) - began)) s)"; }

keep=
if [ "${1:-}" = --keep ]; then
    keep=${2:?--keep needs a folder}
    shift 2
fi
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(demo test)
[ "$(id -u)" = 0 ] || fail "must run as root, which chroot needs"
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
[ -z "$keep" ] || [ ! -e "$keep/etc" ] || fail "$keep holds a root already; remove it or name another folder"
began=$(date +%s)
mkdir -p build
log=$repository/build/fresh_machine.log
: >"$log"

root=${keep:-$(mktemp -d /var/tmp/graft-fresh.XXXXXX)}
mkdir -p "$root"
chmod 755 "$root" # users other than root pass through it, as through any machine's
root=$(cd "$root" && pwd)
mounted=()
finish() {
    local i
    for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do umount -R "${mounted[i]}" || umount -l "${mounted[i]}"; done
    # Nothing is removed while anything of this machine is still mounted inside.
    if [ -z "$keep" ] && ! grep -qF " $root/" /proc/mounts; then rm -rf --one-file-system "$root"; fi
}
trap finish EXIT

# The mirror that this machine's apt takes the release's main packages from.
mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(SITE)' 'Created-By: Packages' |
    awk -v release=$release '$1 == release && $2 == "main" {print $3; exit}')
[ -n "$mirror" ] || fail "apt's sources name no mirror of Debian $release"
debootstrap --variant=minbase "$release" "$root" "$mirror" >>"$log" 2>&1 ||
    fail "debootstrap failed; see $log"
say "a bare Debian $release stands"

# What makes the network reachable here makes it reachable there. Third-party sources stay behind: only files that
# name a Debian mirror are taken along.
rm -f "$root/etc/apt/sources.list"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if [ -f "$file" ] && grep -q "$mirror" "$file"; then cp "$file" "$root$file"; fi
done
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
    if [ -f "$file" ] && grep -qi 'acquire' "$file"; then cp "$file" "$root$file"; fi
done
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
settings=(PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "TERM=${TERM:-dumb}")
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$root/root/certificates.crt"
    settings+=(PIP_CERT=/root/certificates.crt SSL_CERT_FILE=/root/certificates.crt)
fi
for file in /etc/pip.conf "$HOME/.pip/pip.conf" "$HOME/.config/pip/pip.conf"; do
    if [ -f "$file" ]; then cat "$file" >>"$root/etc/pip.conf"; fi
done
while IFS= read -r -d '' setting; do
    case $setting in
    PIP_CERT=* | PIP_FIND_LINKS=*) ;;
    PIP_* | http_proxy=* | https_proxy=* | no_proxy=* | HTTP_PROXY=* | HTTPS_PROXY=* | NO_PROXY=*) settings+=("$setting") ;;
    esac
done < <(env -0)

for folder in proc sys dev; do
    mount --rbind "/$folder" "$root/$folder" && mount --make-rslave "$root/$folder" ||
        fail "cannot mount /$folder in the new root"
    mounted+=("$root/$folder")
done
inside() { env -i "${settings[@]}" DEBIAN_FRONTEND=noninteractive chroot "$root" /bin/bash -c "$1" </dev/null; }

inside "apt-get -qq update && apt-get -qq install -y --no-install-recommends git make" >>"$log" 2>&1 ||
    fail "git and make could not be installed; see $log"
git bundle create --quiet "$root/root/graft.bundle" HEAD
inside "git clone --quiet /root/graft.bundle /root/graft" >>"$log" 2>&1 || fail "the clone failed; see $log"
say "git and make installed, $(git rev-parse --short HEAD) cloned"

for target in "${targets[@]}"; do
    if ! inside "cd /root/graft && make $target" 2>&1 | tee -a "$log"; then fail "make $target failed; see $log"; fi
    say "make $target passed"
done
