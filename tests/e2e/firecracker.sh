#!/bin/sh
# Stands in for Firecracker: takes the arguments and the description of a machine that it would take, refuses
# what it would refuse, and boots the machine by coracle-vmm.
refuse() { echo "stand-in: $*" >&2; exit 153; }
[ "$1" = --version ] && { echo "Firecracker v0.0.0-stand-in"; echo; exit 0; }
while [ $# -gt 0 ]; do
    case $1 in
        --id) case $2 in *[!A-Za-z0-9-]*) refuse "identifier $2" ;; esac; shift 2 ;;
        --log-path) [ -f "$2" ] || refuse "no log $2"; log=$2; shift 2 ;;
        --level) [ "$2" = Error ] || refuse "level $2"; shift 2 ;;
        --no-api) alone=yes; shift ;;
        --config-file) file=$2; shift 2 ;;
        *) refuse "argument $1" ;;
    esac
done
[ -n "$alone" ] || refuse "it would serve an API"
[ -n "$log" ] || refuse "it would log to standard output"
text() { sed -n "s/^ *\"$1\": \"\(.*\)\",\{0,1\}\$/\1/p" "$file"; }
number() { sed -n "s/^ *\"$1\": \([0-9]*\),\{0,1\}\$/\1/p" "$file"; }
count() { grep -c "\"$1\": $2" "$file"; }
drives=$(text path_on_host | wc -l)
[ "$(count is_read_only true)" = "$drives" ] || refuse "layers could be written"
# One that is the root is none for a machine with an initial file system.
[ "$(count is_root_device false)" = "$drives" ] || refuse "a drive is the root"
set -- --kernel "$(text kernel_image_path)" --initramfs "$(text initrd_path)" --cmdline "$(text boot_args)" \
    --memory "$(number mem_size_mib)" --cpus "$(number vcpu_count)" --console
for drive in $(text path_on_host); do set -- "$@" --disk "$drive:ro"; done
exec coracle-vmm "$@"
