package templates

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func keepalivedData() KeepalivedData {
	return KeepalivedData{
		Interface: "eth0", Address: addr("10.111.0.10"), VIP: addr("10.111.0.100"),
		Peers:    []netip.Addr{addr("10.111.0.12"), addr("10.111.0.11")},
		RouterID: 51, Priority: 150, APIPort: 6443, CAPath: "/etc/kubernetes/pki/ca.crt",
	}
}

func keepalivedIPv6() KeepalivedData {
	d := keepalivedData()
	d.Address, d.VIP, d.Peers = addr("fd00::10"), addr("fd00::100"), []netip.Addr{addr("fd00::11")}
	return d
}

// keepalivedAlone has the one control plane there is.
func keepalivedAlone() KeepalivedData {
	d := keepalivedData()
	d.Peers = nil
	return d
}

func TestKeepalivedConfigIgnoresTheOrder(t *testing.T) {
	must := mustRender(t)
	d := keepalivedData()
	want := must(KeepalivedConfig(d))
	slices.Reverse(d.Peers)
	if got := must(KeepalivedConfig(d)); !bytes.Equal(got, want) {
		t.Errorf("another order is another configuration:\n%s", got)
	}
}

func TestKeepalivedRefuses(t *testing.T) {
	for want, change := range map[string]func(*KeepalivedData){
		`"" is not the name of a network`:      func(d *KeepalivedData) { d.Interface = "" },
		`"eth0 {" is not the name`:             func(d *KeepalivedData) { d.Interface = "eth0 {" },
		"router ID 0":                          func(d *KeepalivedData) { d.RouterID = 0 },
		"router ID 256":                        func(d *KeepalivedData) { d.RouterID = 256 },
		"priority 0":                           func(d *KeepalivedData) { d.Priority = 0 },
		"priority 255":                         func(d *KeepalivedData) { d.Priority = 255 },
		"0 is not a port":                      func(d *KeepalivedData) { d.APIPort = 0 },
		"not an absolute path":                 func(d *KeepalivedData) { d.CAPath = "/ca.crt; reboot" },
		"not an address a node":                func(d *KeepalivedData) { d.Address = netip.Addr{} },
		"10.111.0.100 is there twice":          func(d *KeepalivedData) { d.Address = d.VIP },
		"10.111.0.11 is there twice":           func(d *KeepalivedData) { d.Peers[0] = d.Peers[1] },
		"10.111.0.10 is there twice":           func(d *KeepalivedData) { d.Peers[0] = d.Address },
		"10.111.0.100 and fd00::1 are not of":  func(d *KeepalivedData) { d.Peers[0] = addr("fd00::1") },
		"fd00::1 and 10.111.0.10 are not of o": func(d *KeepalivedData) { d.VIP = addr("fd00::1") },
	} {
		for _, renderer := range []func(KeepalivedData) ([]byte, error){KeepalivedConfig, KeepalivedCheck} {
			d := keepalivedData()
			change(&d)
			if _, err := renderer(d); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "keepalived: ") {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	}
}

// TestKeepalivedReadsItsConfig: alone, with peers, and with IPv6. keepalived refuses interfaces and
// scripts that are not there, so these are of this machine.
func TestKeepalivedReadsItsConfig(t *testing.T) {
	binary, err := exec.LookPath("keepalived")
	if err != nil {
		t.Skip("no keepalived on this machine: the configuration is not read by the program it is for (apt-get install keepalived)")
	}
	if os.Getuid() != 0 {
		t.Skip("not root: keepalived refuses every script, as it would run with somebody else's rights")
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(interfaces, func(i net.Interface) bool { return i.Flags&(net.FlagLoopback|net.FlagMulticast) == net.FlagMulticast })
	if i < 0 {
		t.Skip("no network on this machine: keepalived refuses the loopback")
	}
	for name, d := range map[string]KeepalivedData{"peers": keepalivedData(), "alone": keepalivedAlone(), "IPv6": keepalivedIPv6()} {
		d.Interface = interfaces[i].Name
		config := strings.ReplaceAll(string(mustRender(t)(KeepalivedConfig(d))), KeepalivedCheckPath, "/bin/true")
		cmd := exec.CommandContext(t.Context(), binary, "--config-test", "--use-file", writeTemp(t, "keepalived.conf", []byte(config)))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestKeepalivedCheck runs the script against an API server that answers so or so.
func TestKeepalivedCheck(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl on this machine: the check of keepalived is not run (apt-get install openssl)")
	}
	for name, test := range map[string]struct {
		status  int
		foreign bool
		want    bool
	}{
		"ready":             {status: http.StatusOK, want: true},
		"not authenticated": {status: http.StatusUnauthorized, want: true},
		"not allowed":       {status: http.StatusForbidden, want: true},
		"not ready":         {status: http.StatusInternalServerError},
		"moved":             {status: http.StatusTemporaryRedirect},
		"of somebody else":  {status: http.StatusOK, foreign: true},
		"without TLS":       {status: -1},
		"gone":              {},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/readyz" {
					w.WriteHeader(test.status)
				}
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			if test.status < 0 {
				server.Start()
			} else {
				server.StartTLS()
			}
			defer server.Close()
			ca := foreignCA(t)
			if !test.foreign && server.Certificate() != nil {
				ca = writeCA(t, server.Certificate().Raw)
			}
			at := netip.MustParseAddrPort(server.Listener.Addr().String())
			d := keepalivedData()
			d.Address, d.APIPort, d.CAPath = at.Addr(), int(at.Port()), ca
			if test.status == 0 {
				server.Close()
			}
			config := writeTemp(t, "keepalived.conf", []byte("one"))
			check := checkScript(t, d, config)
			for _, round := range []struct{ config, want string }{{"one", "reload\n"}, {"one", ""}, {"two", "reload\n"}, {"two", ""}} {
				if err := os.WriteFile(config, []byte(round.config), 0o600); err != nil {
					t.Fatal(err)
				}
				out, err := exec.CommandContext(t.Context(), "sh", check).CombinedOutput()
				if (err == nil) != test.want || string(out) != round.want {
					t.Errorf("%v, want success: %v; with the configuration %q, %q was done, want %q", err, test.want, round.config, out, round.want)
				}
			}
		})
	}
}

// checkScript is the script, for a configuration of the test. It says reload in place of a signal to the
// first process, which is keepalived in its container only.
func checkScript(t *testing.T, d KeepalivedData, config string) string {
	t.Helper()
	text := string(mustRender(t)(KeepalivedCheck(d)))
	for _, part := range []struct{ old, now string }{
		{"kill -HUP 1\n", "echo reload\n"}, {KeepalivedConfigPath, config}, {keepalivedReadPath, config + ".read"},
	} {
		if !strings.Contains(text, part.old) {
			t.Fatalf("%q is not in the script:\n%s", part.old, text)
		}
		text = strings.ReplaceAll(text, part.old, part.now)
	}
	return writeTemp(t, "check.sh", []byte(text))
}

// TestBalancersHaveFewPrivileges: HAProxy has none at all, keepalived those of the network and,
// without which it never notices that the API server is gone, SETGID.
func TestBalancersHaveFewPrivileges(t *testing.T) {
	h, hErr := HAProxy(HAProxyPodData{Image: "haproxy:1", HealthPort: 7444, InputsDigest: "sha256:h"})
	k, kErr := Keepalived(KeepalivedPodData{Image: "keepalived:1", InputsDigest: "sha256:k"})
	for _, test := range []struct {
		pod  *corev1.Pod
		user int64
		add  []corev1.Capability
		tier string
	}{
		{pod(t, "haproxy", h, hErr), 99, nil, "node"},
		{pod(t, "keepalived", k, kErr), 0, []corev1.Capability{"NET_ADMIN", "NET_BROADCAST", "NET_RAW", "SETGID"}, "control-plane"},
	} {
		c := test.pod.Spec.Containers[0]
		s := c.SecurityContext
		if *s.RunAsUser != test.user || *s.AllowPrivilegeEscalation || (s.RunAsNonRoot != nil) != (test.user != 0) {
			t.Errorf("%s: %+v", c.Name, s)
		}
		want := &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: test.add}
		if diff := cmp.Diff(want, s.Capabilities); diff != "" {
			t.Errorf("%s:\n%s", c.Name, diff)
		}
		for _, m := range c.VolumeMounts {
			if !m.ReadOnly {
				t.Errorf("%s may write to %s", c.Name, m.MountPath)
			}
		}
		if test.pod.Annotations[InputsDigestAnnotation] == "" || test.pod.Labels["tier"] != test.tier || !test.pod.Spec.HostNetwork {
			t.Errorf("%s: annotations %v, labels %v", c.Name, test.pod.Annotations, test.pod.Labels)
		}
	}
}
