package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"kubewright/internal/fault"
)

// Limits of a lab. MaxNodes is what has been tried on one machine, and what the addresses that
// the lab leaves to load balancers allow for.
const (
	MaxNodes = 50

	// DefaultName names the lab, DefaultDir is its folder, DefaultSubnet its network.
	DefaultName   = "lab"
	DefaultDir    = ".lab"
	DefaultSubnet = "10.111.0.0/24"

	// DefaultKubernetesVersion is the version of Kubernetes that the artifacts are built for.
	DefaultKubernetesVersion = "1.37.2"

	// DefaultBootTimeout is how long nodes get from their start to a login over SSH. A node
	// needs a second or two; fifty at once on two cores need a minute.
	DefaultBootTimeout = 4 * time.Minute
)

// Pod and service networks of a lab's cluster; its nodes must be outside both.
const (
	podCIDR     = "10.244.0.0/16"
	serviceCIDR = "10.96.0.0/16"
)

// Role is what a container of a lab is for.
type Role string

// The roles of a lab's containers: three of nodes, and the mirror that serves them. A node with the
// role etcd has that for itself.
const (
	RoleControlPlane Role = "control-plane"
	RoleEtcd         Role = "etcd"
	RoleWorker       Role = "worker"
	RoleMirror       Role = "mirror"
)

// IsNode reports whether a container of this role is a host for a cluster.
func (r Role) IsNode() bool { return r == RoleControlPlane || r == RoleEtcd || r == RoleWorker }

// nodeName is the name that the lab gives to a node of this role.
func (r Role) nodeName(number int) string {
	prefix := string(r)
	if r == RoleControlPlane {
		prefix = "cp"
	}
	return prefix + strconv.Itoa(number)
}

// Login is how the lab's inventory tells kubewright to become root on a node.
type Login string

// The ways to log in. All of them use the lab's key; they differ in the user and in sudo.
const (
	LoginRoot         Login = "root"          // user root
	LoginSudo         Login = "sudo"          // user ops, sudo asks for nothing
	LoginSudoPassword Login = "sudo-password" // user admin, sudo asks for the lab's password
)

// User is the name of the user who logs in.
func (l Login) User() string {
	switch l {
	case LoginSudo:
		return "ops"
	case LoginSudoPassword:
		return "admin"
	default:
		return "root"
	}
}

// Config says what lab to make.
type Config struct {
	// Name tells labs on one machine apart; it becomes part of the names of the lab's objects.
	Name string
	// Dir is the folder that the lab's files are written to.
	Dir string
	// ControlPlanes, Etcd and Workers are how many nodes there must be at least. Without nodes for
	// Etcd, etcd runs on the control planes.
	ControlPlanes, Etcd, Workers int
	// Subnet is the lab's own network.
	Subnet netip.Prefix
	// VIP gives the cluster a virtual IP, an address of the subnet that no node has.
	VIP bool
	// Addons gives the cluster what its users try out: addresses for load balancers, volumes, metrics, a registry.
	Addons bool
	// Login is how the inventory logs in.
	Login Login
	// Artifacts is a folder made by e2e/artifacts, served to the nodes by a mirror; empty means
	// that the cluster's files and images come from upstream.
	Artifacts string
	// KubernetesVersion is the version that cluster.yaml asks for, without a leading v.
	KubernetesVersion string
	// CacheDir is where root file systems of nodes are kept between labs.
	CacheDir string
	// BootTimeout bounds the wait for the nodes; zero means DefaultBootTimeout.
	BootTimeout time.Duration
}

// Validate returns every fault of the configuration, joined, or nil.
func (c Config) Validate() error {
	var faults []error
	refuse := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$`).MatchString(c.Name) {
		refuse("--name %q: want 1 to 20 lower-case letters, digits and inner dashes", c.Name)
	}
	if c.Dir == "" {
		refuse("--dir is empty: name the folder for the lab's files, such as %s", DefaultDir)
	}
	if c.ControlPlanes < 1 {
		refuse("--control-planes %d: a cluster needs at least one", c.ControlPlanes)
	}
	if c.Etcd < 0 {
		refuse("--etcd %d: cannot be negative", c.Etcd)
	}
	if c.Workers < 0 {
		refuse("--workers %d: cannot be negative", c.Workers)
	}
	if n := c.ControlPlanes + c.Etcd + c.Workers; n > MaxNodes {
		refuse("%d nodes asked for: a lab has at most %d", n, MaxNodes)
	}
	switch c.Login {
	case LoginRoot, LoginSudo, LoginSudoPassword:
	default:
		refuse("--login %q: want %s, %s or %s", c.Login, LoginRoot, LoginSudo, LoginSudoPassword)
	}
	if !regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`).MatchString(c.KubernetesVersion) {
		refuse("--kubernetes-version %q: want three numbers, such as 1.37.2", c.KubernetesVersion)
	}
	if c.Artifacts != "" && !filepath.IsAbs(c.Artifacts) {
		refuse("--artifacts %q: want an absolute path", c.Artifacts)
	}
	if !filepath.IsAbs(c.CacheDir) {
		refuse("the cache folder %q is not an absolute path: set KUBEWRIGHT_CACHE to one", c.CacheDir)
	}
	faults = append(faults, checkSubnet(c.Subnet))
	if first, last := balancers(c.Subnet); c.Addons && !first.Less(last) {
		refuse("--subnet %s has no addresses left for load balancers, which are above those of %d nodes", c.Subnet, MaxNodes)
	}
	return fault.Wrap(fault.BadInput, errors.Join(faults...))
}
