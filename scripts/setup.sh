#!/bin/bash
# Puts in place what graft is built with: Debian packages, and oneDNN >= 3.2 under .deps/onednn.
#
#   scripts/setup.sh                    what the build, the demo and the tests need
#   scripts/setup.sh lint fuzz          also what these need (groups: clang lint fuzz coverage peers)
#   scripts/setup.sh --package NAME...  these Debian packages, when missing
#
# Nothing is done and nothing printed when all is there. GRAFT_ONEDNN names another oneDNN prefix.
set -euo pipefail
cd "$(dirname "$0")/.."

onednn_version=2023.2.0
onednn_wheels=(
    "onednn-cpu-gomp 2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb"
    "onednn-devel-cpu-gomp 9763c69e8c907e119056bd52ad918ca84ac9ba939d130a99dfa95ccca3e5e284"
)

fail() {
    echo "setup: $*" >&2
    exit 1
}

packages_of() {
    case $1 in
    base) echo gcc libc6-dev make cmake ninja-build pkg-config zlib1g-dev libjansson-dev libspng-dev libwebp-dev \
        libzip-dev libjpeg62-turbo-dev libxxhash-dev libutf8proc-dev libpcre2-dev libsqlite3-dev libcmocka-dev \
        libopenblas0-openmp ;;
    clang) echo clang libomp-dev ;;
    lint) echo clang clang-tidy clang-format cppcheck libomp-dev ;;
    fuzz) echo clang libclang-rt-14-dev libomp-dev llvm ;;
    coverage) echo gcovr ;;
    peers) echo python3 python3-venv ;;
    *) fail "unknown group '$1', one of: clang lint fuzz coverage peers" ;;
    esac
}

# The packages among "$@" that are not installed, on one line.
missing_packages() {
    dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "$@" 2>/dev/null | sed -n 's/^ii *//p' >"$scratch/have" || true
    printf '%s\n' "$@" | sort -u | grep -vxF -f "$scratch/have" | tr '\n' ' ' || true
}

install_packages() {
    local list root=() log=$scratch/apt.log
    if ! command -v dpkg-query >/dev/null; then
        # Not Debian: CMake names what it does not find.
        return 0
    fi
    list=$(missing_packages "$@")
    [ -n "$list" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            fail "Debian packages are missing and neither root nor sudo is at hand; as root: apt-get install ${list% }"
        fi
        root=(sudo)
    fi
    echo "setup: installing Debian packages: ${list% }"
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update >"$log" 2>&1 </dev/null 9>&- || true
    # shellcheck disable=SC2086
    if ! "${apt[@]}" install -y --no-install-recommends $list >>"$log" 2>&1 </dev/null 9>&-; then
        tail -n 8 "$log" >&2
        fail "apt-get could not install: ${list% } (its last lines are above; is the network reachable?)"
    fi
}

# Succeeds when the oneDNN whose headers lie under $1 is 3.2 or newer of the 3 series, which is the API graft speaks.
is_new_enough() {
    local header=$1/include/oneapi/dnnl/dnnl_version.h
    [ -r "$header" ] && awk '/define DNNL_VERSION_MAJOR/ {major = $3} /define DNNL_VERSION_MINOR/ {minor = $3}
        END {exit !(major == 3 && minor >= 2)}' "$header"
}

has_onednn() {
    local prefix
    if [ -n "${GRAFT_ONEDNN:-}" ]; then
        is_new_enough "$GRAFT_ONEDNN" || fail "GRAFT_ONEDNN=$GRAFT_ONEDNN holds no oneDNN 3.2 or newer"
        return 0
    fi
    for prefix in .deps/onednn /usr/local /usr; do
        is_new_enough "$prefix" && return 0
    done
    return 1
}

install_onednn() {
    local entry name sum wheel pip=python3
    [ "$(uname -m)" = x86_64 ] ||
        fail "no ready-made oneDNN for $(uname -m): install oneDNN >= 3.2 and set GRAFT_ONEDNN to its prefix"
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3 python3-pip
    [ -x /usr/bin/python3 ] && ! python3 -m pip --version >/dev/null 2>&1 && pip=/usr/bin/python3
    echo "setup: putting oneDNN 3.2 into .deps/onednn"
    mkdir -p "$scratch/wheels" "$scratch/unpacked" "$scratch/onednn/lib"
    for entry in "${onednn_wheels[@]}"; do
        read -r name sum <<<"$entry"
        "$pip" -m pip download --quiet --no-deps --only-binary :all: -d "$scratch/wheels" "$name==$onednn_version" \
            >"$scratch/pip.log" 2>&1 </dev/null || {
            tail -n 2 "$scratch/pip.log" >&2
            fail "pip could not download $name $onednn_version (its last lines are above; is the network reachable?)"
        }
        wheel=$(echo "$scratch/wheels/${name//-/_}-$onednn_version"-*.whl)
        echo "$sum  $wheel" | sha256sum --check --status ||
            fail "$name $onednn_version is not the file graft was built with: its SHA-256 is not $sum"
        "$pip" -m zipfile -e "$wheel" "$scratch/unpacked"
        # The wheel holds the library three times over; one file and two links do.
        rm -f "$scratch/unpacked/$(basename "${wheel%%-*}")-$onednn_version.data/data/lib/libdnnl.so"{,.3}
        cp -r "$scratch/unpacked/${name//-/_}-$onednn_version.data/data/." "$scratch/onednn/"
    done
    chmod 755 "$scratch/onednn/lib/libdnnl.so.3.2"
    ln -s libdnnl.so.3.2 "$scratch/onednn/lib/libdnnl.so.3"
    ln -s libdnnl.so.3 "$scratch/onednn/lib/libdnnl.so"
    is_new_enough "$scratch/onednn" || fail "the oneDNN wheels do not hold oneDNN 3.2"
    rm -rf .deps/onednn
    mv -T "$scratch/onednn" .deps/onednn
}

wanted=()
if [ "${1:-}" = --package ]; then
    wanted=("${@:2}")
    [ ${#wanted[@]} -gt 0 ] || fail "--package needs at least one name"
else
    for group in base "$@"; do
        list=$(packages_of "$group")
        read -ra list <<<"$list"
        wanted+=("${list[@]}")
    done
fi

# Two set-ups at once take turns; what a killed one left is swept away.
mkdir -p .deps
if command -v flock >/dev/null; then
    exec 9>.deps/lock
    flock 9
    rm -rf .deps/setup.*
fi
scratch=$(mktemp -d .deps/setup.XXXXXX)
trap 'rm -rf "$scratch"' EXIT

install_packages "${wanted[@]}"
[ "${1:-}" = --package ] || has_onednn || install_onednn
