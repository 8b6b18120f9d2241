"""A kernel as its owner has it: an image and a folder of modules."""

from __future__ import annotations

from pathlib import Path

RELEASE = "5.15.0-91-generic"
_VERSION_AT = 0x300


def bzimage(release: str = RELEASE, more: bytes = b"") -> bytes:
    """As much of one as tells its release (Linux, Documentation/arch/x86/boot.rst)."""
    image = bytearray(_VERSION_AT)
    image[0x202:0x206] = b"HdrS"
    image[0x20E:0x210] = (_VERSION_AT - 0x200).to_bytes(2, "little")
    return bytes(image) + f"{release} (root@builder) #1 SMP\0".encode() + more


def given(folder: Path) -> str:
    """Put one there, and name it as VMLINUZ:MODULES."""
    modules = folder / "lib" / "modules" / RELEASE
    (modules / "kernel").mkdir(parents=True)
    (modules / "build").symlink_to("/usr/src/nowhere")
    for name in ("modules.builtin", "modules.order"):
        (modules / name).write_text("")
    image = folder / "vmlinuz"
    image.write_bytes(bzimage())
    return f"{image}:{modules}"
