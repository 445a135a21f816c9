package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"kubewright/inventory"
)

// Who is a member of etcd, where API servers find it, and whether its archive is installed.
func TestTopologiesOfEtcd(t *testing.T) {
	const cp1, cp2, etcd1 = "https://10.111.0.1:2379", "https://10.111.0.2:2379", "https://10.111.0.4:2379"
	cp3, etcd2, etcd3 := "https://10.111.0.3:2379", "https://10.111.0.5:2379", "https://10.111.0.6:2379"
	tests := map[string]struct {
		hosts   string
		members string
		urls    []string
		stacked bool
	}{
		"one host":               {"cp1:control-plane,worker", "cp1", []string{cp1}, true},
		"as nobody says":         {"cp1:control-plane cp2:control-plane cp3:control-plane w1:worker", "cp1 cp2 cp3", []string{cp1, cp2, cp3}, true},
		"as all say":             {"cp1:control-plane,etcd cp2:etcd,control-plane,worker cp3:control-plane,etcd", "cp1 cp2 cp3", []string{cp1, cp2, cp3}, true},
		"one of its own":         {"cp1:control-plane cp2:control-plane etcd1:etcd", "etcd1", []string{etcd1}, false},
		"three of their own":     {"cp1:control-plane etcd1:etcd etcd2:etcd etcd3:etcd w1:worker", "etcd1 etcd2 etcd3", []string{etcd1, etcd2, etcd3}, false},
		"beside a mixed control": {"cp1:control-plane,worker etcd1:etcd", "etcd1", []string{etcd1}, false},
	}
	addresses := map[string]int{"cp1": 1, "cp2": 2, "cp3": 3, "etcd1": 4, "etcd2": 5, "etcd3": 6, "w1": 7}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var lines []string
			for host := range strings.FieldsSeq(tt.hosts) {
				name, roles, _ := strings.Cut(host, ":")
				lines = append(lines, fmt.Sprintf("- {name: %s, address: 10.111.0.%d, roles: [%s]}", name, addresses[name], roles))
			}
			c, _, err := memory{"cluster.yaml": clusterOf(lines...)}.load(t, "")
			if err != nil {
				t.Fatal(err)
			}
			var members []string
			for _, h := range c.Select(inventory.EtcdMembers) {
				members = append(members, h.Name)
			}
			if got := strings.Join(members, " "); got != tt.members || c.StackedEtcd() != tt.stacked {
				t.Errorf("members %s, stacked %v", got, c.StackedEtcd())
			}
			if got, want := fmt.Sprint(c.EtcdClientURLs()), fmt.Sprint(tt.urls); got != want {
				t.Errorf("at %s, want %s", got, want)
			}
			if _, archive := c.Release.File("etcd", "arm64"); archive == tt.stacked {
				t.Errorf("the archive of etcd is needed: %v", archive)
			}
		})
	}
}
