kw_main() {
umask 077
M=kw0123456789abcdef
STOP=
mkdir -p /run/kubewright && chmod 0700 /run/kubewright || return 9
exec 9>>/run/kubewright/lock || return 9
n=0
until flock -n 9; do
n=$((n+1)); [ $n -le 8 ] || { printf '%s held ' "$M"; head -n 1 /run/kubewright/lock; return 15; }
sleep 1
done
printf '%s\n%s\n' 'alice@laptop, apply since 12:00' $$ > /run/kubewright/lock
exec 8>>/run/kubewright/act || return 9
n=0
until flock -n 8; do [ -z "$STOP" ] || return 7; n=$((n+1)); [ $n -le 600 ] || { echo "an earlier run is still at work on this host" >&2; return 15; }; sleep 1; done
exec 8>&-
while echo "$M locked"; do sleep 3 9>&- >/dev/null 2>&1; done
printf '%s end\n' "$M"
}
kw_main </dev/null
