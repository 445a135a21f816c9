package lab

import (
	"bytes"
	"embed"
	"fmt"
	"net/netip"
	"text/template"
)

//go:embed cluster.yaml.tmpl inventory.yaml.tmpl
var files embed.FS

// clusterFile is what cluster.yaml is made of.
type clusterFile struct {
	Name, KubernetesVersion, PodCIDR, ServiceCIDR string
	VIP                                           netip.Addr // invalid: no virtual IP
	Mirror                                        netip.Addr // invalid: no mirror
	Registries                                    []string   // served by the mirror
	Addons                                        bool
	FirstBalancer, LastBalancer                   netip.Addr
}

// inventoryFile is what inventory.yaml is made of.
type inventoryFile struct {
	Name             string
	Login            Login
	SudoPasswordFile string
	Nodes            []Node
}

// AsksForPassword says whether sudo wants a password of the inventory's user.
func (f inventoryFile) AsksForPassword() bool { return f.Login == LoginSudoPassword }

// renderCluster renders cluster.yaml. It names no endpoint: without a virtual IP that is
// kubewright's to choose.
func renderCluster(cfg Config) ([]byte, error) {
	f := clusterFile{
		Name: cfg.Name, KubernetesVersion: cfg.KubernetesVersion,
		PodCIDR: podCIDR, ServiceCIDR: serviceCIDR,
		Registries: []string{"docker.io", "ghcr.io", "quay.io", "registry.k8s.io", "registry.kubewright.test"},
	}
	f.Addons = cfg.Addons
	f.FirstBalancer, f.LastBalancer = balancers(cfg.Subnet)
	if cfg.Artifacts != "" {
		f.Mirror = at(cfg.Subnet, mirrorOffset)
	}
	if cfg.VIP {
		f.VIP = at(cfg.Subnet, vipOffset)
	}
	return render("cluster.yaml.tmpl", f)
}

// renderInventory renders inventory.yaml. Its paths are relative to the lab's folder, but for
// that of the password.
func renderInventory(s State) ([]byte, error) {
	return render("inventory.yaml.tmpl", inventoryFile{
		Name: s.Name, Login: s.Login, SudoPasswordFile: fileSudoPassword, Nodes: s.Nodes,
	})
}

func render(name string, data any) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(files, name)
	if err != nil {
		return nil, fmt.Errorf("reading the embedded %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	return out.Bytes(), nil
}
