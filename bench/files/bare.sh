# Takes away what kubewright has noted on the host, and the authorities that it has made: what is left is
# what kubeadm's documentation takes as given.
rm -rf /etc/kubernetes /var/lib/kubewright
