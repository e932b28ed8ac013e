#!/bin/bash
# Builds the guest kernel.
#
#   build.sh WORK [TARBALL]
#
# WORK     a directory, best an empty one beside the cache; the build needs about 1.5 GiB there
# TARBALL  the kernel's source as Debian packs it; must be one of the `known` in the file `source`.
#          Without it: the installed package, else the package is downloaded with apt-get (needs no root).
#
# Leaves in WORK: vmlinux (stripped), config, and source (`VERSION SHA256` of what was built). On failure
# build.log stays there too. Everything else is removed, also when interrupted.
#
# Says on standard output, a line each:
#   step TEXT        what begins
#   progress M/N     files compiled, of about so many
#   notice TEXT      what a person should know
#   error TEXT       why it ends; the exit code is 1
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "error $*"
    exit 1
}

[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: build.sh WORK [TARBALL]"
mkdir -p "$1" || fail "cannot create $1"
work=$(cd "$1" && pwd)
given=${2:-}
tree=$work/tree
scratch=$work/scratch
log=$work/build.log

# make runs in a process group of its own, so that all of it can be ended at once.
set -m
job=
cleanup() {
    [ -z "$job" ] || kill -TERM -- "-$job" 2> /dev/null || true
    wait
    rm -rf "$tree" "$scratch"
}
trap cleanup EXIT
# PIPE: whoever read our output is gone.
trap 'exit 130' INT TERM HUP PIPE
cleanup
mkdir "$tree" "$scratch"
: > "$log"

# The values of a key in the file `source`, a line each.
pinned() {
    awk -v key="$1" '$1 == key { $1 = ""; sub(/^ /, ""); print }' "$here/source"
}

# All tools at once: being told one after the other is a nuisance.
check_tools() {
    local packages=() pair
    for pair in make:make gcc:gcc ld:binutils flex:flex bison:bison bc:bc xz:xz-utils patch:patch; do
        command -v "${pair%%:*}" > /dev/null || packages+=("${pair#*:}")
    done
    if command -v gcc > /dev/null; then
        gcc -E -x c - <<< '#include <stdio.h>' > /dev/null 2>&1 || packages+=(libc6-dev)
        # The kernel's objtool reads and writes ELF with it.
        gcc -E -x c - <<< '#include <gelf.h>' > /dev/null 2>&1 || packages+=(libelf-dev)
    else
        packages+=(libc6-dev libelf-dev)
    fi
    [ ${#packages[@]} -eq 0 ] || fail "building the guest kernel needs tools that are not installed here;" \
        "install them with: sudo apt-get install --no-install-recommends ${packages[*]}"
}

# The tree, the objects and vmlinux with its symbols.
NEEDED_MIB=1500

check_space() {
    local free
    free=$(df --output=avail -BM "$work" | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge "$NEEDED_MIB" ] \
        || fail "building the guest kernel needs $NEEDED_MIB MiB in $work for a while, and $free MiB are free there"
}

# Sets tarball, version and sha256, or fails.
find_source() {
    local package file origin
    package=$(pinned package)
    file=$(pinned tarball)
    if [ -n "$given" ]; then
        [ -f "$given" ] || fail "there is no kernel source at $given"
        tarball=$given
        version=unknown
        origin="$given"
    elif [ -f "/$file" ]; then
        tarball=/$file
        version=$(dpkg-query -W -f '${Version}' "$package" 2> /dev/null) || version=unknown
        origin="/$file"
    else
        command -v apt-get > /dev/null \
            || fail "there is no /$file here and no apt-get to fetch Debian's package $package with"
        echo "step downloading Debian's package $package"
        (cd "$scratch" && apt-get -q download "$package") >> "$log" 2>&1 \
            || fail "apt-get could not download $package:" \
                "$(grep -a '^[EW]:' "$log" | tail -n 1 || true);" \
                "'sudo apt-get update && sudo apt-get install $package' may help"
        local debs=("$scratch"/*.deb)
        version=$(dpkg-deb -f "${debs[0]}" Version)
        dpkg-deb -x "${debs[0]}" "$scratch/package" >> "$log" 2>&1 || fail "cannot unpack ${debs[0]##*/}"
        rm "${debs[0]}"
        tarball=$scratch/package/$file
        origin="package $package $version"
        [ -f "$tarball" ] || fail "Debian's package $package $version holds no $file"
    fi

    echo "step checking the kernel's source"
    sha256=$(sha256sum "$tarball" | cut -d ' ' -f 1)
    local known
    known=$(pinned known | awk -v sum="$sha256" '$2 == sum { print $1 }' | head -n 1)
    if [ -n "$known" ]; then
        version=$known
        return
    fi
    [ -z "$given" ] || fail "$given has SHA-256 $sha256, which is none of those that were checked:" \
        "$(pinned known | tr '\n' ' ')"
    # A newer package of the same series: its signature vouches for it in place of our list.
    case $version in
        "$(pinned series)"*) ;;
        *) fail "$origin (version $version) has SHA-256 $sha256, which is none of those that were checked," \
            "and no Debian package of series $(pinned series)x owns it" ;;
    esac
    if [ "$tarball" = "/$file" ] && ! dpkg --verify "$package" >> "$log" 2>&1; then
        fail "/$file is not as Debian's package $package $version delivered it (SHA-256 $sha256);" \
            "reinstall it with: sudo apt-get install --reinstall $package"
    fi
    echo "notice building from Debian's $package $version, newer than the versions checked with this" \
        "program; trusted as its package manager delivered it"
}

# Other architectures and drivers that no configuration of ours can reach are left out, except for their
# Kconfig and Makefiles, which the configuration reads.
unpack() {
    echo "step unpacking the kernel's source $version"
    xz -dcT0 "$tarball" | tar -x -C "$tree" --strip-components=1 --no-same-owner --wildcards \
        --exclude='*/Documentation/*/*' \
        --exclude='*/arch/'{alpha,arc,arm,arm64,csky,hexagon,loongarch,m68k,microblaze,mips}'/*.[chS]' \
        --exclude='*/arch/'{nios2,openrisc,parisc,powerpc,riscv,s390,sh,sparc}'/*.[chS]' \
        --exclude='*/arch/[!x]*.dts*' --exclude='*/arch/[!x]*_defconfig' \
        --exclude='*/arch/xtensa/*' \
        --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/staging/*.[ch]' \
        --exclude='*/drivers/net/*/*.[ch]' --exclude='*/drivers/infiniband/*.[ch]' \
        --exclude='*/drivers/scsi/*.[ch]' --exclude='*/drivers/usb/*.[ch]' --exclude='*/drivers/iio/*.[ch]' \
        --exclude='*/drivers/accel/*.[ch]' --exclude='*/drivers/clk/*.[ch]' \
        --exclude='*/sound/*.[ch]' --exclude='*/samples/*.[ch]' \
        --exclude='*/tools/testing/*' --exclude='*/tools/perf/*' \
        >> "$log" 2>&1 || fail "cannot unpack $tarball: $(tail -n 1 "$log")"
    [ -f "$tree/Makefile" ] && [ -f "$tree/arch/x86/Kconfig" ] || fail "$tarball is no kernel source"
}

# Made for the versions that were checked; where one does not apply, the kernel does as well without it, unless the
# patch's first line says that it is required.
patch_source() {
    local file
    for file in "$here"/patches/*.patch; do
        [ -f "$file" ] || continue
        if patch -d "$tree" -p1 --forward --dry-run < "$file" >> "$log" 2>&1; then
            patch -d "$tree" -p1 --forward < "$file" >> "$log" 2>&1 || fail "cannot apply ${file##*/}"
        elif head -n 1 "$file" | grep -q '^Required: '; then
            fail "${file##*/} does not fit the source $version, and guests are not safe without it"
        else
            echo "notice ${file##*/} does not fit the source $version and is left out: guests will boot slower"
        fi
    done
}

configure() {
    echo "step configuring"
    local merged=$scratch/merged.config option line lost=()
    cat "$here"/fragments/*.config > "$merged"
    option=$(grep -v '^#' "$merged" | grep . | cut -d = -f 1 | sort | uniq -d | tr '\n' ' ')
    [ -z "$option" ] || fail "asked for twice in the fragments: $option"
    make -C "$tree" ARCH=x86_64 KCONFIG_ALLCONFIG="$merged" allnoconfig >> "$log" 2>&1 \
        || fail "the kernel's configuration failed: $(tail -n 1 "$log")"
    while IFS= read -r line; do
        grep -qxF "$line" "$tree/.config" || lost+=("$line")
    done < <(grep -v '^#' "$merged" | grep .)
    [ ${#lost[@]} -eq 0 ] || fail "this kernel source does not grant: ${lost[*]}"
}

# One line for each file that make compiles, at most ten progress lines a second.
show_progress() {
    local total done=0 line
    total=$(pinned steps)
    while IFS= read -r line; do
        printf '%s\n' "$line" >> "$log"
        case $line in
            "  CC "* | "  AS "* | "  HOSTCC "* | "  LD "* | "  AR "*) ;;
            *) continue ;;
        esac
        done=$((done + 1))
        [ "$done" -le "$total" ] || total=$done
        [ $((done % 5)) -ne 0 ] || echo "progress $done/$total"
    done
    echo "progress $done/$done"
}

compile() {
    echo "step compiling"
    # Fixed, so that the same source gives the same bytes.
    export KBUILD_BUILD_USER=coracle KBUILD_BUILD_HOST=coracle KBUILD_BUILD_VERSION=1
    export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC'
    # From a user's environment these would change what is built.
    unset KCFLAGS KAFLAGS CFLAGS LDFLAGS MAKEFLAGS CROSS_COMPILE LOCALVERSION KBUILD_OUTPUT
    { make -C "$tree" ARCH=x86_64 -j"${CORACLE_KERNEL_JOBS:-$(nproc)}" vmlinux < /dev/null 2>&1 | show_progress; } &
    job=$!
    # Unlike a command in the foreground, `wait` lets a signal through at once.
    wait "$job" || fail "the kernel does not compile: $(grep -aE 'error|Error' "$log" | head -n 1)"
    job=
    strip --strip-all -o "$scratch/vmlinux" "$tree/vmlinux" >> "$log" 2>&1 || fail "cannot strip vmlinux"
}

check_tools
check_space
find_source
unpack
patch_source
configure
compile
cp "$tree/.config" "$work/config"
echo "$version $sha256" > "$work/source"
# Last and at once: who sees vmlinux sees all of it.
mv "$scratch/vmlinux" "$work/vmlinux"
rm "$log"
echo "step done"
