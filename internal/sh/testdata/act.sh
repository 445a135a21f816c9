kw_main() {
umask 077
M=kw0123456789abcdef
STOP=
kw_old=
kw_dir() { [ -d "$1" ] || { kw_dir "$(dirname "$1")" && mkdir -m 0755 "$1"; }; }
kw_put() { # path mode owner; content on stdin
t=${1%/*}/.${1##*/}.kw-tmp
kw_dir "${1%/*}" && cat > "$t" && kw_name "$t" "$@" || { rm -f "$t"; return 1; }; }
kw_name() { # temporary path mode owner
chmod "$3" "$1" && chown "$4" "$1" && kw_sync "$1" && kw_mv "$1" "$2"; }
kw_mv() { # from to; busybox takes a link to a folder for the folder
[ ! -L "$2" ] || [ ! -d "$2" ] || rm -f "$2"; mv -fT "$1" "$2"; }
kw_there() { [ -f "$1" ] || [ -L "$1" ]; }
kw_copy() { # from to: a file or a link, with its mode and owner
t=${2%/*}/.${2##*/}.kw-tmp
kw_dir "${2%/*}" && rm -f "$t" && cp -pP "$1" "$t" && kw_sync "$t" && kw_mv "$t" "$2" || { rm -f "$t"; return 1; }; }
kw_sync() { sync "$1" 2>/dev/null || sync; }
kw_whole() { # ends a line that a power cut or a full disk left torn, before others are added
[ ! -s "$1" ] || [ "$(tail -c 1 "$1" | wc -l)" -eq 1 ] || echo >> "$1"; }
kw_check() { # path sha256
s=$(sha256sum < "$1") && [ "${s%% *}" = "$2" ] || { echo "digest of $1 is ${s%% *}, want $2" >&2; rm -f "$1"; return 1; }; }
kw_note() { # id digest
[ -e /var/lib/kubewright/manifest ] || kw_put /var/lib/kubewright/manifest 0600 root:root </dev/null || return 1; printf '%s\t%s\n' "$1" "$2" >> /var/lib/kubewright/manifest; }
kw_stamp() { # path source [sha256]
s=${3:-$(sha256sum < "$1")} && st=$(stat -c '%i %s %Z %n' "$1") && printf '%s %s %s\n' "$st" "${s%% *}" "$2" >> /var/lib/kubewright/stamps; }
kw_foreign() { # path list
[ ! -d "$1" ] || [ -e "$2" ] || { kw_dir "${2%/*}" && find "$1" -mindepth 1 > "$2.kw-tmp" && sort -o "$2.kw-tmp" "$2.kw-tmp" && kw_sync "$2.kw-tmp" && mv -f "$2.kw-tmp" "$2"; }; }
kw_spare() { # folder list: removes what is in it and not listed. Names come from pods, so no line is taken for one.
for x in "$1"/* "$1"/.[!.]* "$1"/..?*; do
[ -e "$x" ] || [ -L "$x" ] || continue
r=0; grep -qxF -e "$x" "$2" || r=$?
case $r in
0) [ ! -d "$x" ] || [ -L "$x" ] || (kw_spare "$x" "$2") || return 1 ;;
1) rm -rf "$x" || return 1 ;;
*) return 1 ;;
esac
done; }
kw_rmtree() { # path list; a mount below it is somebody's data: refuse
while read -r dev mp rest; do case $mp in "$1"/*) echo "$mp is mounted below $1: unmount it first" >&2; return 1 ;; esac; done < /proc/mounts
[ ! -s "$2" ] || { kw_spare "$1" "$2"; return; }
[ ! -d "$1" ] || find "$1" -mindepth 1 -maxdepth 1 -exec rm -rf {} + && { rmdir "$1" 2>/dev/null || :; }; }
kw_runs() { # name, and sha256 of the command line
for d in /proc/[0-9]*; do read -r c < "$d/comm" && [ "$c" = "$1" ] && s=$(sha256sum < "$d/cmdline") && [ "${s%% *}" = "$2" ] && kw_old="$kw_old ${d##*/}/$2"; done 2>/dev/null; :; }
kw_ended() { # tries
n=0
for o in $kw_old; do
while s=$(sha256sum < "/proc/${o%/*}/cmdline") && [ "${s%% *}" = "${o#*/}" ] && [ -z "$STOP" ]; do
[ "$(systemctl show -p ActiveState kubelet.service)" = ActiveState=active ] || return 0
n=$((n+1)); [ $n -le "$1" ] || { read -r c < "/proc/${o%/*}/comm"; echo "$c runs as before its manifest was changed (process ${o%/*}): the kubelet does not replace it; see journalctl -u kubelet" >&3; return 1; }
sleep 0.2 || sleep 1
done
done 3>&2 2>/dev/null; }
kw_rules() { # iptables or ip6tables, what is ours as an extended regular expression
"$1-save" 2>/dev/null | grep -Eq -e "$2" || return 0
"$1-save" | grep -Ev -e "$2" | "$1-restore"; }
mkdir -p /var/lib/kubewright && chmod 0700 /var/lib/kubewright || return 9
mkdir -p /run/kubewright && chmod 0700 /run/kubewright || return 9
trap 'STOP=1' TERM HUP INT
trap '' PIPE
kw_go() { [ -z "$STOP" ] && echo "$M $1 $2" 2>/dev/null; }
exec 8>>/run/kubewright/act || return 9
n=0
until flock -n 8; do [ -z "$STOP" ] || return 7; n=$((n+1)); [ $n -le 600 ] || { echo "an earlier run is still at work on this host" >&2; return 15; }; sleep 1; done
echo $$ > /run/kubewright/act
kw_whole /var/lib/kubewright/manifest && kw_whole /var/lib/kubewright/stamps || return 9
kw_go start 0 || return 7
{ {
if kw_there /etc/app.conf && ! kw_there /var/lib/kubewright/originals/etc/app.conf; then kw_copy /etc/app.conf /var/lib/kubewright/originals/etc/app.conf; fi
} && {
kw_note file:/etc/app.conf -
} && {
rm -f /var/lib/kubewright/units/app.service
} && {
kw_dir /etc && base64 -d > /etc/.app.conf.kw-tmp <<'KW_EOF' && kw_check /etc/.app.conf.kw-tmp a53006eb431e3d7bd1016d0cb428baaa300d48273f3b6bc3909d098ec79fd6ba && kw_name /etc/.app.conf.kw-tmp /etc/app.conf 0600 root:root || { rm -f /etc/.app.conf.kw-tmp; false; }
aXQncwo=
KW_EOF
} && {
kw_note file:/etc/app.conf abc
} && {
:
}; } >&2 || { kw_go fail 0 || return 7; return 8; }
kw_go done 0 || return 7
kw_go start 1 || return 7
{ {
systemctl daemon-reload
} && {
systemctl enable --quiet app.service && { systemctl reset-failed app.service 2>/dev/null; systemctl restart app.service || { journalctl -n 20 --no-pager -u app.service >&2; false; }; } && kw_dir /var/lib/kubewright/units && echo def | kw_put /var/lib/kubewright/units/app.service 0644 root:root
} && {
:
}; } >&2 || { kw_go fail 1 || return 7; return 8; }
kw_go done 1 || return 7
if [ -s /var/lib/kubewright/manifest ]; then sed "s/^/$M manifest /" /var/lib/kubewright/manifest || return 9; echo; else echo "$M nomanifest"; fi
[ ! -d /var/lib/kubewright/cache ] || echo "$M cached"
set --
for p in /etc/app.conf /etc/pki/ca.key; do if [ -e "$p" ] || [ -L "$p" ]; then set -- "$@" "$p"; else printf '%s absent %s\n' "$M" "$p"; fi; done
[ $# -eq 0 ] || stat -c "$M stat %f %u %g %s %i %Z %n" "$@" || return 9
for p in "$@"; do if [ -L "$p" ]; then printf '%s link %s %s\n' "$M" "$p" "$(readlink "$p")"; fi; done
STAMPED=
WANT='|abc /etc/app.conf|'
CONTENT='|/etc/pki/ca.key|'
SECRET='|/etc/pki/ca.key|'
n=$#
while [ $n -gt 0 ]; do p=$1; shift; n=$((n-1)); case $STAMPED in *":$p:"*) ;; *) [ ! -f "$p" ] || set -- "$@" "$p" ;; esac; done
[ $# -eq 0 ] || sha256sum "$@" | while read -r s p; do
p=${p#\*}
printf '%s sum %s %s\n' "$M" "$s" "$p"
give=
case $CONTENT in *"|$p|"*) give=1 ;; *) case $SECRET in *"|$p|"*) ;; *) case $WANT in *" $p|"*) case $WANT in *"|$s $p|"*) ;; *) [ "$(wc -c < "$p")" -gt 65536 ] || give=1 ;; esac ;; esac ;; esac ;; esac
[ -z "$give" ] || { printf '%s body %s ' "$M" "$p"; base64 < "$p" | tr -d '\n'; echo; }
done
{ systemctl show -p Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload app.service || { [ ! -d /run/systemd/system ] && printf 'Id=%s\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n\n' app.service; }; } | sed "s/^/$M unit /" || return 9
if [ -e /var/lib/kubewright/units/app.service ]; then d=; read -r d < /var/lib/kubewright/units/app.service; echo "$M started" app.service "$d"; fi
set --
for p in /proc/sys/net/ipv4/ip_forward; do if [ -e "$p" ]; then set -- "$@" "$p"; else echo "$M nosysctl $p"; fi; done
[ $# -eq 0 ] || grep -H '' "$@" | sed "s/^/$M sysctl /"
if [ -d /sys/module/br_netfilter ] || [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo "$M module" br_netfilter yes; else echo "$M module" br_netfilter no; fi
echo "$M swaps"; while read -r dev rest; do case $dev in Filename) ;; *) echo "$M swap $dev" ;; esac; done < /proc/swaps
printf '%s end\n' "$M"
}
kw_main </dev/null
