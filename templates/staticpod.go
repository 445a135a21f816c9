package templates

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// InputsDigestAnnotation holds, on every static pod, the digest of the files the pod reads when
// it starts (certificates, kubeconfigs). A kubelet restarts a static pod when its manifest
// changes, so new inputs restart it and unchanged ones do not.
const InputsDigestAnnotation = "kubewright.io/inputs-digest"

// HostPath is a path of the host that a static pod sees, beside those it needs anyway.
type HostPath struct {
	Name      string // of the volume; replaces a default volume of that name
	HostPath  string // absolute
	MountPath string // absolute
	ReadOnly  bool
	Type      string // core/v1 HostPathType; "" is DirectoryOrCreate
}

// StaticPod is what the static pods of the control plane have in common.
type StaticPod struct {
	Image        string            // with tag
	ExtraArgs    map[string]string // flags without dashes: replace ours or add to them
	ExtraVolumes []HostPath
	InputsDigest string // value of InputsDigestAnnotation
}

const (
	pkiDir        = "/etc/kubernetes/pki"
	etcdDataDir   = "/var/lib/etcd"
	kubernetesDir = "/etc/kubernetes"

	etcdClientPort  = 2379
	etcdPeerPort    = 2380
	etcdMetricsPort = 2381

	controllerManagerPort = 10257
	schedulerPort         = 10259
)

type annotation struct{ Key, Value string }

type probe struct {
	Kind, Path                     string
	InitialDelay, Period, Failures int // seconds, seconds, count
}

type envVar struct{ Name, Value string }

// manifest is the data of staticpod.yaml.tmpl.
type manifest struct {
	Name, Image            string
	Tier                   string // label; "" is control-plane
	Annotations            []annotation
	Command                string // in the image; "" is the name, looked up in its PATH
	Args                   []string
	Env                    []envVar
	ProbeHost, ProbeScheme string
	ProbePort              int
	Probes                 []probe
	CPU, Memory            string // requests; the sum over the four pods is below one core
	Security               *containerSecurity
	Volumes                []HostPath
}

// containerSecurity takes from a container whatever it does not need.
type containerSecurity struct {
	User         int      // 0 is root
	Capabilities []string // all that it has
	ReadOnlyRoot bool     // it writes no file
}

func (m manifest) render(common StaticPod, flags flagSet) ([]byte, error) {
	args, err := flags.args()
	if err != nil {
		return nil, err
	}
	m.Args = args
	return m.finish(common)
}

// finish renders a component whose arguments are in the manifest already.
func (m manifest) finish(common StaticPod) ([]byte, error) {
	m.Image, m.Tier, m.Command = common.Image, cmp.Or(m.Tier, "control-plane"), cmp.Or(m.Command, m.Name)
	m.Annotations = append(m.Annotations, annotation{InputsDigestAnnotation, common.InputsDigest})
	slices.SortFunc(m.Annotations, func(a, b annotation) int { return cmp.Compare(a.Key, b.Key) })
	var err error
	if m.Volumes, err = mergeVolumes(m.Name, m.Volumes, common.ExtraVolumes); err != nil {
		return nil, err
	}
	return render("staticpod.yaml.tmpl", m)
}

// mergeVolumes sorts by name, as the order of flags is sorted, and lets the user's replace ours.
func mergeVolumes(component string, ours, extra []HostPath) ([]HostPath, error) {
	byName := make(map[string]HostPath, len(ours)+len(extra))
	for _, v := range slices.Concat(ours, extra) {
		if !strings.HasPrefix(v.HostPath, "/") || !strings.HasPrefix(v.MountPath, "/") {
			return nil, fmt.Errorf("%s: volume %q: %q at %q: both paths must be absolute",
				component, v.Name, v.HostPath, v.MountPath)
		}
		v.Type = cmp.Or(v.Type, "DirectoryOrCreate")
		byName[v.Name] = v
	}
	merged := make([]HostPath, 0, len(byName))
	for _, v := range byName {
		merged = append(merged, v)
	}
	slices.SortFunc(merged, func(a, b HostPath) int { return cmp.Compare(a.Name, b.Name) })
	return merged, nil
}

// Probes have kubeadm's limits: 8 failed looks of 10 s before a restart, 4 minutes to start. The
// startup probe looks every 2 s from the beginning instead of every 10 s after 10: the same four
// minutes, but a component counts as started when it is, not seconds later.
func livenessProbe(path string) probe  { return probe{"livenessProbe", path, 10, 10, 8} }
func readinessProbe(path string) probe { return probe{"readinessProbe", path, 0, 1, 3} }
func startupProbe(path string) probe   { return probe{"startupProbe", path, 0, 2, 120} }

// loopback is the loopback address of the same family.
func loopback(address netip.Addr) netip.Addr {
	if address.Is6() && !address.Is4In6() {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// probeHost is where to probe a component that binds to an address: "" is the pod's own address,
// for an unspecified one cannot be dialled.
func probeHost(bindAddress string) string {
	if a, err := netip.ParseAddr(bindAddress); err == nil && a.IsUnspecified() {
		return ""
	}
	return bindAddress
}

func url(scheme string, address netip.Addr, port int) string {
	return scheme + "://" + hostPort(address, port)
}

func hostPort(address netip.Addr, port int) string {
	return netip.AddrPortFrom(address, uint16(port)).String()
}

func checkAddress(component string, address netip.Addr) error {
	if !address.IsValid() || address.IsUnspecified() || address.Zone() != "" {
		return fmt.Errorf("%s: %q is not an address a node can be reached at", component, address)
	}
	return nil
}

func checkPort(n int) error {
	if n < 1 || n > 65535 {
		return fmt.Errorf("%d is not a port", n)
	}
	return nil
}

// checkPlainPath refuses what would not be one word in the configuration of a component.
func checkPlainPath(p string) error {
	if !regexp.MustCompile(`^(/[A-Za-z0-9._-]+)+$`).MatchString(p) {
		return fmt.Errorf("%q is not an absolute path of plain characters", p)
	}
	return nil
}

// caVolumes make the host's trusted certificate authorities visible. /etc/ssl/certs is full of
// links into dirs, which of them exist differs between distributions.
func caVolumes(dirs []string) []HostPath {
	volumes := []HostPath{{Name: "ca-certs", HostPath: "/etc/ssl/certs", MountPath: "/etc/ssl/certs", ReadOnly: true}}
	for _, dir := range dirs {
		name := strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-")
		volumes = append(volumes, HostPath{Name: name, HostPath: dir, MountPath: dir, ReadOnly: true})
	}
	return volumes
}

// CADirs are the folders that /etc/ssl/certs may link into. Those that a host has are given to
// the API server and the controller manager.
func CADirs() []string {
	return []string{
		"/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/ca-certificates",
		"/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	}
}

func port(n int) string { return strconv.Itoa(n) }
