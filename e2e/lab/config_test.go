package lab

import (
	"net/netip"
	"strings"
	"testing"

	"kubewright/internal/fault"
)

// testConfig is the default lab, in folders of the test.
func testConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		Name: DefaultName, Dir: t.TempDir(), ControlPlanes: 1, Workers: 2,
		Subnet: netip.MustParsePrefix(DefaultSubnet), Login: LoginRoot,
		KubernetesVersion: DefaultKubernetesVersion, CacheDir: t.TempDir(),
	}
}

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		want   string // part of the error; empty for none
	}{
		"defaults":                      {func(*Config) {}, ""},
		"fifty nodes":                   {func(c *Config) { c.Workers = 49 }, ""},
		"name with an upper-case":       {func(c *Config) { c.Name = "Lab" }, `--name "Lab"`},
		"name that ends in a dash":      {func(c *Config) { c.Name = "lab-" }, `--name "lab-"`},
		"name that makes long names":    {func(c *Config) { c.Name = strings.Repeat("a", 21) }, "--name"},
		"no name":                       {func(c *Config) { c.Name = "" }, `--name ""`},
		"no folder":                     {func(c *Config) { c.Dir = "" }, "--dir"},
		"no control plane":              {func(c *Config) { c.ControlPlanes = 0 }, "--control-planes 0"},
		"fifty with those of etcd":      {func(c *Config) { c.Etcd, c.Workers = 3, 46 }, ""},
		"fifty-one with those of etcd":  {func(c *Config) { c.Etcd, c.Workers = 3, 47 }, "51 nodes asked for"},
		"negative hosts of etcd":        {func(c *Config) { c.Etcd = -1 }, "--etcd -1"},
		"negative workers":              {func(c *Config) { c.Workers = -1 }, "--workers -1"},
		"fifty-one nodes":               {func(c *Config) { c.Workers = 50 }, "51 nodes asked for: a lab has at most 50"},
		"unknown login":                 {func(c *Config) { c.Login = "su" }, `--login "su": want root, sudo or sudo-password`},
		"version with a v":              {func(c *Config) { c.KubernetesVersion = "v1.37.2" }, `--kubernetes-version "v1.37.2"`},
		"version without a patch level": {func(c *Config) { c.KubernetesVersion = "1.37" }, "--kubernetes-version"},
		"relative artifacts":            {func(c *Config) { c.Artifacts = "artifacts" }, "--artifacts"},
		"relative cache":                {func(c *Config) { c.CacheDir = "cache" }, "KUBEWRIGHT_CACHE"},
		"no subnet":                     {func(c *Config) { c.Subnet = netip.Prefix{} }, "want an IPv4 network"},
		"IPv6":                          {func(c *Config) { c.Subnet = netip.MustParsePrefix("fd00::/64") }, "want an IPv4 network"},
		"host bits": {func(c *Config) { c.Subnet = netip.MustParsePrefix("10.111.0.1/24") },
			"did you mean 10.111.0.0/24?"},
		"too small a subnet": {func(c *Config) { c.Subnet = netip.MustParsePrefix("10.111.0.0/29") }, "no room for a node"},
		"subnet of pods":     {func(c *Config) { c.Subnet = netip.MustParsePrefix("10.244.3.0/24") }, "overlaps 10.244.0.0/16"},
		"subnet of services": {func(c *Config) { c.Subnet = netip.MustParsePrefix("10.96.0.0/24") }, "overlaps 10.96.0.0/16"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			tc.change(&cfg)
			err := cfg.Validate()
			if tc.want == "" {
				if err != nil {
					t.Errorf("error = %v, want none", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error = %v, want %q in it", err, tc.want)
			}
			if kind := fault.KindOf(err); kind != fault.BadInput {
				t.Errorf("kind = %v, want %v", kind, fault.BadInput)
			}
		})
	}
}

func TestValidateTellsAllFaultsAtOnce(t *testing.T) {
	cfg := testConfig(t)
	cfg.Name, cfg.Login, cfg.Workers = "-", "su", -1
	err := cfg.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"--name", "--login", "--workers"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error: %v", want, err)
		}
	}
}
