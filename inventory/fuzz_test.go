package inventory_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

const head = "apiVersion: kubewright.io/v1alpha1\nkind: Inventory\n"

// An inventory of any bytes is hosts that are whole, or faults that each name a line of the file.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"hosts:\n- {name: a, address: 10.0.0.1, roles: [worker]}\n",
		"hosts:\n- {name: A.b, address: h.example.com, nodeIP: 10.0.0.2, roles: [control-plane, etcd], ssh: {user: u, port: 2222, keyFile: ~/k}}\n",
		"defaults: {ssh: {password: env:P, sudo: {password: file:x}}}\ngroups: {g: {roles: [worker], labels: {a: b}, taints: [\"k=v:NoSchedule\"]}}\nhosts: [{name: a, address: 10.0.0.1, groups: [g]}]\n",
		"groups:\n  g: &g {roles: [worker]}\n  h: {<<: *g, annotations: {x: \"a\\nb\"}}\nhosts:\n- {name: a, address: 10.0.0.1, groups: [g, h]}\n",
		"hosts:\r\n- {name: a, address: \"::1\", roles: [worker]}\r\n", "hosts: [{name: a, name: a}]\n", "hosts: [\n", "hosts: \"\\u2028\"\n",
	} {
		f.Add([]byte(head + seed))
	}
	f.Add([]byte("\xef\xbb\xbf" + head))
	f.Add([]byte(head + "hosts: \xff\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, faults := inventory.Parse("i.yaml", data)
		if file == nil {
			t.Fatal("no file")
		}
		hosts, more := inventory.Resolve(file.Source())
		faults = append(faults, more...)
		checkFaults(t, data, faults)
		if len(faults) > 0 {
			return
		}
		for i, h := range hosts {
			checkHost(t, h)
			if i > 0 && hosts[i-1].Name >= h.Name {
				t.Errorf("%s comes before %s", hosts[i-1].Name, h.Name)
			}
		}
		again, faults := inventory.Resolve(reversed(file.Source()))
		if diff := cmp.Diff(shown(hosts), shown(again)); diff != "" || len(faults) > 0 {
			t.Errorf("in another order the hosts are others: %v\n%s", faults, diff)
		}
	})
}

// shown is what was made of the hosts, without their places in the file.
func shown(hosts []inventory.Placed) []string {
	var all []string
	for _, h := range hosts {
		all = append(all, fmt.Sprintf("%+v", h.Host))
	}
	return all
}

// reversed is a source with its hosts in the other order.
func reversed(s inventory.Source) inventory.Source {
	s.Hosts = slices.Clone(s.Hosts)
	slices.Reverse(s.Hosts)
	return s
}

// checkFaults checks that each fault is about a place in the file, and shown on one line.
func checkFaults(t *testing.T, data []byte, faults strict.Faults) {
	t.Helper()
	lines := 1
	for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // as YAML counts them
		lines += bytes.Count(data, []byte(end))
	}
	for _, fault := range faults {
		if fault.File != "i.yaml" || fault.Line < 1 || fault.Line > lines || fault.Column < 1 || fault.Message == "" {
			t.Errorf("%#v is not within the file (%d lines)", fault, lines)
		}
		if strings.ContainsFunc(fault.Error(), unicode.IsControl) {
			t.Errorf("a fault that is not one line of text: %q", fault.Error())
		}
	}
}

// checkHost checks what holds for a host without faults.
func checkHost(t *testing.T, h inventory.Placed) {
	t.Helper()
	if h.Name == "" || h.Name != strings.ToLower(h.Name) || len(h.Name) > 63 || h.Address == "" || !h.NodeIP.Is4() || len(h.Roles) == 0 || !slices.IsSorted(h.Roles) {
		t.Errorf("this is no host: %+v", h.Host)
	}
	if h.SSH.ConfigFile == "" && (h.SSH.User == "" || h.SSH.Port < 1) || h.SSH.Port > 65535 {
		t.Errorf("nobody can log in: %+v", h.SSH)
	}
	texts := append([]string{h.Name, h.Address, h.SSH.User, h.SSH.KeyFile, h.SSH.CertificateFile, h.SSH.ConfigFile, h.SSH.Bastion.Address, h.SSH.Bastion.User, h.SSH.Bastion.KeyFile, h.SSH.HostKey, h.SSH.Passphrase.Name, h.SSH.Password.Name, h.SSH.Sudo.Password.Name}, h.SSH.KnownHosts...)
	for key, value := range h.Labels {
		texts = append(texts, key, value)
	}
	for key := range h.Annotations { // a value may have lines
		texts = append(texts, key)
	}
	for _, taint := range h.Taints {
		texts = append(texts, taint.String())
	}
	for _, text := range texts {
		if strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%q has a control character", text)
		}
	}
}

// A reference to a secret is what was written, or is refused without a word of it: it may be
// the secret itself.
func FuzzRef(f *testing.F) {
	for _, seed := range []string{"", "env:A", "env:", "env:${A}", "env:a b", "file:", "file:x", "file:a\nb", "hunter2hunter2", "hunter2:env:A", "ENV:A", "vault:x/y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var ref inventory.Ref
		err := ref.UnmarshalText([]byte(text))
		if err == nil {
			if ref.String() != text || ref.IsZero() {
				t.Errorf("%q is read as %+v", text, ref)
			}
			return
		}
		const plain = "a secret in plain text is refused: put it into an environment variable or a file, and write env:NAME or file:PATH here" +
			" a reference to a secret must not be empty: write env:NAME or file:PATH"
		source, _, _ := strings.Cut(text, ":")
		if source != inventory.RefEnv && text != "" && strings.Contains(err.Error(), text) && !strings.Contains(plain, text) {
			t.Errorf("the error repeats the text: %v", err)
		}
		if !ref.IsZero() {
			t.Errorf("%q is refused and read as %+v", text, ref)
		}
	})
}

// A taint is written as it was read, or is refused.
func FuzzTaint(f *testing.F) {
	for _, seed := range []string{"k=v:NoSchedule", "k:NoExecute", "example.com/k=:PreferNoSchedule", "k", "k:noschedule", "k=a=b:NoSchedule", "=:NoSchedule", "k=v:x:NoSchedule", "k\n:NoSchedule"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var taint, again inventory.Taint
		if err := taint.UnmarshalText([]byte(text)); err != nil {
			if taint != (inventory.Taint{}) {
				t.Errorf("%q is refused and read as %+v", text, taint)
			}
			return
		}
		if written := taint.String(); written != text && written != strings.Replace(text, "=:", ":", 1) {
			t.Errorf("%q is written as %q", text, written)
		}
		if err := again.UnmarshalText([]byte(taint.String())); err != nil || again != taint {
			t.Errorf("%q is read again as %+v, %v", taint, again, err)
		}
	})
}

// A password that somebody writes where a reference to it belongs is not in any fault, whatever
// YAML makes of it.
func FuzzPasswordInTheFile(f *testing.F) {
	for _, around := range [][2]string{
		{"", ""}, {"*", ""}, {"&", " x"}, {"!", ""}, {"!!", " x"}, {"[", "]"}, {"[", ""}, {"{", "}"}, {"{a: ", "}"}, {"\"", "\""}, {"\"", ""}, {"'", ""}, {"%", ""}, {"@", ""}, {"`", ""},
		{"|", ""}, {">", ""}, {"- ", ""}, {"? ", ""}, {"a: ", ""}, {"u:", "@h"}, {"https://u:", "@h/x"}, {"env ", ""}, {"\"\\x", "\""}, {"1", ""}, {"0x", ""}, {"\t", ""}, {"", " #x"}, {"", "\x00"}, {"", "\xff"},
	} {
		f.Add(around[0], around[1])
	}
	const password = "hunter2"
	f.Fuzz(func(t *testing.T, before, after string) {
		switch {
		case strings.ContainsAny(before+after, "\n\r\u0085\u2028\u2029"):
			t.Skip("another line is another key")
		case strings.Contains(before, inventory.RefEnv+":"), strings.Contains(before, inventory.RefFile+":"):
			t.Skip("the name of a variable or a file may be shown")
		}
		for _, key := range []string{"password", "passphrase"} {
			data := head + "hosts:\n- name: a\n  address: 10.0.0.1\n  roles: [worker]\n  ssh:\n    keyFile: k\n    " + key + ": " + before + password + after + "\n"
			file, faults := inventory.Parse("i.yaml", []byte(data))
			_, more := inventory.Resolve(file.Source())
			for _, fault := range append(faults, more...) {
				if strings.Contains(fault.Error(), password) {
					t.Errorf("%s: %q: %v", key, before+password+after, fault)
				}
			}
		}
	})
}
