package templates

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
)

const (
	// KeepalivedConfigPath is the file that keepalived's pod reads.
	KeepalivedConfigPath = kubernetesDir + "/keepalived/keepalived.conf"
	// KeepalivedCheckPath is the script that it runs each second. It has to be executable, and it
	// and the folders above writable for root only: keepalived runs no other script as root.
	KeepalivedCheckPath = kubernetesDir + "/keepalived/check-apiserver.sh"
	// keepalivedReadPath is, in the container, the file as keepalived has read it last.
	keepalivedReadPath = "/tmp/keepalived.conf"
)

// KeepalivedData is what keepalived of one control plane is told.
type KeepalivedData struct {
	Interface string // that has Address, and gets VIP
	Address   netip.Addr
	Peers     []netip.Addr // of the other control planes; may be empty
	VIP       netip.Addr   // of the same family
	RouterID  int          // 1 to 255; the same on all peers, and of no other group in the network
	Priority  int          // 1 to 254; among equals the higher Address wins
	APIPort   int
	CAPath    string // of the authority that has signed the API server's certificate
}

// Endpoint is the address and port that the API server of the machine is asked at.
func (d KeepalivedData) Endpoint() string { return hostPort(d.Address, d.APIPort) }

// KeepalivedConfig renders keepalived.conf, for keepalived 2.2 and newer. The order of the peers
// does not matter.
func KeepalivedConfig(d KeepalivedData) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("keepalived: %w", err)
	}
	d.Peers = slices.SortedFunc(slices.Values(d.Peers), netip.Addr.Compare)
	return render("keepalived.conf.tmpl", struct {
		KeepalivedData
		CheckPath string
	}{d, KeepalivedCheckPath})
}

// KeepalivedCheck renders the script of KeepalivedCheckPath. It also has keepalived, the first process of
// its container, read its file again when that has changed.
func KeepalivedCheck(d KeepalivedData) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("keepalived: %w", err)
	}
	return render("keepalived-check.sh.tmpl", struct {
		KeepalivedData
		ConfigPath, ReadPath string
	}{d, KeepalivedConfigPath, keepalivedReadPath})
}

func (d KeepalivedData) check() error {
	if err := checkInterface(d.Interface); err != nil {
		return err
	}
	if d.RouterID < 1 || d.RouterID > 255 {
		return fmt.Errorf("router ID %d is not between 1 and 255", d.RouterID)
	}
	if d.Priority < 1 || d.Priority > 254 {
		return fmt.Errorf("priority %d is not between 1 and 254", d.Priority)
	}
	if err := errors.Join(checkPort(d.APIPort), checkPlainPath(d.CAPath)); err != nil {
		return err
	}
	seen := map[netip.Addr]bool{}
	for _, a := range slices.Concat([]netip.Addr{d.VIP, d.Address}, d.Peers) {
		switch err := checkAddress("keepalived", a); {
		case err != nil:
			return err
		case a.Is4() != d.VIP.Is4():
			return fmt.Errorf("%s and %s are not of one family", d.VIP, a)
		case seen[a]:
			return fmt.Errorf("the virtual address, the machine's own and those of its peers all differ, but %s is there twice", a)
		}
		seen[a] = true
	}
	return nil
}

func checkInterface(name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`).MatchString(name) {
		return fmt.Errorf("%q is not the name of a network interface", name)
	}
	return nil
}

// KeepalivedPodData is what the pod of keepalived consists of.
type KeepalivedPodData struct {
	Image        string // with tag
	InputsDigest string // value of InputsDigestAnnotation
}

// Keepalived renders the static pod /etc/kubernetes/manifests/kubewright-keepalived.yaml. It is
// root, but may do little beside changing the network.
func Keepalived(d KeepalivedPodData) ([]byte, error) {
	dir, ca := path.Dir(KeepalivedConfigPath), pkiDir+"/ca.crt"
	return manifest{
		Name: "keepalived",
		// Without --vrrp it would also be a load balancer, which wants a kernel module.
		Args: []string{"--dont-fork", "--log-console", "--vrrp", "--use-file=" + KeepalivedConfigPath},
		CPU:  "10m", Memory: "30Mi",
		// SETGID is for the check: keepalived sets the groups of a script even when they stay the
		// same, and takes it for a success when it cannot.
		Security: &containerSecurity{Capabilities: []string{"NET_ADMIN", "NET_BROADCAST", "NET_RAW", "SETGID"}},
		Volumes: []HostPath{
			{Name: "config", HostPath: dir, MountPath: dir, ReadOnly: true, Type: "Directory"},
			{Name: "ca", HostPath: ca, MountPath: ca, ReadOnly: true, Type: "File"},
		},
	}.finish(StaticPod{Image: d.Image, InputsDigest: d.InputsDigest})
}
