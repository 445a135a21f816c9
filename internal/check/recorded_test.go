package check

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/facts"
)

var update = flag.Bool("update", false, "write golden files")

// TestRecordedHosts runs the checks on hosts as they were recorded, each as the
// only control plane of a cluster.
func TestRecordedHosts(t *testing.T) {
	for name, ip := range map[string]string{
		"debian12-container":    "10.111.0.10",
		"ubuntu2404-resolved":   "192.168.122.69",
		"rocky9-foreign-worker": "192.168.100.7",
		"restricted":            "10.0.0.5",
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("..", "facts", "testdata", name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			f, err := facts.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			host := Host{Name: "cp1", NodeIP: netip.MustParseAddr(ip), ControlPlane: true, Etcd: true, Worker: true}
			results, err := Preflight(World{
				ClusterName: "lab", Version: "1.37.2", VXLANPort: 4789, ProxyMode: "iptables",
				PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
				Hosts: []Host{host}, Facts: map[string]facts.Facts{"cp1": f},
				ClockSkew: map[string]time.Duration{"cp1": 0},
			})
			if err != nil {
				t.Fatal(err)
			}
			got, golden := Text(results), filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
