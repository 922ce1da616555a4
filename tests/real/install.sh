#!/bin/sh
# Installs what tests with real VMs need, on Debian or Ubuntu for x86-64, as root:
# QEMU, libvirt, the kernel of a tiny guest, and libvirt's Python binding in this tree's .venv.
#
#   sudo tests/real/install.sh            all of it
#   sudo tests/real/install.sh --no-venv  all but the binding
#
# Packages come from wherever apt, and pip or uv, are told to get them on this machine. Again: nothing to do.
set -eu

QEMU_MAJOR_MIN=10 # 7.2, which Debian 12 has, corrupts memory on vCPU unplug and fails migrations under TCG
GUEST_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/guest"
BACKPORTS=/etc/apt/sources.list.d/tidegate-backports.list
TREE=$(cd "$(dirname "$0")/../.." && pwd)
export DEBIAN_FRONTEND=noninteractive
export TMPDIR=/var/tmp # apt's own user must be able to write there, and can't where /tmp is root's alone

no() { # why not, and what to do
    echo "install.sh: $*" >&2
    exit 3
}

[ "$(uname -s)" = Linux ] || no "only Linux has KVM's tools; on $(uname -s) use a Linux VM with Debian 12 or later"
[ -r /etc/os-release ] || no "this system does not say what it is; install QEMU $QEMU_MAJOR_MIN, libvirt and busybox by hand"
. /etc/os-release
case "$ID ${ID_LIKE:-}" in
*debian*) ;;
*) no "this is $ID, not Debian or Ubuntu; install QEMU $QEMU_MAJOR_MIN, libvirt with headers, and a static busybox by hand" ;;
esac
command -v apt-get >/dev/null || no "there is no apt-get here; install the packages this script names by hand"
[ "$(dpkg --print-architecture)" = amd64 ] || no "the guest is built for amd64, this is $(dpkg --print-architecture)"
[ "$(id -u)" = 0 ] || no "packages can't be installed without root; run it with sudo"

install_packages() { # from the release named first, or from the machine's own with ''
    from=$1
    shift
    apt-get install -y --quiet=2 --no-install-recommends -o Dpkg::Options::=--force-confold \
        ${from:+-t "$from"} "$@" >/dev/null
}

candidate_major() { # the major version apt would install of a package
    apt-cache ${2:+-t "$2"} policy "$1" | sed -n 's/^  Candidate: \([0-9]*:\)\{0,1\}\([0-9]*\).*/\2/p'
}

add_backports() { # beside the machine's own source of its release, so that no host is named here
    [ -e "$BACKPORTS" ] && return
    site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $VERSION_CODENAME" | head -n 1)
    [ -n "$site" ] || no "apt knows no source of $VERSION_CODENAME; add one, and run this again"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $VERSION_CODENAME-backports main" >"$BACKPORTS"
    echo "added the source $VERSION_CODENAME-backports ($BACKPORTS)"
}

apt_update() { # a source that does not answer is told at once
    apt-get update -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 ||
        no "apt can't read its sources"
}

apt_update
release=""
if [ "$ID" = debian ] && [ "$(candidate_major qemu-system-x86)" -lt "$QEMU_MAJOR_MIN" ]; then
    release="$VERSION_CODENAME-backports"
    add_backports
    apt_update
fi
[ "$(candidate_major qemu-system-x86 "$release")" -ge "$QEMU_MAJOR_MIN" ] ||
    echo "install.sh: apt has QEMU $(candidate_major qemu-system-x86 "$release") only: moves and vCPU unplug may fail under TCG" >&2

install_packages "$release" qemu-system-x86 qemu-utils libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients libvirt-dev
install_packages "" busybox-static gcc libc6-dev pkg-config lz4 zstd kmod iproute2 binutils

# libvirt's packages for servers make this user; the daemon's own package alone does not.
getent group libvirt-qemu >/dev/null || addgroup --quiet --system libvirt-qemu
getent passwd libvirt-qemu >/dev/null ||
    adduser --quiet --system --ingroup libvirt-qemu --no-create-home --home /var/lib/libvirt libvirt-qemu
mkdir -p /var/log/libvirt

# The guest's kernel is unpacked, not installed: this machine does not boot from it.
kernel=linux-image-cloud-amd64
[ "$ID" = ubuntu ] && kernel=linux-image-virtual
image=$(apt-cache depends --important "$kernel" | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
[ -n "$image" ] || no "apt has no package $kernel; add a source that has it"
unpacked="$GUEST_CACHE/kernel"
if [ "$(cat "$unpacked/package" 2>/dev/null)" != "$image" ]; then
    modules=$(apt-cache depends --important "$image" | sed -n 's/.*Depends: \(linux-modules-[^ ]*\)$/\1/p')
    fresh=$(mktemp -d)
    (cd "$fresh" && apt-get download -qq -o APT::Sandbox::User=root "$image" ${modules:+"$modules"})
    rm -rf "$unpacked"
    mkdir -p "$unpacked"
    for package in "$fresh"/*.deb; do dpkg -x "$package" "$unpacked"; done
    rm -rf "$fresh"
    echo "$image" >"$unpacked/package"
fi

# PyPI has the binding as source only: it is compiled against the libvirt installed above.
if [ "${1:-}" != --no-venv ]; then
    [ -x "$TREE/.venv/bin/uv" ] || no "there is no .venv in $TREE; run 'make setup' first, or this with --no-venv"
    "$TREE/.venv/bin/uv" pip install --quiet --python "$TREE/.venv/bin/python" --no-build-isolation \
        --require-hashes -r "$TREE/requirements/libvirt.txt"
fi
echo "real VMs: $(qemu-system-x86_64 --version | head -n 1), libvirt $(virsh --version), guest kernel $image"
