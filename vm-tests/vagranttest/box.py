"""The box: this machine's Debian on a disk that boots, made ready for Penstock by the script that Vagrant runs as well.

Machines of the test reach no network beyond their own. So guest/provision.sh runs while the box is made, where there is
one, and finds everything there when Vagrant runs it again; only the wheel is put in anew, for the box outlives it.

Rules:
  - Built once for a recipe (release, packages, scripts, the project's requirements, this file) and kept.
  - The image is written without mounting anything and without a loop device: mke2fs fills a file system from a folder.
  - GRUB is put there by hand, for grub-bios-setup wants a disk that the system has.
  - The box is for software emulation, and says so in a Vagrantfile of its own; the project's knows nothing of it.
Must never: change this machine's packages or sources.
"""

import json
import shutil
import sys
import tarfile
import tomllib
from pathlib import Path

from vmtest import host, rootfs
from vmtest.cache import Cache, recipe

SYSTEM = (
    "systemd-sysv",
    "dbus",
    "udev",
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "ifupdown",
    "isc-dhcp-client",
    "openssh-server",
    "sudo",
    "rsync",
    "ca-certificates",
)
"""What makes a machine of a Debian that Vagrant can work with."""
DISK_GIB = 4
FIRST_SECTOR = 2048
LABEL = "penstock-root"
"""Of the file system; customize.sh has it too."""
CUSTOMIZE = Path(__file__).with_name("customize.sh")
GRUB = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "search", "search_label", "configfile", "normal", "linux", "serial")
VAGRANTFILE = """Vagrant.configure("2") do |config|
  config.vm.boot_timeout = 600
  config.ssh.insert_key = false
  config.vm.provider :libvirt do |machine|
    machine.uri = "qemu:///system"
    machine.driver = "qemu"
    machine.machine_type = "q35"
    machine.cpu_mode = "custom"
    machine.cpu_model = "Nehalem"
    machine.graphics_type = "none"
    machine.video_type = "none"
  end
end
"""


def build(root: Path, wheel: Path, cache: Cache) -> Path:
    """The box as a file, from the cache where it is there already.

    `root` is the checkout, `wheel` one of it, of which the libraries that it needs are learned. Raises VmError: not a
    Debian, no network, no such package.
    """
    codename = rootfs.debian_codename()
    scripts = (root / "tools" / "deps.sh", rootfs.PACKAGES, rootfs.PACKAGES.with_name("provision.sh"), CUSTOMIZE)
    libraries_named = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    ingredients = (*(x.read_text() for x in scripts), *libraries_named, Path(__file__).read_text())

    def make(folder: Path) -> None:
        tree, libraries = folder / "tree", folder / "libraries"
        host.run([sys.executable, "-m", "pip", "download", "--quiet", "--dest", libraries, wheel])
        _bootstrap(folder, tree, codename, root, libraries)
        _write_image(folder, tree)
        for leftover in (tree, libraries):
            shutil.rmtree(leftover)

    return cache.entry(f"box-{codename}-{recipe(*ingredients)}", make) / "penstock.box"


def _bootstrap(folder: Path, tree: Path, codename: str, root: Path, libraries: Path) -> None:
    """Debian, Penstock's packages and libraries, and a user that Vagrant can be, in a folder."""
    (folder / "sources.list").write_text(rootfs.apt_sources(codename))
    host.run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=apt",
            f"--include={','.join(SYSTEM)}",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            f'--customize-hook=sh {CUSTOMIZE} "$1" {root} {libraries}',
            codename,
            tree,
            folder / "sources.list",
        ],
        seconds=1800,
    )


def _write_image(folder: Path, tree: Path) -> None:
    """The disk, and the box around it."""
    disk, core = folder / "disk", folder / "core.img"
    with disk.open("wb") as opened:
        opened.truncate(DISK_GIB << 30)
    host.run(["parted", "--script", disk, "mklabel", "msdos", "mkpart", "primary", f"{FIRST_SECTOR}s", "100%"])
    blocks = f"{(DISK_GIB << 20) - FIRST_SECTOR // 2}k"
    offset = f"offset={FIRST_SECTOR * 512}"
    host.run(["mke2fs", "-q", "-t", "ext4", "-L", LABEL, "-E", offset, "-d", tree, disk, blocks])
    prefix = "(hd0,msdos1)/boot/grub"
    host.run(["grub-mkimage", "-O", "i386-pc", "-o", core, "-p", prefix, *GRUB_MODULES])
    with disk.open("r+b") as opened:
        opened.write((GRUB / "boot.img").read_bytes()[:440])
        opened.seek(512)
        opened.write(core.read_bytes())
    host.run(["qemu-img", "convert", "-O", "qcow2", disk, folder / "box.img"])
    (folder / "metadata.json").write_text(
        json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_GIB})
    )
    (folder / "Vagrantfile").write_text(VAGRANTFILE)
    with tarfile.open(folder / "penstock.box", "w") as box:
        for name in ("metadata.json", "Vagrantfile", "box.img"):
            box.add(folder / name, name)
    for leftover in (disk, core, folder / "box.img"):
        leftover.unlink()
