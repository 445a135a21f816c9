#!/bin/sh
# Turns a Debian root file system into that of a lab's node. Run by mmdebstrap, outside the new
# root, which is $1.
set -eu
root=$1

# What must differ between nodes is given to each when it is made.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/hostname "$root"/etc/resolv.conf "$root"/var/lib/dbus/machine-id
: >"$root"/etc/machine-id
: >"$root"/etc/hostname
: >"$root"/etc/resolv.conf

# What apt was told about the building machine does not hold for a node.
rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap

# '*' is no password's hash: nobody logs in with one, and the account is not locked for keys.
chroot "$root" usermod --password '*' root
for user in ops admin; do
	chroot "$root" useradd --create-home --shell /bin/bash --password '*' "$user"
done

# sudo ignores, and complains about, files that others may write.
chown -R 0:0 "$root"/etc/sudoers.d "$root"/etc/ssh/sshd_config.d "$root"/etc/systemd/system/lab-node.service
chmod 0440 "$root"/etc/sudoers.d/lab
chown 0:0 "$root"/usr/local/sbin/lab-init
chmod 0755 "$root"/usr/local/sbin/lab-init
chroot "$root" visudo --check --quiet

chroot "$root" systemctl --quiet enable lab-node.service ssh.service
chroot "$root" systemctl --quiet set-default multi-user.target
# A container has no consoles or devices of its own, and nothing should happen by itself while a
# test looks.
chroot "$root" systemctl --quiet mask \
	getty.target console-getty.service getty-static.service \
	systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service \
	systemd-firstboot.service systemd-modules-load.service \
	sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
