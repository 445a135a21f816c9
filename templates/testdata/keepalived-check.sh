#!/bin/sh
# Runs each second. What keepalived has read is compared with its file: it reads a changed one anew, and
# keeps the address meanwhile, which a restart would take from it for ten seconds and more. The first run
# finds nothing to compare with: what was written since keepalived started is then not overlooked.
if [ "$(cat /tmp/keepalived.conf 2>/dev/null)" != "$(cat /etc/kubernetes/keepalived/keepalived.conf)" ]; then
    cp /etc/kubernetes/keepalived/keepalived.conf /tmp/keepalived.conf && kill -HUP 1
fi
# Succeeds when the API server of this machine answers that it is ready. 401 and 403 are answers
# too: the check is anonymous, which the cluster may not allow. It asks at the address that the
# certificate is for, with openssl, since the image has no curl. keepalived ends it when it takes
# too long.
answer=$(printf 'GET /readyz HTTP/1.0\r\n\r\n' | openssl s_client -quiet \
    -connect [fd00::10]:6443 -CAfile /etc/kubernetes/pki/ca.crt \
    -verify_return_error -verify_ip fd00::10 2>/dev/null)
case $answer in
HTTP/1.?\ 200\ * | HTTP/1.?\ 401\ * | HTTP/1.?\ 403\ *) exit 0 ;;
esac
exit 1
