# Returns when the control plane on this host is healthy, all nodes have their objects and all members
# of etcd vote. Set before: address, the host's own; nodes and members, names separated by commas.
umask 077
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
pki=/etc/kubernetes/pki
for part in certificate key; do
	sed -n "s/^ *client-$part-data: *//p" /etc/kubernetes/admin.conf | base64 -d >"$tmp/$part"
done
get() { curl -fsS --fail-early --max-time 5 "$@"; }

healthy() {
	# With one name in them, curl would not take the braces for a list.
	get --cacert $pki/ca.crt --cert "$tmp/certificate" --key "$tmp/key" \
		"https://$address:6443/readyz" "https://$address:6443/api/v1/nodes/{$nodes}" >/dev/null &&
		# Their certificates are of their own making, and for nobody outside.
		get -k https://127.0.0.1:10257/healthz https://127.0.0.1:10259/healthz >/dev/null &&
		get --cacert $pki/etcd/ca.crt --cert $pki/etcd/healthcheck-client.crt --key $pki/etcd/healthcheck-client.key \
			-X POST -d '{"linearizable":true}' https://127.0.0.1:2379/v3/cluster/member/list >"$tmp/members" &&
		members_vote
}

# A member has a name once it has started.
members_vote() {
	! grep -q '"isLearner":true' "$tmp/members" &&
		[ "$(grep -o '"name":"[^"]*"' "$tmp/members" | cut -d'"' -f4 | sort | paste -sd,)" = "$members" ]
}

looks=0
until healthy 2>"$tmp/why"; do
	looks=$((looks + 1))
	if [ "$looks" -gt 600 ]; then
		echo "not healthy: $(cat "$tmp/why" "$tmp/members")"
		exit 1
	fi
	sleep 0.1
done
echo "healthy after $looks looks in vain"
