#!/bin/sh
# Makes of a folder with Debian in it the root of a box: customize.sh TREE CHECKOUT LIBRARIES. Run by mmdebstrap.
#
# Decides: what a machine is before Vagrant comes: Penstock's packages and libraries, put there by the very script that
# Vagrant runs; a user that Vagrant can be; a small initramfs.
# Rules: LIBRARIES has a wheel of Penstock and those of all that it needs; of them Penstock itself does not stay.
# Must never: write outside TREE.
set -eu

tree=$1 checkout=$2 libraries=$3

mkdir -p "$tree/checkout/vm-tests" "$tree/checkout/build"
cp -r "$checkout/tools" "$tree/checkout/"
cp -r "$checkout/vm-tests/guest" "$tree/checkout/vm-tests/"
cp -r "$libraries" "$tree/checkout/build/wheel"
# tools/deps.sh makes a mount namespace, and wants a root for it that is a mount.
unshare --mount sh -c 'mount --rbind "$0" "$0" && exec chroot "$0" \
	env PIP_NO_INDEX=1 PIP_FIND_LINKS=/checkout/build/wheel sh /checkout/vm-tests/guest/provision.sh penstock' "$tree"
chroot "$tree" /opt/penstock/bin/pip uninstall --quiet --yes penstock
rm -rf "$tree/checkout" "$tree/root/.cache"

chroot "$tree" useradd --create-home --shell /bin/bash vagrant
echo "vagrant ALL=(ALL) NOPASSWD: ALL" >"$tree/etc/sudoers.d/vagrant"
# The key that every box lets in, as Debian's Vagrant has it.
install -D -m 600 /usr/share/rubygems-integration/all/gems/vagrant-*/keys/vagrant.pub \
	"$tree/home/vagrant/.ssh/authorized_keys"
chroot "$tree" chown -R vagrant: /home/vagrant/.ssh
echo "UseDNS no" >>"$tree/etc/ssh/sshd_config"

printf 'auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\n' >"$tree/etc/network/interfaces"
echo debian >"$tree/etc/hostname"
echo "127.0.0.1 localhost debian" >"$tree/etc/hosts"
echo "LABEL=penstock-root / ext4 noatime 0 1" >"$tree/etc/fstab"
: >"$tree/etc/machine-id"

# An emulated processor unpacks it.
echo MODULES=list >"$tree/etc/initramfs-tools/conf.d/penstock"
printf '%s\n' virtio_pci virtio_blk virtio_net ext4 >"$tree/etc/initramfs-tools/modules"
chroot "$tree" update-initramfs -u
# What would begin to work soon after each boot.
systemctl --quiet --root="$tree" mask \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer

mkdir -p "$tree/boot/grub"
cat >"$tree/boot/grub/grub.cfg" <<'EOF'
set timeout=0
search --label penstock-root --set=root
linux /vmlinuz root=LABEL=penstock-root ro net.ifnames=0 biosdevname=0 console=ttyS0 quiet mitigations=off
initrd /initrd.img
boot
EOF
