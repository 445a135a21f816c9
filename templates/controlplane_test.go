package templates

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func pod(t *testing.T, name string, out []byte, err error) *corev1.Pod {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	p, ok := decodeStrict(t, out)["Pod kube-system/"+name].(*corev1.Pod)
	if !ok {
		t.Fatalf("no pod %s in:\n%s", name, out)
	}
	return p
}

func controlPlane(t *testing.T) []*corev1.Pod {
	e, eErr := Etcd(etcdData())
	a, aErr := KubeAPIServer(apiServerData())
	c, cErr := KubeControllerManager(controllerManagerData())
	s, sErr := KubeScheduler(schedulerData())
	return []*corev1.Pod{
		pod(t, "etcd", e, eErr), pod(t, "kube-apiserver", a, aErr),
		pod(t, "kube-controller-manager", c, cErr), pod(t, "kube-scheduler", s, sErr),
	}
}

// TestStaticPodsAreWhatTheKubeletAccepts holds the rules that static pods have beyond their type:
// a static pod may not refer to other objects, every mount has its volume, and the four together
// leave room on two cores.
func TestStaticPodsAreWhatTheKubeletAccepts(t *testing.T) {
	var requested resource.Quantity
	for _, p := range controlPlane(t) {
		c := p.Spec.Containers[0]
		volumes := map[string]bool{}
		for _, v := range p.Spec.Volumes {
			if v.HostPath == nil {
				t.Errorf("%s: volume %s is not of the host", p.Name, v.Name)
			}
			volumes[v.Name] = true
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s: mount %s has no volume", p.Name, m.Name)
			}
		}
		if !p.Spec.HostNetwork || p.Spec.PriorityClassName != "system-node-critical" || *p.Spec.Priority != 2000001000 {
			t.Errorf("%s: host network %v, priority %v %s", p.Name, p.Spec.HostNetwork, *p.Spec.Priority, p.Spec.PriorityClassName)
		}
		if p.Labels["component"] != p.Name || p.Labels["tier"] != "control-plane" {
			t.Errorf("%s: labels %v", p.Name, p.Labels)
		}
		if p.Annotations[InputsDigestAnnotation] == "" {
			t.Errorf("%s: no digest of its inputs, so it would not restart for new certificates", p.Name)
		}
		for kind, probe := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "startup": c.StartupProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.StrVal != c.Ports[0].Name {
				t.Errorf("%s: %s probe %+v", p.Name, kind, probe)
			}
		}
		if s := c.StartupProbe; s.PeriodSeconds*s.FailureThreshold != 240 {
			t.Errorf("%s: has %d s to start, want 240", p.Name, s.PeriodSeconds*s.FailureThreshold)
		}
		requested.Add(c.Resources.Requests[corev1.ResourceCPU])
	}
	if requested.MilliValue() > 700 {
		t.Errorf("the control plane requests %s CPU", requested.String())
	}
}

// TestRemovedEtcdFlags: etcd 3.7 exits on flags it does not know.
func TestRemovedEtcdFlags(t *testing.T) {
	for _, arg := range controlPlane(t)[0].Spec.Containers[0].Command {
		if strings.Contains(arg, "experimental") {
			t.Errorf("etcd 3.7 has no %s", arg)
		}
	}
}

// TestIPv6 finds addresses that were joined with a port without brackets, and loopback addresses
// of the wrong family.
func TestIPv6(t *testing.T) {
	e, a := etcdData(), apiServerData()
	e.Address, e.InitialCluster = addr("fd00::1"), "cp1=https://[fd00::1]:2380"
	a.Address = addr("fd00::1")
	eOut, eErr := Etcd(e)
	aOut, aErr := KubeAPIServer(a)
	for _, p := range []*corev1.Pod{pod(t, "etcd", eOut, eErr), pod(t, "kube-apiserver", aOut, aErr)} {
		for _, arg := range p.Spec.Containers[0].Command {
			_, value, _ := strings.Cut(arg, "=")
			for part := range strings.SplitSeq(value, ",") {
				_, part, _ = strings.Cut(strings.TrimPrefix(part, "cp1="), "://")
				if !strings.Contains(part, ":") {
					continue
				}
				if _, err := netip.ParseAddrPort(part); err != nil {
					t.Errorf("%s: %v", arg, err)
				}
			}
			if strings.Contains(arg, "127.0.0.1") {
				t.Errorf("%s: IPv4 loopback beside an IPv6 address", arg)
			}
		}
	}
}

func TestProbesFollowTheUsersAddress(t *testing.T) {
	for _, test := range []struct{ bind, want string }{
		{"", "127.0.0.1"}, {"10.1.2.3", "10.1.2.3"}, {"0.0.0.0", ""}, {"::", ""},
	} {
		d := controllerManagerData()
		if test.bind != "" {
			d.ExtraArgs = map[string]string{"bind-address": test.bind}
		}
		out, err := KubeControllerManager(d)
		p := pod(t, "kube-controller-manager", out, err)
		if got := p.Spec.Containers[0].LivenessProbe.HTTPGet.Host; got != test.want {
			t.Errorf("bind-address %q: probed at %q, want %q", test.bind, got, test.want)
		}
	}
	d := etcdData()
	d.ExtraArgs = map[string]string{"listen-metrics-urls": "https://[fd00::9]:4001,http://127.0.0.1:2381"}
	out, err := Etcd(d)
	get := pod(t, "etcd", out, err).Spec.Containers[0].LivenessProbe.HTTPGet
	if get.Host != "fd00::9" || get.Scheme != "HTTPS" || !strings.Contains(string(out), "containerPort: 4001") {
		t.Errorf("etcd is probed at %+v", get)
	}
}

// TestStructuredAuthorization: the API server refuses a mode beside a configuration file.
func TestStructuredAuthorization(t *testing.T) {
	for extra, want := range map[string]bool{"authorization-config": false, "audit-log-path": true} {
		d := apiServerData()
		d.ExtraArgs = map[string]string{extra: "/x"}
		out, err := KubeAPIServer(d)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(out), "--authorization-mode="); got != want {
			t.Errorf("with %s: authorization-mode is set: %v, want %v", extra, got, want)
		}
	}
}

func TestVolumesReplaceAndAdd(t *testing.T) {
	d := apiServerData()
	d.ExtraVolumes = []HostPath{{Name: "ca-certs", HostPath: "/my/ca", MountPath: "/etc/ssl/certs", ReadOnly: true}}
	out, err := KubeAPIServer(d)
	p := pod(t, "kube-apiserver", out, err)
	var paths []string
	for _, v := range p.Spec.Volumes {
		paths = append(paths, v.HostPath.Path)
	}
	if got := strings.Join(paths, " "); got != "/my/ca /etc/kubernetes/pki /usr/share/ca-certificates" {
		t.Errorf("volumes %s", got)
	}
}

func TestControlPlaneRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		render func() ([]byte, error)
		want   string
	}{
		"etcd without address":   {func() ([]byte, error) { d := etcdData(); d.Address = netip.Addr{}; return Etcd(d) }, "not an address"},
		"etcd on 0.0.0.0":        {func() ([]byte, error) { d := etcdData(); d.Address = addr("0.0.0.0"); return Etcd(d) }, "not an address"},
		"etcd with a zone":       {func() ([]byte, error) { d := etcdData(); d.Address = addr("fe80::1%eth0"); return Etcd(d) }, "not an address"},
		"etcd not a member":      {func() ([]byte, error) { d := etcdData(); d.NodeName = "cp9"; return Etcd(d) }, "does not have the member"},
		"etcd unit not a member": {func() ([]byte, error) { d := etcdData(); d.NodeName = "cp9"; return EtcdUnit(d) }, "does not have the member"},
		"etcd unit with a bad flag": {func() ([]byte, error) {
			d := etcdData()
			d.ExtraArgs = map[string]string{"data-dir": "/x"}
			return EtcdUnit(d)
		}, "mount a disk"},
		"etcd metrics by name": {func() ([]byte, error) {
			d := etcdData()
			d.ExtraArgs = map[string]string{"listen-metrics-urls": "http://localhost:2381"}
			return Etcd(d)
		}, "listen-metrics-urls"},
		"API server port": {func() ([]byte, error) { d := apiServerData(); d.Port = 0; return KubeAPIServer(d) }, "port 0"},
		"API server without services": {func() ([]byte, error) {
			d := apiServerData()
			d.ServiceCIDR = netip.Prefix{}
			return KubeAPIServer(d)
		}, "service CIDR"},
		"controller manager without pods": {func() ([]byte, error) {
			d := controllerManagerData()
			d.PodCIDR = netip.Prefix{}
			return KubeControllerManager(d)
		}, "CIDR"},
		"relative volume": {func() ([]byte, error) {
			d := apiServerData()
			d.ExtraVolumes = []HostPath{{Name: "x", HostPath: "etc", MountPath: "/etc"}}
			return KubeAPIServer(d)
		}, "absolute"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := test.render(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
