# What the host's manifest lists, each once and as it is now: the ID, and of files also the permission bits and
# the content in base64.
cut -f 1 /var/lib/kubewright/manifest | sort -u | while read -r id; do
case $id in
file:*) printf '%s\t%s\t%s\n' "$id" "$(stat -c %a "${id#file:}")" "$(base64 -w 0 "${id#file:}")" ;;
*) printf '%s\n' "$id" ;;
esac
done
