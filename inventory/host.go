package inventory

import (
	"maps"
	"net/netip"
	"slices"
)

// Role is what a host does in the cluster.
type Role string

// The roles a host can have; a host may have several.
const (
	// RoleControlPlane runs the API server, the controller manager and the scheduler.
	RoleControlPlane Role = "control-plane"
	// RoleEtcd runs a member of etcd. Where no host asks for it, the control planes have it.
	RoleEtcd Role = "etcd"
	// RoleWorker runs the pods of the cluster's users.
	RoleWorker Role = "worker"
)

// Roles lists every role, in the order of the documentation.
func Roles() []Role { return []Role{RoleControlPlane, RoleEtcd, RoleWorker} }

// Host is one machine of the cluster after groups and defaults were merged into it.
type Host struct {
	// Name is the host's name and the name of its node, in lower case.
	Name string
	// Address is the IP address or DNS name at which SSH reaches the host.
	Address string
	// NodeIP is the address the host has in the cluster's network.
	NodeIP netip.Addr
	// Roles is sorted and holds each role once.
	Roles []Role
	// Groups names the groups the host belongs to, in the order in which they were merged.
	Groups []string
	// Labels and Annotations are what the user wants on the node, beside those every node gets.
	Labels, Annotations map[string]string
	// Taints is what the user wants on the node, sorted by key and effect.
	Taints []Taint
	// SSH says how to log in.
	SSH SSH
}

// Has reports whether the host has the role.
func (h Host) Has(r Role) bool { return slices.Contains(h.Roles, r) }

// Clone returns a copy that shares nothing with the host.
func (h Host) Clone() Host {
	h.Roles = slices.Clone(h.Roles)
	h.Groups = slices.Clone(h.Groups)
	h.Labels = maps.Clone(h.Labels)
	h.Annotations = maps.Clone(h.Annotations)
	h.Taints = slices.Clone(h.Taints)
	h.SSH.KnownHosts = slices.Clone(h.SSH.KnownHosts)
	return h
}

// SSH says how to log in to a host and become root there. Paths are as written by the user,
// joined to the folder of the file they stand in; a leading ~/ is left for the caller.
type SSH struct {
	// User and Port are empty where nobody gives them and there is a ConfigFile that may.
	User string
	Port int
	// KeyFile is the path of a private key; empty means none.
	KeyFile string
	// CertificateFile is the path of a certificate that does not lie beside KeyFile; empty means none.
	CertificateFile string
	// Passphrase opens KeyFile, Password logs in; the zero Ref means none.
	Passphrase, Password Ref
	// Agent says that the keys of the operator's SSH agent are offered.
	Agent bool
	// Sudo says how a user other than root becomes root.
	Sudo Sudo
	// KnownHosts lists files of host keys in OpenSSH's format; empty means the operator's own.
	KnownHosts []string
	// HostKey pins the host's key: an authorized_keys line or a SHA256: fingerprint.
	HostKey string
	// TrustOnFirstUse accepts, and records, the key of a host that no file knows yet.
	TrustOnFirstUse bool
	// Bastion leads to the host.
	Bastion Bastion
	// ConfigFile is the path of an ssh_config file; empty means none.
	ConfigFile string
}

// Bastion is the host that leads to others. Where it has neither KeyFile nor Password, it takes the
// credentials of the host behind it.
type Bastion struct {
	// Address is its IP address or DNS name. Empty means none, unless the ConfigFile says otherwise;
	// NoBastion means none whatever that says.
	Address string
	// User is empty for that of the ConfigFile, or of the host behind; Port is 0 for that of the
	// ConfigFile, or 22.
	User string
	Port int
	// KeyFile, Passphrase, Password and HostKey are as in SSH.
	KeyFile              string
	Passphrase, Password Ref
	HostKey              string
}

// NoBastion is the address of no bastion, as in ssh's ProxyJump.
const NoBastion = "none"

// Sudo says how a user other than root becomes root.
type Sudo struct {
	// Password is asked for by sudo; the zero Ref means that sudo asks for none.
	Password Ref
}
