package cli

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/cluster"
	"kubewright/internal/bootstrap"
	"kubewright/internal/catalog"
	"kubewright/internal/check"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/kube"
	"kubewright/internal/secret"
	"kubewright/inventory"
	"kubewright/phases"
	"kubewright/templates"
)

// localFlags are the flags of commands that make the machine they run on a part of a cluster.
type localFlags struct {
	runFlags
	nodeName, nodeIP           string
	directory, mirror, digests string // of artifacts
	dryRun                     bool
	ignoreChecks               []string
}

func (f *localFlags) add(cmd *cobra.Command) {
	f.output.add(cmd)
	cmd.Flags().StringVar(&f.log, "log", "", "file for the debug log: every script that is run with its duration, secrets redacted (default: a new file below the cache folder)")
	f.addTrace(cmd)
	cmd.Flags().StringVar(&f.nodeName, "node-name", "", "the name of the node (default: the host name)")
	cmd.Flags().StringVar(&f.nodeIP, "apiserver-advertise-address", "", "the address of this machine in the network of the cluster (default: the one from which it reaches the others)")
	cmd.Flags().StringVar(&f.nodeIP, "node-ip", "", "the same, by the name that it has in inventories")
	cmd.MarkFlagsMutuallyExclusive("apiserver-advertise-address", "node-ip")
	cmd.Flags().StringVar(&f.directory, "artifacts-directory", "", "folder to take the files from that are installed (spec.artifacts.directory)")
	cmd.Flags().StringVar(&f.mirror, "artifacts-mirror", "", "URL of a web server to take them from (spec.artifacts.mirror.url)")
	cmd.MarkFlagsMutuallyExclusive("artifacts-directory", "artifacts-mirror")
	cmd.Flags().StringVar(&f.digests, "artifacts-digests", "", "file of their digests, where a site builds its own (spec.artifacts.digests)")
	cmd.Flags().StringSliceVar(&f.ignoreChecks, "ignore-preflight-errors", nil, "preflight checks whose refusal is shown and stops nothing in this run")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be changed, and change nothing")
	f.file = filepath.Join(cacheDir(), "cluster.yaml") // which there is not: beside it, learned digests are kept
}

// name is the name of the node: the one that was given, or the one that the node of this machine has.
func (f *localFlags) name() (string, error) {
	if f.nodeName != "" {
		return strings.ToLower(f.nodeName), nil
	}
	return thisNode()
}

// hostName is the name of this machine, as a node would have it.
func hostName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fault.New(fault.Other, "the name of this machine: %w", err).WithHint("give the node a name with --node-name")
	}
	return strings.ToLower(name), nil
}

// address is the address of this machine in the network of the cluster: the one that was given, or the one from
// which packets go to another, host:port. Nothing is sent there.
func (f *localFlags) address(ctx context.Context, other string) (string, error) {
	if f.nodeIP != "" {
		return f.nodeIP, nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", other)
	if err != nil {
		return "", fault.New(fault.Unreachable, "this machine has no way to %s: %w", other, err).WithHint("give its address in the network of the cluster with --node-ip")
	}
	defer func() { _ = conn.Close() }() // nothing was written
	own, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return own.Addr().Unmap().WithZone("").String(), err
}

// artifacts is where the flags say that files come from.
func (f *localFlags) artifacts() ([]cluster.Setting, error) {
	var settings []cluster.Setting
	set := func(flag, value string, keys ...string) {
		settings = append(settings, cluster.Setting{Flag: flag, Keys: append([]string{"artifacts"}, keys...), Value: value})
	}
	var err error
	absolute := func(path string) string {
		if path, err = filepath.Abs(expandHome(path)); err != nil {
			return ""
		}
		return path
	}
	if f.directory != "" {
		set("--artifacts-directory", "directory", "source")
		set("--artifacts-directory", absolute(f.directory), "directory")
		set("--artifacts-directory", "", "mirror", "url")
	}
	if f.mirror != "" {
		set("--artifacts-mirror", "mirror", "source")
		set("--artifacts-mirror", f.mirror, "mirror", "url")
		set("--artifacts-mirror", "", "directory")
	}
	if f.digests != "" {
		set("--artifacts-digests", absolute(f.digests), "digests")
	}
	return settings, err
}

// described is a document that says what a cluster is; the zero value is none.
type described struct {
	name          string
	text, digests []byte
}

// describedBy is what a cluster that runs says of itself.
func describedBy(ctx context.Context, api *kube.Client) (d described, err error) {
	object, err := api.Get(ctx, corev1.SchemeGroupVersion.WithKind("ConfigMap"), metav1.NamespaceSystem, templates.ClusterConfigMap)
	if err != nil {
		return d, err
	}
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		return d, err
	}
	d.name, d.text = kube.Name(object), []byte(data[templates.ClusterFileKey])
	if digests := data[templates.DigestsKey]; digests != "" {
		d.digests = []byte(digests)
	}
	return d, nil
}

// resolve makes the cluster of what it is described by, and of flags. here has the latter.
func (d described) resolve(here cluster.Here) (c *cluster.Cluster, warnings []string, err error) {
	releases, err := catalog.Default()
	if err != nil {
		return nil, nil, err
	}
	if here.Addons, err = addonNames(); err != nil {
		return nil, nil, err
	}
	here.Name, here.Document, here.Digests, here.Now, here.Checks = d.name, d.text, d.digests, time.Now(), check.Names()
	here.Read = func(path string) ([]byte, error) { return os.ReadFile(expandHome(path)) }
	here.Exists = func(path string) error {
		_, err := os.Stat(expandHome(path))
		return err
	}
	c, found, err := here.Load(releases)
	for _, w := range found {
		warnings = append(warnings, w.Error())
	}
	if err != nil {
		return nil, warnings, fault.Wrap(fault.BadInput, err)
	}
	return c, warnings, nil
}

// givenKey reads the certificate key that a flag gives.
func givenKey(text string) (bootstrap.CertificateKey, error) {
	text, err := secretFlag("--certificate-key", text)
	if err != nil {
		return bootstrap.CertificateKey{}, err
	}
	key, err := bootstrap.ParseCertificateKey(text)
	if err != nil {
		return key, fault.New(fault.BadInput, "--certificate-key: %w", err)
	}
	return key, nil
}

// open sets up a run on this machine, which is a host of the cluster by the name given. Others are reached over
// the network only.
func (f *localFlags) open(cmd *cobra.Command, c *cluster.Cluster, name string, warnings []string) (*run, error) {
	options := engine.Options{
		Cluster: c,
		Limit:   func(h inventory.Host) bool { return h.Name == name },
		Dial: func(_ context.Context, h inventory.Host) (host.Conn, error) {
			if h.Name != name {
				return host.NewNeighbour(h.Name), nil
			}
			return host.NewLocal(h.Name), nil
		},
		JoinTimeout: f.join, ReadyTimeout: f.ready,
	}
	for _, name := range f.ignoreChecks {
		if !slices.Contains(check.Names(), name) {
			return nil, fault.New(fault.BadInput, "--ignore-preflight-errors: no preflight check that can be ignored is named %q; there is %s", name, strings.Join(check.Names(), ", "))
		}
	}
	options.IgnoreChecks = f.ignoreChecks
	var err error
	if len(f.phases) > 0 {
		if options.Only, err = phases.Find(f.phases); err != nil {
			return nil, fault.Wrap(fault.BadInput, err)
		}
	}
	return f.setUp(cmd, options, warnings)
}

// asRoot refuses to work on this machine as anybody else.
func asRoot(cmd *cobra.Command) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return fault.New(fault.BadInput, "%s works on the machine that it runs on, and has to run as root", cmd.CommandPath()).
		WithHint("sudo %s", cmd.CommandPath())
}

// withoutSecrets is a command line without the bootstrap tokens and certificate keys in it, which are known
// by their form: kubeadm's users give them as flags.
func withoutSecrets(words []string) string {
	token := regexp.MustCompile(`\b([a-z0-9]{6})\.[a-z0-9]{16}\b`)
	key := regexp.MustCompile(`^(--[a-z-]+=)?[0-9a-fA-F]{64}$`) // a digest has its algorithm before it
	clean := make([]string, len(words))
	for i, word := range words {
		clean[i] = key.ReplaceAllString(token.ReplaceAllString(word, "$1."+secret.Redacted), "${1}"+secret.Redacted)
	}
	return strings.Join(clean, " ")
}
