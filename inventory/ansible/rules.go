package ansible

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// Rule says what becomes of a variable of Ansible or Kubespray, for the reference.
type Rule struct {
	// Names are those of the variable, older ones last.
	Names []string
	// To is what it becomes: a key of a host in an inventory, or of a cluster file. Where it is
	// empty, Note says why the variable has no effect.
	To string
	// Note is what else there is to know.
	Note string

	host    func(*member, value) error
	cluster func(*importer, value) error
}

// Rules lists the variables that are understood, and those of which more is known than that
// kubewright has nothing like them.
func Rules() []Rule {
	return slices.Concat(hostRules(), clusterRules(), settledRules())
}

// verdict is an error that is not the fault of who wrote the inventory: what the variable asks for
// is left out.
type verdict struct {
	inventory.Verdict
	reason string
}

func (v verdict) Error() string { return v.reason }

func ignored(format string, args ...any) error {
	return verdict{inventory.Ignored, fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return verdict{inventory.Unsupported, fmt.Sprintf(format, args...)}
}

// hostRules are about what each host has for itself.
func hostRules() []Rule {
	return []Rule{
		{Names: []string{"ansible_host", "ansible_ssh_host"}, To: "address", Note: "without it the name of the host is its address", host: hostText("address")},
		{Names: []string{"ip"}, To: "nodeIP", host: hostText("nodeIP")},
		{Names: []string{"access_ip"}, To: "nodeIP", Note: "where there is no ip; nodes reach each other by the address that they have themselves", host: accessIP},
		{Names: []string{"kube_override_hostname"}, To: "name", host: hostText("name")},
		{Names: []string{"ansible_user", "ansible_ssh_user"}, To: "ssh.user", Note: "without it root; Ansible takes your own name", host: hostText("ssh", "user")},
		{Names: []string{"ansible_port", "ansible_ssh_port"}, To: "ssh.port", host: hostNumber("ssh", "port")},
		{Names: []string{"ansible_ssh_private_key_file", "ansible_private_key_file"}, To: "ssh.keyFile", Note: "relative to the folder you work in, as with Ansible", host: hostText("ssh", "keyFile")},
		{Names: []string{"ansible_password", "ansible_ssh_pass", "ansible_ssh_password"}, To: "ssh.password", Note: secretNote, host: secret("ssh", "password")},
		{Names: []string{"ansible_ssh_private_key_passphrase", "ansible_private_key_passphrase"}, To: "ssh.passphrase", Note: secretNote, host: secret("ssh", "passphrase")},
		{Names: []string{"ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"}, To: "ssh.sudo.password", Note: secretNote, host: secret("ssh", "sudo", "password")},
		{Names: []string{"ansible_host_key_checking", "ansible_ssh_host_key_checking"}, To: "ssh.trustOnFirstUse", Note: "when false: a host's key is accepted once, and verified from then on", host: hostKeyChecking},
		{Names: []string{"ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"}, To: "ssh.trustOnFirstUse", Note: "of `-o StrictHostKeyChecking=no` (or `accept-new`); `-o ProxyJump=HOST` (or `-J HOST`) becomes `ssh.bastion`; other options are unsupported", host: sshArgs},
		{Names: []string{"ansible_become"}, Note: "a user other than root becomes root with sudo in any case", host: become},
		{Names: []string{"ansible_become_user"}, Note: "it is root", host: only("kubewright becomes root", "root")},
		{Names: []string{"ansible_become_method"}, Note: "it is sudo", host: only("kubewright becomes root with sudo", "sudo", "ansible.builtin.sudo", "community.general.sudo")},
		{Names: []string{"ansible_connection"}, Note: "it is SSH; any other connection is refused", host: connection},
		{Names: []string{"node_labels"}, To: "labels", host: labels},
		{Names: []string{"node_taints"}, To: "taints", host: taints},
	}
}

// secretNote says what is taken in place of a secret.
//
//nolint:gosec // names places, and is no secret
const secretNote = "only as `{{ lookup('env', 'NAME') }}`, `{{ lookup('file', 'PATH') }}`, `env:NAME` or `file:PATH`; a password in plain text, or in a vault, is refused"

func hostText(keys ...string) func(*member, value) error {
	return func(m *member, v value) error {
		text, err := v.text()
		if err != nil {
			return err
		}
		m.tree.SetBelow(m.spec, m.tree.Text(text, v.origin()), keys...)
		return nil
	}
}

func hostNumber(keys ...string) func(*member, value) error {
	return func(m *member, v value) error {
		n, err := v.integer()
		if err != nil {
			return err
		}
		m.tree.SetBelow(m.spec, m.tree.Add(n, v.origin()), keys...)
		return nil
	}
}

// accessIP takes access_ip for the node IP where there is no ip. Kubespray binds to the one and has
// the others connect to the other; here both are the same.
func accessIP(m *member, v value) error {
	text, err := v.text()
	if err != nil {
		return err
	}
	own, ok := m.vars["ip"]
	if !ok || off(own.value) {
		return hostText("nodeIP")(m, v)
	}
	if ip, err := m.value(own).text(); err == nil && ip != text {
		return unsupported("differs from ip (%s), by which the nodes reach each other here", ip)
	}
	return nil
}

// secret takes over where a secret is kept; whatever else is written is refused without a word of it.
func secret(keys ...string) func(*member, value) error {
	return func(m *member, v value) error {
		ref, err := v.secret()
		if err != nil {
			return err
		}
		m.tree.SetBelow(m.spec, m.tree.Text(ref, v.origin()), keys...)
		return nil
	}
}

func hostKeyChecking(m *member, v value) error {
	check, err := v.boolean()
	if err != nil {
		return err
	}
	if check {
		return ignored("host keys are verified in any case")
	}
	return m.trust(v)
}

// trust accepts the key of a host once. Ansible would accept any key every time.
func (m *member) trust(v value) error {
	m.tree.SetBelow(m.spec, m.tree.Add(&yaml.Node{Kind: yaml.ScalarNode, Tag: tagBool, Value: "true"}, v.origin()), "ssh", "trustOnFirstUse")
	return nil
}

func sshArgs(m *member, v value) error {
	text, err := v.text()
	if err != nil {
		return err
	}
	trusted, jumps := false, false
	for words := strings.Fields(text); len(words) > 0; {
		var option string
		option, words = sshOption(words)
		key, setting, _ := strings.Cut(option, "=")
		switch strings.ToLower(key + "=" + setting) {
		case "stricthostkeychecking=no", "stricthostkeychecking=accept-new", "stricthostkeychecking=off":
			trusted = true
		case "stricthostkeychecking=yes", "userknownhostsfile=/dev/null", "controlmaster=auto", "-c=":
		case "proxyjump=" + strings.ToLower(setting):
			if !m.jump(v, setting) {
				return unsupported("one jump host is understood, as [user@]host[:port]; give an ssh_config file with the others as ssh.configFile")
			}
			jumps = true
		case "proxycommand=" + strings.ToLower(setting):
			return unsupported("name the hosts on the way with ProxyJump, here or in an ssh_config file that is given as ssh.configFile")
		default:
			if !strings.HasPrefix(strings.ToLower(key), "control") {
				return unsupported("of the options of ssh only StrictHostKeyChecking and ProxyJump are understood")
			}
		}
	}
	switch {
	case trusted:
		return m.trust(v)
	case !jumps:
		return ignored("host keys are verified in any case")
	}
	return nil
}

// sshOption takes the first option off the words of ssh's command line, as -o has it: KEYWORD=VALUE. One
// that is neither -o nor -J is as it stands there.
func sshOption(words []string) (option string, rest []string) {
	const quotes = `"'`
	first, rest := words[0], words[1:]
	if !strings.HasPrefix(first, "-o") && !strings.HasPrefix(first, "-J") {
		return strings.Trim(first, quotes), rest
	}
	option = first[2:]
	if option == "" && len(rest) > 0 {
		option, rest = rest[0], rest[1:]
	}
	option = strings.Trim(option, quotes)
	if first[1] == 'J' {
		option = "ProxyJump=" + option
	}
	return option, rest
}

// jump makes a bastion of a jump host, [user@]host[:port]; false says that it is none, or several.
func (m *member) jump(v value, written string) bool {
	user, address, named := strings.Cut(written, "@")
	if !named {
		user, address = "", written
	}
	address, port, numbered := strings.Cut(address, ":")
	if address == "" || strings.ContainsAny(address, ",[]@") || strings.Contains(port, ":") || named && user == "" || numbered && (port == "" || strings.Trim(port, "0123456789") != "") {
		return false
	}
	bastion := m.tree.Mapping(v.origin())
	m.tree.Set(bastion, "address", m.tree.Text(address, v.origin()))
	if named {
		m.tree.Set(bastion, "user", m.tree.Text(user, v.origin()))
	}
	if numbered {
		m.tree.Set(bastion, "port", m.tree.Add(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: port}, v.origin()))
	}
	m.tree.SetBelow(m.spec, bastion, "ssh", "bastion")
	return true
}

func become(_ *member, v value) error {
	yes, err := v.boolean()
	if err != nil {
		return err
	}
	if !yes {
		return ignored("a user other than root becomes root with sudo in any case")
	}
	return nil
}

// only takes a variable for what is so in any case.
func only(instead string, fits ...string) func(*member, value) error {
	return func(_ *member, v value) error {
		text, err := v.text()
		if err != nil {
			return err
		}
		if !slices.Contains(fits, text) {
			return unsupported("%s", instead)
		}
		return nil
	}
}

func connection(_ *member, v value) error {
	text, err := v.text()
	if err != nil {
		return err
	}
	switch strings.TrimPrefix(text, "ansible.builtin.") {
	case "ssh", "smart", "paramiko", "paramiko_ssh":
		return nil
	}
	return fmt.Errorf("the connection %q is not supported: every host is reached over SSH, this machine too; run sshd there and remove the variable", text)
}

// isNode reports whether the host has a node: it is no member of etcd alone.
func (m *member) isNode() bool {
	roles := strict.Get(m.spec, "roles").Content
	return len(roles) > 1 || roles[0].Value != string(inventory.RoleEtcd)
}

func labels(m *member, v value) error {
	if !m.isNode() {
		return ignored("a host that is a member of etcd alone has no node")
	}
	pairs, err := v.mapping()
	if err != nil {
		return err
	}
	for _, e := range pairs {
		text, err := m.textOf(e.value, fmt.Sprintf("the value of the label %s is not text", e.key.Value))
		if err != nil {
			return err
		}
		m.tree.SetBelow(m.spec, m.tree.Text(text, v.at(e.value)), "labels", e.key.Value)
	}
	return nil
}

func taints(m *member, v value) error {
	if !m.isNode() {
		return ignored("a host that is a member of etcd alone has no node")
	}
	items, err := v.list()
	if err != nil {
		return err
	}
	list := m.tree.List(v.origin())
	for _, item := range items {
		text, err := m.textOf(item, "a taint is written as text: key=value:Effect")
		if err != nil {
			return err
		}
		list.Content = append(list.Content, m.tree.Text(text, v.at(item)))
	}
	m.tree.Set(m.spec, "taints", list)
	return nil
}
