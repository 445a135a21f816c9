package terraform

import (
	"maps"
	"slices"
	"strconv"

	"kubewright/inventory"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// The outputs that KubeOne reads (its API version v1beta3).
const (
	kubeOneHosts   = "kubeone_hosts"
	kubeOneStatic  = "kubeone_static_workers"
	kubeOneAPI     = "kubeone_api"
	kubeOneWorkers = "kubeone_workers"
)

func kubeOneOutputs() []string {
	return []string{kubeOneHosts, kubeOneStatic, kubeOneAPI, kubeOneWorkers}
}

// kubeOneDocument is what is decoded of KubeOne's outputs.
type kubeOneDocument struct {
	Hosts struct {
		Output `yaml:",inline"`
		Value  struct {
			ControlPlane kubeOneControlPlane `yaml:"control_plane" rule:"required"`
		} `yaml:"value"`
	} `yaml:"kubeone_hosts"`
	Static struct {
		Output `yaml:",inline"`
		Value  map[string]kubeOneMachines `yaml:"value"`
	} `yaml:"kubeone_static_workers"`
	API struct {
		Output `yaml:",inline"`
		Value  struct {
			Endpoint string   `yaml:"endpoint"`
			Names    []string `yaml:"apiserver_alternative_names"`
		} `yaml:"value"`
	} `yaml:"kubeone_api"`
	Workers struct {
		Output `yaml:",inline"`
		Value  map[string]any `yaml:"value"`
	} `yaml:"kubeone_workers"`
}

// kubeOneMachines describes machines of one kind: lists that belong together by index.
type kubeOneMachines struct {
	PublicAddress  []string          `yaml:"public_address"`
	PrivateAddress []string          `yaml:"private_address"`
	Hostnames      []string          `yaml:"hostnames"`
	User           *string           `yaml:"ssh_user"`
	Port           *int              `yaml:"ssh_port" rule:"min=1,max=65535"`
	PrivateKeyFile *string           `yaml:"ssh_private_key_file"`
	AgentSocket    *string           `yaml:"ssh_agent_socket"`
	CertFile       *string           `yaml:"ssh_cert_file"`
	Bastion        *string           `yaml:"bastion"`
	BastionPort    *int              `yaml:"bastion_port" rule:"min=1,max=65535"`
	BastionUser    *string           `yaml:"bastion_user"`
	BastionHostKey *string           `yaml:"bastion_host_key"`
	BastionKeyFile *string           `yaml:"bastion_private_key_file"`
	Kubelet        map[string]any    `yaml:"kubelet"`
	Labels         map[string]string `yaml:"labels"`
	Annotations    map[string]string `yaml:"annotations" rule:"multiline"`
	// These are KubeOne's, and mean nothing here: the system is asked for what it is, and host keys
	// come from known_hosts.
	IPv6Addresses   any `yaml:"ipv6_addresses"`
	OperatingSystem any `yaml:"operating_system"`
	HostKeys        any `yaml:"ssh_hosts_keys"`
}

// kubeOneControlPlane are the control planes, and things KubeOne wants to know of the cluster.
type kubeOneControlPlane struct {
	Machines kubeOneMachines `yaml:",inline"`
	Untaint  bool            `yaml:"untaint"`
	// These are KubeOne's, and mean nothing here: the cluster file has the name, no provider's
	// controller is installed, and there is no leader.
	ClusterName    any `yaml:"cluster_name"`
	CloudProvider  any `yaml:"cloud_provider"`
	LeaderIP       any `yaml:"leader_ip"`
	NetworkID      any `yaml:"network_id"`
	VAppName       any `yaml:"vapp_name"`
	StorageProfile any `yaml:"storage_profile"`
}

// kubeOneReader makes an inventory of KubeOne's outputs.
type kubeOneReader struct {
	check strict.Checker // of the outputs
	hosts []inventory.HostSpec
	// origins has the place in the outputs from which a value of the inventory was taken.
	origins map[string]strict.Path
}

func readKubeOne(name string, data []byte) (Hosts, strict.Faults) {
	var d kubeOneDocument
	doc, faults := decode(name, data, &d)
	r := &kubeOneReader{check: strict.Checker{Doc: doc}, origins: map[string]strict.Path{}}
	roles := []inventory.Role{inventory.RoleControlPlane}
	if d.Hosts.Value.ControlPlane.Untaint {
		roles = append(roles, inventory.RoleWorker)
	}
	r.machines(strict.At(kubeOneHosts, "value", "control_plane"), d.Hosts.Value.ControlPlane.Machines, roles, "")
	groups := map[string]inventory.GroupSpec{}
	for _, group := range slices.Sorted(maps.Keys(d.Static.Value)) {
		at := strict.At(kubeOneStatic, "value", group)
		groups[group] = inventory.GroupSpec{}
		r.origins[strict.At("groups", group).String()] = at
		r.machines(at, d.Static.Value[group], []inventory.Role{inventory.RoleWorker}, group)
	}
	api := strict.At(kubeOneAPI, "value")
	r.origins["hosts"] = strict.At(kubeOneHosts, "value")
	r.origins["controlPlane.endpoint"] = api.Key("endpoint")
	r.origins["controlPlane.certSANs"] = api.Key("apiserver_alternative_names")
	for i := range d.API.Value.Names {
		r.origins[strict.At("controlPlane", "certSANs").Index(i).String()] = api.Key("apiserver_alternative_names").Index(i)
	}
	var warnings strict.Faults
	if len(d.Workers.Value) > 0 {
		warnings = append(warnings, doc.Fault(strict.At(kubeOneWorkers), "describes machines that KubeOne's machine-controller would make; "+
			"they are not in the cluster: workers are the machines of "+kubeOneStatic, ""))
	}
	if faults = append(faults, r.check.Faults...); len(faults) > 0 {
		return Hosts{Warnings: warnings}, faults // hosts may be missing for want of an item
	}
	return Hosts{
		Source: inventory.Source{Doc: doc.Elsewhere(r.origin), Groups: groups, Hosts: r.hosts},
		Access: spec.Access{Endpoint: d.API.Value.Endpoint, CertSANs: d.API.Value.Names}, AccessAt: strict.At("controlPlane"),
		Warnings: warnings,
	}, nil
}

// origin translates a path in the inventory into the one it was taken from.
func (r *kubeOneReader) origin(at strict.Path) strict.Path {
	if from, ok := r.origins[at.String()]; ok {
		return from
	}
	up, last, ok := at.Split()
	if !ok {
		return at
	}
	return last(r.origin(up))
}

// machines adds the hosts of one kind.
func (r *kubeOneReader) machines(at strict.Path, m kubeOneMachines, roles []inventory.Role, group string) {
	r.unsupported(at, m)
	addresses, key := m.PublicAddress, "public_address"
	if len(addresses) == 0 {
		addresses, key = m.PrivateAddress, "private_address"
	}
	if len(addresses) == 0 && !r.check.Doc.BrokenBelow(at) {
		r.check.Refuse(at, "has neither public_address nor private_address: "+
			"apply the Terraform configuration first, or run kubewright apply with --terraform-apply")
	}
	each := column{key, len(addresses)}
	r.sameLength(at, column{"hostnames", len(m.Hostnames)}, each)
	if len(m.PrivateAddress) > 0 {
		r.sameLength(at, column{"private_address", len(m.PrivateAddress)}, each)
	}
	for i := range min(len(addresses), len(m.Hostnames)) {
		spec := m.host(i, addresses[i])
		spec.Roles = roles
		if group != "" {
			spec.Groups = []string{group}
		}
		r.place(at, key, i)
		if spec.NodeIP != "" {
			r.origins[r.next().Key("nodeIP").String()] = at.Key("private_address").Index(i)
		}
		r.hosts = append(r.hosts, spec)
	}
}

// column is a list of KubeOne's, by its key and the number of its items.
type column struct {
	key   string
	items int
}

// sameLength refuses a list that has not an item for each address.
func (r *kubeOneReader) sameLength(at strict.Path, list, addresses column) {
	if list.items == addresses.items || r.check.Doc.BrokenBelow(at.Key(addresses.key)) || r.check.Doc.BrokenBelow(at.Key(list.key)) {
		return
	}
	count := strconv.Itoa(list.items) + " items"
	if list.items == 1 {
		count = "1 item"
	}
	r.check.Refuse(at.Key(list.key), "has %s, but %s has %d: the lists belong together by index", count, addresses.key, addresses.items)
}

// next is the path of the next host in the inventory.
func (r *kubeOneReader) next() strict.Path { return strict.At("hosts").Index(len(r.hosts)) }

// place notes where the next host comes from: the i-th machine at the path, reached at the i-th
// address of the key.
func (r *kubeOneReader) place(at strict.Path, key string, i int) {
	host := r.next()
	r.origins[host.String()] = at
	r.origins[host.Key("name").String()] = at.Key("hostnames").Index(i)
	r.origins[host.Key("address").String()] = at.Key(key).Index(i)
	r.origins[host.Key("nodeIP").String()] = at.Key(key).Index(i)
	for to, from := range map[string]string{
		"user": "ssh_user", "port": "ssh_port", "keyFile": "ssh_private_key_file", "certificateFile": "ssh_cert_file", "agent": "ssh_agent_socket",
	} {
		r.origins[host.Key("ssh", to).String()] = at.Key(from)
	}
	for to, from := range map[string]string{
		"address": "bastion", "user": "bastion_user", "port": "bastion_port", "keyFile": "bastion_private_key_file", "hostKey": "bastion_host_key",
	} {
		r.origins[host.Key("ssh", "bastion", to).String()] = at.Key(from)
	}
}

// host is the i-th machine as a host.
func (m kubeOneMachines) host(i int, address string) inventory.HostSpec {
	spec := inventory.HostSpec{
		Name: m.Hostnames[i], Address: address, Labels: m.Labels, Annotations: m.Annotations,
		SSH: inventory.SSHSpec{User: given(m.User), Port: m.Port, KeyFile: given(m.PrivateKeyFile), CertificateFile: given(m.CertFile)},
	}
	if given(m.Bastion) != nil { // without one, the rest has defaults in KubeOne's modules
		spec.SSH.Bastion = inventory.BastionSpec{
			Address: m.Bastion, User: given(m.BastionUser), Port: m.BastionPort,
			KeyFile: given(m.BastionKeyFile), HostKey: given(m.BastionHostKey),
		}
	}
	if i < len(m.PrivateAddress) {
		spec.NodeIP = m.PrivateAddress[i]
	}
	if given(m.AgentSocket) != nil {
		agent := true
		spec.SSH.Agent = &agent
	}
	return spec
}

// unsupported refuses what the hosts would need to be as KubeOne would have made them.
func (r *kubeOneReader) unsupported(at strict.Path, m kubeOneMachines) {
	for key, value := range m.Kubelet {
		if value != nil {
			r.check.Refuse(at.Key("kubelet", key), "settings of the kubelet stand in the cluster file: write them to spec.kubelet.config there")
		}
	}
}

// given is nil for an empty text, which stands for "not set" in KubeOne's outputs.
func given(text *string) *string {
	if text == nil || *text == "" {
		return nil
	}
	return text
}
