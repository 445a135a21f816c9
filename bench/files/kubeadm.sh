# Installs kubeadm and the service of the kubelet as upstream's packages do. Set before: url, of kubeadm.
curl -fsS -o /usr/local/bin/kubeadm "$url"
sum=$(curl -fsS "$url.sha256")
echo "$sum  /usr/local/bin/kubeadm" | sha256sum -c --quiet -
chmod 755 /usr/local/bin/kubeadm

mkdir -p /etc/systemd/system/kubelet.service.d
cat >/etc/systemd/system/kubelet.service <<'UNIT'
[Unit]
Description=kubelet, as kubeadm configures it
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/local/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
UNIT
cat >/etc/systemd/system/kubelet.service.d/10-kubeadm.conf <<'DROPIN'
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=
ExecStart=/usr/local/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS
DROPIN
systemctl daemon-reload
systemctl enable -q kubelet
