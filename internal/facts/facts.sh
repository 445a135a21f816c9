# Looks at a host and prints what it saw, one record a line: a key, a blank, the
# value. The first line is the version of the format, the last one counts the
# lines before it. What could not be seen is an "unknown KEY REASON" record.
#
# Everything happens in one subshell, so that nothing is left behind, and away
# from stdin, which may be the rest of a stream. What comes in bulk is read by a
# single awk: the shell's own read takes a system call per byte. Nothing here may
# write, load a module or talk to a daemon (iptables-save and nft load modules,
# systemctl is-active wakes the service manager).
(
set +eufx
LC_ALL=C
export LC_ALL
IFS=' 	
'
f_n=0
f_put() { # KEY [VALUE...]
	f_n=$((f_n + 1))
	printf '%s\n' "$*"
}
f_first() { # KEY FILE: the first line of a file
	f_v=
	if [ -r "$2" ]; then
		IFS= read -r f_v 2>/dev/null <"$2"
	fi
	if [ -n "$f_v" ]; then
		f_put "$1" "$f_v"
	else
		f_put unknown "$1" "$2 is missing, empty or unreadable"
	fi
}
f_has() { command -v "$1" >/dev/null 2>&1; }

f_put facts 1
f_put time "$(date '+%s %N')"
f_first hostname /proc/sys/kernel/hostname
f_first machine-id /etc/machine-id
f_first product-uuid /sys/class/dmi/id/product_uuid
f_first kernel /proc/sys/kernel/osrelease
f_release=$f_v
f_put machine "$(uname -m)"

if [ ! -d /run/systemd/system ]; then
	f_put systemd 0
elif f_v=$(systemctl --version 2>/dev/null) && [ -n "$f_v" ]; then
	set -- $f_v
	f_put systemd "$2"
else
	f_put unknown systemd "systemctl gave no version"
fi

if f_v=$(systemd-detect-virt 2>/dev/null) || [ -n "$f_v" ]; then
	f_put virt "$f_v"
elif [ -r /run/systemd/container ]; then
	f_first virt /run/systemd/container
elif [ -e /run/.containerenv ]; then
	f_put virt podman
elif [ -e /.dockerenv ]; then
	f_put virt docker
else
	f_put unknown virt "systemd-detect-virt is missing"
fi

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	f_put cgroup 2
elif [ -d /sys/fs/cgroup/memory ] || [ -d /sys/fs/cgroup/cpu ] || [ -d /sys/fs/cgroup/systemd ]; then
	f_put cgroup 1
else
	f_put unknown cgroup "no hierarchy is mounted on /sys/fs/cgroup"
fi

if [ ! -d /sys/fs/selinux ]; then
	f_put selinux disabled
else
	f_first selinux /sys/fs/selinux/enforce
fi

# Where the kubelet, the engine and our own files will live. The file system is
# that of the deepest folder that exists, links resolved.
f_dirs=
for f_p in / /etc /usr/local /opt /tmp /var/lib /var/lib/containerd /var/lib/kubelet /var/lib/etcd /var/log; do
	f_d=$f_p
	until [ -d "$f_d" ]; do
		f_d=${f_d%/*}
		f_d=${f_d:-/}
	done
	f_d=$(cd -P -- "$f_d" 2>/dev/null && pwd -P)
	f_d=${f_d:-/}
	f_put path "$f_p $f_d"
	case " $f_dirs " in *" $f_d "*) ;; *) f_dirs="$f_dirs $f_d" ;; esac
done
if f_v=$(stat -f -c '%n %S %b %a %c %d' $f_dirs 2>/dev/null); then
	set -- $f_v
	while [ $# -ge 6 ]; do
		f_put statfs "$1 $2 $3 $4 $5 $6"
		shift 6
	done
else
	f_put unknown statfs "stat -f is missing or failed"
fi

for f_p in /sys/class/net/*; do
	[ -r "$f_p/mtu" ] || continue
	read -r f_v 2>/dev/null <"$f_p/mtu" || continue
	f_put link "${f_p##*/} $f_v"
done

for f_c in mount umount losetup ip iptables ip6tables nft ipset nsenter tar gzip sha256sum base64 flock \
	modprobe sysctl swapoff systemctl systemd-run ss awk sed grep find stat df date mktemp mv cp chmod chown \
	sync ln readlink sort cut tr head timeout setsid curl wget conntrack ethtool socat \
	mount.nfs rpc.nfsd; do
	if f_has "$f_c"; then f_put command "$f_c yes"; else f_put command "$f_c no"; fi
done

# A module works when it is loaded, built in, or when what it makes is there.
# /sys/module shows a built-in one only when it has parameters.
f_rest=
for f_m in overlay br_netfilter nf_conntrack vxlan ipip nf_tables ip_tables ip6_tables ip_set \
	ip_vs ip_vs_rr ip_vs_wrr ip_vs_sh wireguard; do
	f_v=
	case $f_m in
	br_netfilter) f_v=/proc/sys/net/bridge/bridge-nf-call-iptables ;;
	nf_conntrack) f_v=/proc/sys/net/netfilter/nf_conntrack_max ;;
	ip_tables) f_v=/proc/net/ip_tables_names ;;
	ip6_tables) f_v=/proc/net/ip6_tables_names ;;
	ip_vs) f_v=/proc/net/ip_vs ;;
	esac
	if [ -d "/sys/module/$f_m" ] || { [ -n "$f_v" ] && [ -e "$f_v" ]; }; then
		f_put module "$f_m loaded"
	else
		f_rest="$f_rest|$f_m"
	fi
done
f_builtin= f_ondisk=
if [ ! -r "/lib/modules/$f_release/modules.dep" ]; then
	f_put unknown loadable "/lib/modules/$f_release/modules.dep is missing"
elif [ -n "$f_rest" ]; then
	f_rest="/(${f_rest#?})[.]ko([.][a-z0-9]+)?(:|\$)"
	f_builtin=$(grep -oE "$f_rest" "/lib/modules/$f_release/modules.builtin" 2>/dev/null)
	f_ondisk=$(grep -oE "^[^:]*$f_rest" "/lib/modules/$f_release/modules.dep" 2>/dev/null)
fi
for f_m in $f_builtin; do
	f_m=${f_m##*/}
	f_put module "${f_m%%.*} builtin"
done
for f_m in $f_ondisk; do
	f_m=${f_m##*/}
	f_put module "${f_m%%.*} loadable"
done

# Signs of a cluster, of an engine, and of ourselves.
for f_p in /etc/kubernetes/kubelet.conf /etc/kubernetes/admin.conf /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key \
	/var/lib/etcd/member /var/lib/kubelet/kubeadm-flags.env /var/lib/kubelet/instance-config.yaml \
	/etc/systemd/system/kubelet.service.d/10-kubeadm.conf /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf \
	/etc/rancher/k3s /var/lib/rancher/k3s /etc/rancher/rke2 /var/lib/rancher/rke2 /etc/k0s /var/lib/k0s \
	/var/snap/microk8s /var/lib/docker /etc/containerd/config.toml /run/crio/crio.sock \
	/var/lib/kubewright/manifest; do
	[ ! -e "$f_p" ] || f_put exists "$f_p"
done
for f_p in /etc/kubernetes/manifests/*; do
	[ ! -e "$f_p" ] || f_put manifest "${f_p##*/}"
done
f_v=
if [ -r /etc/kubernetes/manifests/kube-apiserver.yaml ]; then
	while read -r f_c f_p; do
		[ "$f_c" != image: ] || f_v=$f_p
	done </etc/kubernetes/manifests/kube-apiserver.yaml
fi
[ -z "$f_v" ] || f_put apiserver-image "$f_v"
for f_p in /etc/cni/net.d/*; do
	[ ! -e "$f_p" ] || f_put cni "${f_p##*/}"
done
f_ours=0
if [ -e /var/lib/kubewright/cluster ]; then
	f_ours=1
	f_first marker /var/lib/kubewright/cluster
fi

# systemd keeps a link for every unit that is active, and removes it with the
# activity. The link points nowhere.
for f_c in kubelet containerd docker crio k3s k3s-agent rke2-server rke2-agent k0scontroller k0sworker \
	firewalld nftables iptables netfilter-persistent; do
	[ ! -L "/run/systemd/units/invocation:$f_c.service" ] || f_put active "$f_c"
done

if ! f_has awk; then
	f_put unknown awk "awk is missing"
	printf 'end %s ok\n' "$f_n"
else
	{ ip -o addr show 2>/dev/null && echo complete; } | awk -v n="$f_n" -v dirs="$f_dirs" -v ours="$f_ours" '
function put(s) { print s; n++ }
function unknown(key, why) { put("unknown " key " " why) }
# sockets prints the local ends of sockets in a state, each once.
function sockets(proto, file, state,    line, w, port) {
	if ((getline line < file) < 0) { unknown(proto, file " is missing"); return }
	while ((getline line < file) > 0) {
		split(line, w, " ")
		if (w[4] != state || (proto ~ /^udp/ && w[3] !~ /:0000$/)) continue
		if ((proto, w[2]) in seen) continue
		seen[proto, w[2]] = 1
		put("socket " proto " " w[2])
		port = w[2]; sub(/.*:/, "", port)
		# 2379-2381, 6443, 7443, 7444, 10248-10250, 10256, 10257, 10259
		if (port ~ /^(094[BCD]|192B|1D1[34]|280[89A]|281[013])$/) busy = 1
	}
	close(file)
}
function resolv(file,    line, w, got) {
	if ((got = (getline line < file)) < 0) return
	put("resolv-file " file)
	for (; got > 0; got = (getline line < file)) {
		split(line, w, " ")
		if (w[1] == "nameserver" && w[2] != "") put("nameserver " file " " w[2])
	}
	close(file)
}
# filters says whether a saved rule set drops or rejects anything.
function filters(file,    line, found) {
	while ((getline line < file) > 0)
		if (line !~ /^[ \t]*#/ && line ~ /(policy (drop|reject)|:INPUT DROP|[ \t](drop|reject)([ \t;]|$)|-j (DROP|REJECT))/) found = 1
	close(file)
	if (found) put("filters " file)
}
# pem prints the first certificate of a file as one word of base64.
function pem(key, file,    line, body, in_) {
	while ((getline line < file) > 0) {
		sub(/\r$/, "", line)
		if (line ~ /^-----BEGIN CERTIFICATE-----/) { in_ = 1; continue }
		if (in_ && line ~ /^-----END/) break
		if (in_) body = body line
	}
	close(file)
	if (body != "") put(key " " body)
}
BEGIN {
	while ((getline line < "/proc/self/status") > 0) {
		split(line, w, "[ \t]+")
		if (w[1] == "Uid:") put("uid " w[3])
		else if (w[1] == "CapEff:") put("capeff " w[2])
		else if (w[1] == "Cpus_allowed_list:") put("cpus-allowed " w[2])
	}
	if ((getline line < "/sys/devices/system/cpu/online") > 0 && line != "") put("cpus-online " line)
	else unknown("cpus-online", "/sys/devices/system/cpu/online is missing")
	while ((getline line < "/proc/meminfo") > 0) {
		split(line, w, " ")
		if (w[1] == "MemTotal:") { put("memory-kb " w[2]); break }
	}

	file = "/etc/os-release"
	if ((got = (getline line < file)) <= 0) { file = "/usr/lib/os-release"; got = (getline line < file) }
	if (got <= 0) unknown("os", "os-release is missing or empty")
	for (; got > 0; got = (getline line < file))
		if (line ~ /^(ID|VERSION_ID|PRETTY_NAME|ID_LIKE)=./) put("os " line)

	file = "/sys/fs/cgroup/cgroup.controllers"
	if ((getline line < file) > 0) put("controllers " line)
	else while ((getline line < "/proc/cgroups") > 0) {
		split(line, w, " ")
		if (w[1] !~ /^#/ && w[4] == 1) put("controllers " w[1])
	}

	while ((getline line < "/proc/filesystems") > 0) {
		sub(/.*[ \t]/, "", line)
		if (line == "overlay") put("module overlay working")
	}

	getline line < "/proc/swaps"
	while ((getline line < "/proc/swaps") > 0) { split(line, w, " "); put("swap " w[1]) }

	# The mounts that hold one of the folders; a later one hides an earlier one.
	d = split(dirs, dir, " ")
	while ((getline line < "/proc/self/mounts") > 0) {
		split(line, w, " ")
		for (i = 1; i <= d; i++)
			if (w[2] == "/" || index(dir[i] "/", w[2] "/") == 1) {
				ro = ("," w[4] ",") ~ /,ro,/ ? "ro" : "rw"
				put("mnt " w[2] " " w[3] " " ro (("," w[4] ",") ~ /,noexec,/ ? ",noexec" : ""))
				break
			}
	}

	while ((getline line < "/proc/net/route") > 0) {
		split(line, w, " ")
		if (w[1] != "Iface") put("route4 " w[1] " " w[2] " " w[8] " " w[4])
	}
	file = "/proc/net/ipv6_route"
	if ((got = (getline line < file)) < 0) unknown("route6", "IPv6 is off")
	for (; got > 0; got = (getline line < file)) {
		k = split(line, w, " ")
		if (w[k] != "lo") put("route6 " w[k] " " w[1] " " w[2] " " w[9])
	}

	sockets("tcp", "/proc/net/tcp", "0A")
	sockets("tcp6", "/proc/net/tcp6", "0A")
	sockets("udp", "/proc/net/udp", "07")
	sockets("udp6", "/proc/net/udp6", "07")
	# Names cost a walk through all processes: only for a conflict to explain.
	if (busy && !ours) {
		cmd = "ss -Hltnp 2>/dev/null"
		while ((cmd | getline line) > 0) {
			split(line, w, " ")
			if (match(line, /users:\(\(".*/)) {
				name = substr(line, RSTART + 9); sub(/".*/, "", name)
				port = w[4]; sub(/.*:/, "", port)
				if (name != "" && !((port, name) in named)) { named[port, name] = 1; put("process " port " " name) }
			}
		}
		close(cmd)
	}

	resolv("/etc/resolv.conf")
	resolv("/run/systemd/resolve/resolv.conf")
	resolv("/run/NetworkManager/no-stub-resolv.conf")

	while ((getline line < "/etc/ufw/ufw.conf") > 0)
		if (line ~ /^[ \t]*ENABLED=["\047]?[Yy][Ee][Ss]/) { put("active ufw"); break }
	filters("/etc/nftables.conf")
	filters("/etc/sysconfig/nftables.conf")
	filters("/etc/iptables/rules.v4")
	filters("/etc/sysconfig/iptables")

	pem("ca", "/etc/kubernetes/pki/ca.crt")
	while ((getline line < "/etc/kubernetes/kubelet.conf") > 0) {
		sub(/^[ \t-]+/, "", line); sub(/[ \t\r]+$/, "", line)
		if (line ~ /^server: /) { sub(/^server: */, "", line); if (!server++) put("kubelet-server " line) }
		else if (line ~ /^certificate-authority-data: /) { sub(/^[^:]*: */, "", line); if (!cadata++) put("kubelet-ca " line) }
		else if (line ~ /^certificate-authority: /) { sub(/^[^:]*: */, "", line); if (!cafile++) put("kubelet-ca-file " line) }
	}
}
$0 == "complete" { complete = 1; next }
{
	iface = $2; sub(/[@:].*/, "", iface)
	if ($3 == "inet" || $3 == "inet6") addr[++a] = iface " " $4
}
END {
	if (complete) for (i = 1; i <= a; i++) put("addr " addr[i])
	else {
		unknown("ip", "ip is missing or failed; addresses are from /proc/net")
		while ((getline line < "/proc/net/fib_trie") > 0) {
			k = split(line, w, " ")
			if (w[1] == "|--" || w[2] == "|--") last = w[k]
			else if (line ~ /\/32 host LOCAL/ && !(last in local)) { local[last] = 1; put("local4 " last) }
		}
		while ((getline line < "/proc/net/if_inet6") > 0) { split(line, w, " "); put("local6 " w[1] " " w[3] " " w[6]) }
	}
	print "end " n " ok"
}
'
fi
) </dev/null
