#!/usr/bin/env python3
"""Makes two OCI layouts by umoci: `many-layers`, an image of 127, and `single-layer`, one of the first of them.

    make.py DIRECTORY

The first layer has a shell and GNU tar with its libraries, taken from this machine. Those above change each
other's files in all the ways that layers can.
"""

import io
import re
import subprocess
import sys
import tarfile

LAYERS = 127

# A capability set as the kernel stores it (linux/capability.h): revision 2, net_raw permitted, effective.
CAPABILITY = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

# Names, owners, modes and times that do not fit into the oldest header.
LONG = "data/long/" + "n" * 120
WIDE = "data/wide/größe-ñ"


class Layer:
    def __init__(self, path):
        self.tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)

    def add(self, name, kind=tarfile.REGTYPE, content=b"", **fields):
        entry = tarfile.TarInfo(name)
        entry.type = kind
        entry.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
        entry.mtime = 1_600_000_000
        entry.size = len(content)
        attributes = fields.pop("xattrs", {})
        entry.pax_headers = {"SCHILY.xattr." + key: value for key, value in attributes.items()}
        for field, value in fields.items():
            setattr(entry, field, value)
        if isinstance(entry.mtime, str):
            entry.pax_headers["mtime"] = entry.mtime
            entry.mtime = int(entry.mtime.split(".")[0])
        self.tar.addfile(entry, io.BytesIO(content))

    def directory(self, name, **fields):
        self.add(name, tarfile.DIRTYPE, **fields)

    def link(self, name, target, kind=tarfile.SYMTYPE):
        self.add(name, kind, linkname=target)


def libraries(program):
    text = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", text)


def base(layer):
    files = ["/bin/tar"] + libraries("/bin/tar")
    made = set()
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "data"] + [file[1:] for file in files]:
        parts = name.split("/")
        count = len(parts) if name.find("/") < 0 else len(parts) - 1
        for end in range(1, count + 1):
            directory = "/".join(parts[:end])
            if directory not in made:
                made.add(directory)
                layer.directory(directory)
    for file in files:
        with open(file, "rb") as source:
            layer.add(file[1:], content=source.read(), mode=0o755)
    with open("/bin/busybox", "rb") as source:
        layer.add("bin/busybox", content=source.read(), mode=0o755)
    for name in ["sh", "ls", "cat", "wc"]:
        layer.link("bin/" + name, "busybox")
    # The files that are bound into every container: their places are there.
    for name in ["hosts", "hostname", "resolv.conf"]:
        layer.add("etc/" + name)


def second(layer):
    for name in ["gone", "opaque", "opaque/deep", "turn", "link", "owned", "times", "long", "wide", "back"]:
        layer.directory("data/" + name)
    layer.add("data/gone/file", content=b"gone")
    layer.add("data/gone/kept", content=b"kept")
    layer.add("data/back/file", content=b"first")
    layer.add("data/opaque/a", content=b"a")
    layer.add("data/opaque/deep/b", content=b"b")
    layer.add("data/turn/directory-later", content=b"a file")
    layer.directory("data/turn/file-later", mode=0o711)
    layer.add("data/turn/file-later/inside", content=b"inside")
    layer.add("data/turn/link-later", content=b"a file")
    layer.add("data/link/a", content=b"linked", mode=0o640)
    layer.link("data/link/b", "data/link/a", tarfile.LNKTYPE)
    layer.link("data/link/c", "data/link/a", tarfile.LNKTYPE)
    layer.add("data/owned/setuid", content=b"#!", mode=0o4755)
    layer.add("data/owned/setgid", content=b"#!", mode=0o2711, gid=50)
    layer.directory("data/owned/sticky", mode=0o1777)
    layer.add("data/owned/capable", content=b"#!", xattrs={"security.capability": CAPABILITY})
    layer.add("data/owned/marked", xattrs={"user.first": "one", "user.second": "x" * 300})
    layer.directory("data/owned/directory", xattrs={"user.kind": "directory"}, uid=7, gid=8)
    layer.add("data/owned/far", uid=70_000, gid=4_000_000_000)
    layer.add("data/times/nanoseconds", mtime="1600000000.123456789")
    layer.add("data/times/late", mtime=8_000_000_000)
    layer.add("data/times/epoch", mtime=0)
    layer.add("data/fifo", tarfile.FIFOTYPE, mode=0o600)
    layer.add("data/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    layer.add(LONG, content=b"long")
    layer.link("data/long/link", "t" * 140)
    layer.add(WIDE, content=b"wide")


def third(layer):
    layer.add("data/gone/.wh.file")
    layer.add("data/back/.wh.file")
    layer.add("data/opaque/.wh..wh..opq")
    layer.add("data/opaque/c", content=b"c")
    layer.directory("data/turn/directory-later", mode=0o700)
    layer.add("data/turn/directory-later/inside", content=b"inside")
    layer.add("data/turn/file-later", content=b"now a file")
    layer.link("data/turn/link-later", "file-later")
    layer.add("data/link/a", content=b"alone")
    layer.add("data/owned/marked", xattrs={"user.third": "three"})
    layer.directory("data/owned/sticky", mode=0o750, uid=9)


def fourth(layer):
    layer.add("data/back/file", content=b"second", mode=0o600)
    layer.add("data/turn/directory-later", content=b"a file again")
    layer.directory("data/turn/file-later", mode=0o755)
    layer.add("data/turn/file-later/other", content=b"other")
    layer.add("data/turn/.wh.link-later")
    layer.directory("data/opaque/deep")
    layer.add("data/link/d", content=b"pair")
    layer.link("data/link/e", "data/link/d", tarfile.LNKTYPE)
    # In directories that this layer does not describe: their owners, modes and attributes stay.
    layer.add("data/owned/directory/below", content=b"below")
    layer.add("data/owned/sticky/below", content=b"below")


def main():
    directory = sys.argv[1]

    def umoci(*arguments):
        subprocess.run(["umoci", *arguments], check=True, capture_output=True)

    images = {name: f"{directory}/{name}" for name in ["single-layer", "many-layers"]}
    for layout in images.values():
        umoci("init", "--layout", layout)
        umoci("new", "--image", layout)
        umoci("config", "--image", layout, "--config.cmd", "/bin/sh")
    named = {1: base, 2: second, 3: third, 4: fourth}
    for number in range(1, LAYERS + 1):
        path = f"{directory}/layer.tar"
        layer = Layer(path)
        named.get(number, lambda layer: None)(layer)
        if number > 1:
            layer.add("data/order", content=b"%d" % number)
            layer.add(f"data/of-{number}", content=b"x" * number)
            layer.add(f"data/.wh.of-{number - 3}")
        layer.tar.close()
        for name, layout in images.items():
            if number == 1 or name == "many-layers":
                umoci("raw", "add-layer", "--image", layout, path)


main()
