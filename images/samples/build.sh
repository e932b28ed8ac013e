#!/bin/bash
# Makes a real image from Debian packages, without a registry.
#
#   build.sh NAME OUT.tar      NAME is a file in recipes/
#
# Needs: umoci skopeo jq busybox-static mmdebstrap; as an ordinary user also uidmap.
# The packages come from the mirrors that apt is configured with on this machine.
#
# SOURCE_DATE_EPOCH      newest time in the image (default: the last midnight, UTC)
# CORACLE_SAMPLES_CACHE  where base images are kept between runs
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
say() { printf '%s: %s\n' "${name:-build.sh}" "$*" >&2; }
die() { say "$*"; exit 2; }

[ $# = 2 ] || die "usage: build.sh NAME OUT.tar, NAME one of: $(cd "$here/recipes" && echo *)"
name=$1 out=$2
[[ $name =~ ^[a-z]+$ && -f $here/recipes/$name ]] ||
    die "no recipe of this name; there are: $(cd "$here/recipes" && echo *)"
for tool in umoci skopeo jq mmdebstrap; do
    command -v $tool >/dev/null || die "$tool is missing: apt-get install umoci skopeo jq mmdebstrap"
done
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date -u -d 'today 00:00' +%s)}
export CORACLE_SAMPLES_CACHE=${CORACLE_SAMPLES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/coracle/samples}
if [ "$(id -u)" != 0 ]; then
    # Files of many owners are made: become root in a user namespace.
    exec mmdebstrap --unshare-helper "$0" "$@"
fi
mkdir -p "$CORACLE_SAMPLES_CACHE"

# --- what a recipe may say -------------------------------------------------------------------
from=            # name of another recipe, whose layers come first
packages=        # Debian packages to install on top of it
format=oci       # oci: image layout in a tar; docker: as `docker save` writes it
config=()        # further arguments for `umoci config`
fill() { :; }    # makes or changes the files below $1
# shellcheck source=/dev/null
. "$here/recipes/$name"

work=$(mktemp -d "$CORACLE_SAMPLES_CACHE/work.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 755 "$work"
layout=$work/layout root=$work/bundle/rootfs

# The configured mirrors of a suite, as lines of a sources.list.
mirrors() {
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' |
        grep -E " $1(-updates|-security)? " | sort -u
}

# apt-get of this machine, working on the files below $root.
apt_in_root() {
    {
        apt-config dump | grep '^Acquire::' || true
        cat <<CONF
Dir "$root/";
DPkg::Chroot-Directory "$root";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
APT::Install-Recommends "false";
CONF
    } >"$work/apt.conf"
    unshare --mount sh -ec '
        root=$1; shift
        mount --rbind /dev "$root/dev"
        mount --rbind /proc "$root/proc"
        APT_CONFIG=$0 DEBIAN_FRONTEND=noninteractive LC_ALL=C exec apt-get -qy "$@"
    ' "$work/apt.conf" "$root" "$@" >&2
}

install_packages() {
    say "installing $packages"
    mirrors bookworm >"$root/etc/apt/sources.list.d/build.list"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    apt_in_root update
    # shellcheck disable=SC2086
    apt_in_root install $packages
    rm -f "$root/usr/sbin/policy-rc.d" "$root/etc/apt/sources.list.d/build.list"
}

# Takes away what differs from build to build and is of no use in an image.
tidy() {
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*.log \
        "$root"/var/log/apt "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old \
        "$root"/var/cache/ldconfig/aux-cache "$root"/tmp/* "$root"/etc/machine-id \
        "$root"/etc/hostname "$root"/etc/resolv.conf
    find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# --- layers ----------------------------------------------------------------------------------
if [ -n "$from" ]; then
    base=$CORACLE_SAMPLES_CACHE/$from.$SOURCE_DATE_EPOCH
    if [ ! -d "$base" ]; then
        say "needs $from first"
        "$0" "$from" "$work/base.tar"
    fi
    cp -r "$base" "$layout"
else
    umoci init --layout "$layout"
    umoci new --image "$layout:latest"
fi
umoci unpack --image "$layout:latest" "$work/bundle"
[ -z "$packages" ] || install_packages
fill "$root"
[ ! -d "$root/var" ] || tidy
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
say "packing the layer"
umoci repack --image "$layout:latest" --history.created "$created" \
    --history.created_by "images/samples/build.sh $name" "$work/bundle"
umoci config --image "$layout:latest" --no-history --created "$created" \
    --architecture amd64 --os linux "${config[@]}"
umoci gc --layout "$layout" >/dev/null

# --- one file --------------------------------------------------------------------------------
if [ "$format" = oci ]; then
    jq -c --arg name "docker.io/library/$name:latest" \
        '.manifests[0].annotations += {"io.containerd.image.name": $name}' \
        "$layout/index.json" >"$work/index.json"
    mv "$work/index.json" "$layout/index.json"
    tar -C "$layout" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
        -cf "$work/out.tar" oci-layout index.json blobs
else
    skopeo copy --quiet --insecure-policy "oci:$layout:latest" \
        "docker-archive:$work/out.tar:docker.io/library/$name:latest"
fi
kept=$CORACLE_SAMPLES_CACHE/$name.$SOURCE_DATE_EPOCH
if [ ! -d "$kept" ]; then
    mv "$layout" "$kept" 2>/dev/null || true
fi
mv "$work/out.tar" "$out"
say "$out: $(du -h "$out" | cut -f1), $(jq -r '.manifests | length' "$kept/index.json") image"
