package inventory

import "kubewright/spec/strict"

// APIVersion and Kind stand at the top of every inventory file.
const (
	APIVersion = "kubewright.io/v1alpha1"
	Kind       = "Inventory"
)

// File is an inventory as the user writes it: which hosts there are, and how to log in to them.
type File struct {
	// APIVersion is the version of this format.
	APIVersion string `yaml:"apiVersion" rule:"required,enum=kubewright.io/v1alpha1"`
	// Kind says that this file is an inventory.
	Kind string `yaml:"kind" rule:"required,enum=Inventory"`
	// Defaults hold for every host, unless one of its groups or the host itself says otherwise.
	Defaults Defaults `yaml:"defaults"`
	// Groups are settings that several hosts share; a host names its groups.
	Groups map[string]GroupSpec `yaml:"groups"`
	// Hosts are the machines of the cluster. Their order has no meaning.
	Hosts []HostSpec `yaml:"hosts" rule:"required"`

	doc *strict.Document
}

// Defaults is what holds for every host of an inventory.
type Defaults struct {
	// SSH is how to log in.
	SSH SSHSpec `yaml:"ssh"`
}

// GroupSpec is what the hosts of a group share. Of two groups the one that the host names later
// wins; the host itself wins over both.
type GroupSpec struct {
	// Roles are the roles of every host of the group that names no roles itself. The roles of
	// several groups add up.
	Roles []Role `yaml:"roles" rule:"enum=control-plane|etcd|worker"`
	// Labels are put on the nodes, which those hosts of the group are that have more than the role
	// etcd.
	Labels map[string]string `yaml:"labels"`
	// Taints keep pods off the nodes. A change reaches nodes that are there already; taints that
	// others have set on a node, such as a cordon, stay.
	Taints []Taint `yaml:"taints"`
	// Annotations are put on the nodes.
	Annotations map[string]string `yaml:"annotations" rule:"multiline"`
	// SSH is how to log in.
	SSH SSHSpec `yaml:"ssh"`
}

// HostSpec is one machine as the user writes it.
type HostSpec struct {
	// Name is the name of the host and, in lower case, of its node: letters, digits, - and .
	// (RFC 1123), at most 63 characters.
	Name string `yaml:"name" rule:"required"`
	// Address is the IP address or DNS name at which SSH reaches the host from here.
	Address string `yaml:"address" rule:"required"`
	// NodeIP is the address by which the other nodes reach this one. It is the address of the
	// host unless that is a name or leads through a forwarded port.
	NodeIP string `yaml:"nodeIP"`
	// Roles say what the host does: control-plane runs the API server and its companions, etcd
	// a member of etcd (every control plane does where no host names this role and the cluster file
	// no external etcd; a host that is etcd alone has it for itself, without a kubelet), worker the
	// pods of users. A control plane that is not also a worker is tainted to keep pods away.
	// Roles given here replace those of the groups.
	Roles []Role `yaml:"roles" rule:"enum=control-plane|etcd|worker"`
	// Groups name the groups this host takes settings from.
	Groups []string `yaml:"groups"`
	// Labels are put on the node, beside those of the groups.
	Labels map[string]string `yaml:"labels"`
	// Taints keep pods off the node, beside those of the groups. A change reaches a node that is
	// there already; taints that others have set on it, such as a cordon, stay.
	Taints []Taint `yaml:"taints"`
	// Annotations are put on the node, beside those of the groups.
	Annotations map[string]string `yaml:"annotations" rule:"multiline"`
	// SSH is how to log in, where it differs from the groups and the defaults.
	SSH SSHSpec `yaml:"ssh"`
}

// SSHSpec is how to log in to a host, as the user writes it. What is not given comes from the
// groups of the host, then from the defaults.
type SSHSpec struct {
	// User is who logs in: root, or somebody who may become root with sudo.
	User *string `yaml:"user" rule:"default=root"`
	// Port is the port sshd listens on.
	Port *int `yaml:"port" rule:"min=1,max=65535,default=22"`
	// KeyFile is the path of a private key, relative to this file; ~/ is your home folder. A
	// certificate beside it (KEY-cert.pub) is offered with it.
	KeyFile *string `yaml:"keyFile"`
	// CertificateFile is the path of an OpenSSH certificate that lies elsewhere, of the key file or of
	// a key in your SSH agent.
	CertificateFile *string `yaml:"certificateFile"`
	// Passphrase opens the key file. Write where it is kept: env:NAME or file:PATH.
	Passphrase *Ref `yaml:"passphrase" rule:"secret"`
	// Password logs in. Write where it is kept: env:NAME or file:PATH.
	Password *Ref `yaml:"password" rule:"secret"`
	// Agent says whether the keys of your SSH agent are offered. They are, unless a key file
	// or a password is given.
	Agent *bool `yaml:"agent"`
	// Sudo says how a user other than root becomes root.
	Sudo SudoSpec `yaml:"sudo"`
	// KnownHosts lists files of host keys in OpenSSH's format, relative to this file. Without
	// it, your own known_hosts and that of the system are used.
	KnownHosts []string `yaml:"knownHosts"`
	// HostKey pins the key of the host: a SHA256: fingerprint, or the key as in a .pub file.
	HostKey *string `yaml:"hostKey"`
	// TrustOnFirstUse accepts and records the key of a host that is not known yet. Somebody
	// between you and the host can then pretend to be the host on the first connection.
	TrustOnFirstUse *bool `yaml:"trustOnFirstUse" rule:"default=false"`
	// Bastion is the host that leads to this one. All hosts behind it share one connection to it.
	// It replaces the bastion of the groups and the defaults as a whole.
	Bastion BastionSpec `yaml:"bastion"`
	// ConfigFile is the path of a file in the format of ssh_config, such as ~/.ssh/config. What the
	// inventory does not say is taken from it, under the address of the host. What is understood
	// of it is in docs/reference/ssh.md.
	ConfigFile *string `yaml:"configFile"`
}

// BastionSpec is a host through which others are reached. It logs in with the key file, certificate,
// password and agent of the host behind it, unless it has a key file or a password of its own; known
// hosts and trust are those of that host in any case.
type BastionSpec struct {
	// Address is the IP address or DNS name at which SSH reaches the bastion from here; none is no
	// bastion, where the groups or the defaults have one.
	Address *string `yaml:"address"`
	// User is who logs in. It is the user of the host behind unless the ssh_config file has one.
	User *string `yaml:"user"`
	// Port is the port sshd listens on. It is 22 unless the ssh_config file has another.
	Port *int `yaml:"port" rule:"min=1,max=65535"`
	// KeyFile is the path of a private key, relative to this file.
	KeyFile *string `yaml:"keyFile"`
	// Passphrase opens the key file. Write where it is kept: env:NAME or file:PATH.
	Passphrase *Ref `yaml:"passphrase" rule:"secret"`
	// Password logs in. Write where it is kept: env:NAME or file:PATH.
	Password *Ref `yaml:"password" rule:"secret"`
	// HostKey pins the key of the bastion: a SHA256: fingerprint, or the key as in a .pub file.
	HostKey *string `yaml:"hostKey"`
}

// SudoSpec says how a user other than root becomes root.
type SudoSpec struct {
	// Password is what sudo asks for, if it asks. Write where it is kept: env:NAME or file:PATH.
	Password *Ref `yaml:"password" rule:"secret"`
}
