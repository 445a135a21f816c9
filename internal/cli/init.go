package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kubewright/cluster"
	"kubewright/internal/bootstrap"
	"kubewright/internal/catalog"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/inventory"
	"kubewright/templates"
)

// initFlags are the flags of init. Their names are kubeadm's where kubeadm has the same.
type initFlags struct {
	localFlags
	config string
	// What a cluster is, in place of a file.
	endpoint, podCIDR, serviceCIDR, dnsDomain, version string
	port                                               int
	certSANs, registryMirrors                          []string
	// What machines join with.
	token, certificateKey         string
	ttl                           time.Duration
	uploadCerts, withholdsSecrets bool
	// skipped are phases that are left out.
	skipped []string
}

// ofCluster names the flags that say what a cluster file would say otherwise.
func ofCluster() []string {
	return []string{
		"control-plane-endpoint", "pod-network-cidr", "service-cidr", "service-dns-domain", "kubernetes-version", "apiserver-bind-port",
		"apiserver-cert-extra-sans", "registry-mirror",
	}
}

func newInitCommand() *cobra.Command {
	flags := &initFlags{}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make this machine the first control plane of a cluster",
		Long: `Makes the machine that it runs on the first control plane of a new cluster, as root and without SSH, and
prints the command lines with which other machines join. Flags say what the cluster is to be, or a file
(--config). It may be stopped anywhere and run again with the same flags; on a cluster that runs, it makes true
what is not, and needs the flags no more.`,
		Example: `  kubewright init --pod-network-cidr 10.244.0.0/16
  kubewright init --control-plane-endpoint api.example.com --upload-certs
  kubewright init --config cluster.yaml --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.run(cmd) },
	}
	flags.add(cmd)
	flags.addJoining(cmd)
	cmd.Flags().StringSliceVar(&flags.skipped, "skip-phases", nil, "phases to leave out, as init phase list names them")
	cmd.AddCommand(newInitPhaseCommand())
	return cmd
}

// add gives a command the flags that describe the cluster.
func (f *initFlags) add(cmd *cobra.Command) {
	f.localFlags.add(cmd)
	set := cmd.Flags()
	set.StringVar(&f.config, "config", "", "the cluster's file, in place of flags; its hosts may be left out, and of those that are there this machine's is taken")
	set.StringVar(&f.endpoint, "control-plane-endpoint", "", "host or host:port of a load balancer, or a name, by which all control planes will be reached; without it there can be no second one")
	set.StringVar(&f.podCIDR, "pod-network-cidr", "", "what pods get their addresses from (default 10.244.0.0/16)")
	set.StringVar(&f.serviceCIDR, "service-cidr", "", "what services get their addresses from (default 10.96.0.0/16)")
	set.StringVar(&f.dnsDomain, "service-dns-domain", "", "the domain of the names of services (default cluster.local)")
	set.StringVar(&f.version, "kubernetes-version", "", "the version of Kubernetes (default: the newest that this kubewright knows)")
	set.IntVar(&f.port, "apiserver-bind-port", 0, "the port on which API servers listen (default 6443)")
	set.StringSliceVar(&f.certSANs, "apiserver-cert-extra-sans", nil, "further names and addresses in the API server's certificate")
	set.StringArrayVar(&f.registryMirrors, "registry-mirror", nil, "REGISTRY=URL: where to pull images from instead; may be given several times")
}

// addJoining gives a command the flags about what machines join with.
func (f *initFlags) addJoining(cmd *cobra.Command) {
	set := cmd.Flags()
	set.StringVar(&f.token, "token", "", "the bootstrap token to make, or env:NAME or file:PATH of where it is kept (default: a random one)")
	set.DurationVar(&f.ttl, "token-ttl", bootstrap.TokenLifetime, "how long the token is good for; 0 is for ever")
	set.BoolVar(&f.uploadCerts, "upload-certs", false, "upload the encrypted authorities for two hours, so that control planes can join")
	set.StringVar(&f.certificateKey, "certificate-key", "", "the key to encrypt them with, 64 hexadecimal digits, or env:NAME or file:PATH of where it is kept (default: a random one)")
	set.BoolVar(&f.withholdsSecrets, "skip-token-print", false, "leave token and certificate key out of what is printed")
}

// run makes the cluster, and prints how to join it.
func (f *initFlags) run(cmd *cobra.Command) error {
	if err := asRoot(cmd); err != nil {
		return err
	}
	joining, err := f.joining()
	if err != nil {
		return err
	}
	if err := f.skip(); err != nil {
		return err
	}
	r, err := f.start(cmd)
	if err != nil {
		return err
	}
	return r.do(cmd.Context(), func(ctx context.Context, r *run) (*result, error) {
		if f.uploadCerts {
			if err := takesControlPlanes(r.cluster); err != nil {
				return nil, err
			}
		}
		if f.dryRun {
			return dryRun(ctx, r)
		}
		p, err := f.apply(ctx, r)
		if err != nil {
			return nil, err
		}
		if p.Empty() && f.token == "" && !f.uploadCerts {
			return &result{document: initDocument{Document: p.Document()}, text: lines([]string{
				p.Summary(), "Machines join with what kubewright token create --print-join-command prints.",
			})}, nil
		}
		how, err := f.admit(ctx, r, joining)
		if err != nil {
			return nil, fault.New(fault.KindOf(err), "the control plane is there; what machines join with is not: %w", err).
				WithHint("kubewright token create --print-join-command makes it")
		}
		return f.done(r, p, how), nil
	})
}

// takesControlPlanes refuses to upload certificates with which no control plane could join.
func takesControlPlanes(c *cluster.Cluster) error {
	switch {
	case c.ExternalEtcd.Used():
		return fault.New(fault.BadInput, "--upload-certs: with an etcd that somebody else runs, further control planes are added by kubewright apply")
	case c.VIP.Provider == cluster.Keepalived:
		return fault.New(fault.BadInput, "--upload-certs: the virtual IP of this cluster is moved by keepalived, which is told of further control planes by kubewright apply")
	case !c.SharedEndpoint:
		return fault.New(fault.BadInput, "--upload-certs: no address leads to all control planes, so that no other one can join").
			WithHint("give that of a load balancer, or a name, with --control-plane-endpoint")
	}
	return nil
}

// dryRun is the plan.
func dryRun(ctx context.Context, r *run) (*result, error) {
	p, stats, err := r.Plan(ctx)
	r.stats = stats
	if err != nil {
		return nil, err
	}
	return planResult(p), nil
}

// apply makes the machine what it is to be.
func (f *initFlags) apply(ctx context.Context, r *run) (*plan.Plan, error) {
	r.showTimes = true
	p, stats, err := r.Apply(ctx, func(p *plan.Plan) error { return r.confirm(ctx, p, true) })
	r.stats = stats
	return p, err
}

// start resolves the cluster, and sets up a run on this machine.
func (f *initFlags) start(cmd *cobra.Command) (*run, error) {
	c, name, warnings, err := f.resolve(cmd)
	if err != nil {
		warn(plainSink(f.output, cmd.ErrOrStderr()), warnings)
		return nil, err
	}
	return f.open(cmd, c, name, warnings)
}

// resolve is the cluster of this machine alone, and what the machine is called in it.
func (f *initFlags) resolve(cmd *cobra.Command) (c *cluster.Cluster, name string, warnings []string, err error) {
	if name, err = f.name(); err != nil {
		return nil, "", nil, err
	}
	known, err := f.known(cmd.Context(), name)
	if err != nil {
		return nil, "", nil, err
	}
	if known.text != nil {
		c, warnings, err := f.clusterOf(cmd.Context(), known, name)
		if err != nil {
			return nil, "", warnings, err
		}
		if err := alone(hostNames(c.Hosts), name); err != nil || f.config == "" {
			return c, name, warnings, err
		}
	}
	from := described{}
	if f.config != "" {
		if from, err = f.configFile(cmd); err != nil {
			return nil, "", nil, err
		}
		if warnings, err = f.whole(from, name); err != nil {
			return nil, "", warnings, err
		}
	}
	c, more, err := f.clusterOf(cmd.Context(), from, name)
	return c, name, append(warnings, more...), err
}

func hostNames(hosts []inventory.Host) []string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return names
}

// whole refuses a file of a cluster that cannot begin with this machine alone, and warns of one that cannot grow
// as it says.
func (f *initFlags) whole(file described, name string) (warnings []string, err error) {
	own := cluster.Here{Host: []cluster.Setting{{Flag: "--node-name", Keys: []string{"name"}, Value: name}}, Defaults: []cluster.Setting{
		{Flag: "--node-name", Keys: []string{"address"}, Value: "192.0.2.1"}, {Flag: "--node-name", Keys: []string{"roles"}, Value: []string{string(inventory.RoleControlPlane)}},
	}}
	c, _, err := file.resolve(own)
	if err == nil {
		return begins(file.name, c)
	}
	return nil, nil // what is wrong with this machine's part is told when that is resolved
}

func begins(file string, c *cluster.Cluster) (warnings []string, err error) {
	var apart []string
	for _, h := range c.EtcdMembers() {
		if !h.Has(inventory.RoleControlPlane) {
			apart = append(apart, h.Name)
		}
	}
	if len(apart) > 0 {
		return nil, fault.New(fault.BadInput, "%s: etcd is to run on hosts of its own, %s, which this machine does not reach", file, strings.Join(apart, ", ")).
			WithHint("kubewright apply makes such a cluster; for one with etcd on its control planes leave these hosts out")
	}
	if len(c.ControlPlanes()) > 1 && !c.SharedEndpoint {
		warnings = append(warnings, file+": there are to be several control planes, and spec.controlPlane names no endpoint that leads to all of them: the others cannot join, only kubewright apply can add them")
	}
	return warnings, nil
}

// clusterOf resolves a cluster that is described by a document, by flags, or by both.
func (f *initFlags) clusterOf(ctx context.Context, from described, name string) (c *cluster.Cluster, warnings []string, err error) {
	here := cluster.Here{Alone: from.name == f.config}
	if here.Settings, err = f.settings(); err != nil {
		return nil, nil, err
	}
	if from.text == nil && f.version == "" {
		releases, err := catalog.Default()
		if err != nil {
			return nil, nil, err
		}
		here.Settings = append(here.Settings, cluster.Setting{Flag: "--kubernetes-version", Keys: []string{"kubernetesVersion"}, Value: releases.Latest()})
	}
	if here.Host, here.Defaults, err = f.machine(ctx, name, from.text != nil); err != nil {
		return nil, nil, err
	}
	return from.resolve(here)
}

const (
	// describeTimeout is how long an API server on this machine may take to say what its cluster is.
	describeTimeout = 10 * time.Second
	// startTimeout is how long it may take to start where a run was cut meanwhile.
	startTimeout = 90 * time.Second
)

// known is what a cluster that runs here says of itself, so that flags need not be repeated; the zero value
// where there is none yet.
func (f *initFlags) known(ctx context.Context, name string) (described, error) {
	client, err := controlPlaneClient()
	if errors.Is(err, fs.ErrNotExist) {
		return described{}, nil // it is to become one
	}
	if err != nil {
		return described{}, err
	}
	defer client.Close()
	if _, err := os.Stat(etcdMember); errors.Is(err, fs.ErrNotExist) {
		// There is nothing here to be lost: no API server has run, or its data is elsewhere.
		ctx, cancel := context.WithTimeout(ctx, describeTimeout)
		defer cancel()
		d, err := describedBy(ctx, client)
		if err == nil {
			return d, nil
		}
		return described{}, nil
	}
	return tells(ctx, client, name)
}

// tells asks a cluster that has data here what it is, and refuses to guess: by other flags, or by none, it would
// be made another.
func tells(ctx context.Context, client *kube.Client, name string) (described, error) {
	unknown := func(err error) error {
		return fault.New(fault.Unhealthy, "this machine has a member of etcd, and its cluster does not say what it is: %w", err).On(name).
			WithHint("see why its API server does not run: journalctl -u kubelet, and the logs below /var/log/pods; to begin anew, kubewright reset --force")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := kube.Wait(ctx, client.APIReady(), nil); err != nil {
		return described{}, unknown(err)
	}
	d, err := describedBy(ctx, client)
	if err == nil || !apierrors.IsNotFound(err) {
		if err != nil {
			err = unknown(err)
		}
		return d, err
	}
	// A run that was cut before it told so. What is made by others has nodes.
	nodes, err := planesBy(ctx, client)
	if err != nil {
		return described{}, unknown(err)
	}
	return described{}, alone(nodes, name)
}

// configFile is the cluster's file of the user, beside which no flag says the same.
func (f *initFlags) configFile(cmd *cobra.Command) (d described, err error) {
	for _, flag := range ofCluster() {
		if cmd.Flags().Changed(flag) {
			return d, fault.New(fault.BadInput, "--%s goes into the file that --config names", flag)
		}
	}
	f.file = f.config
	if d.text, err = os.ReadFile(expandHome(f.config)); err != nil {
		return d, fault.New(fault.BadInput, "--config: %w", err)
	}
	d.name = f.config
	return d, nil
}

// alone refuses a cluster that has grown: this machine does not know how to reach the others.
func alone(hosts []string, name string) error {
	others := slices.DeleteFunc(slices.Clone(hosts), func(n string) bool { return n == name })
	if len(others) == 0 {
		return nil
	}
	return fault.New(fault.BadInput, "the cluster of this machine has other control planes, or hosts of etcd: %s; init is for the first one alone", strings.Join(others, ", ")).
		WithHint("kubewright apply works on all of them: kubectl -n kube-system get configmap %s -o yaml has the cluster's file to begin with", templates.ClusterConfigMap)
}

// settings are what the flags say of the cluster.
func (f *initFlags) settings() ([]cluster.Setting, error) {
	settings, err := f.artifacts()
	if err != nil {
		return nil, err
	}
	add := func(flag string, given bool, value any, keys ...string) {
		if given {
			settings = append(settings, cluster.Setting{Flag: "--" + flag, Keys: keys, Value: value})
		}
	}
	add("control-plane-endpoint", f.endpoint != "", f.endpoint, "controlPlane", "endpoint")
	add("pod-network-cidr", f.podCIDR != "", f.podCIDR, "network", "podCIDR")
	add("service-cidr", f.serviceCIDR != "", f.serviceCIDR, "network", "serviceCIDR")
	add("service-dns-domain", f.dnsDomain != "", f.dnsDomain, "network", "dnsDomain")
	add("kubernetes-version", f.version != "", f.version, "kubernetesVersion")
	add("apiserver-bind-port", f.port != 0, f.port, "controlPlane", "port")
	add("apiserver-cert-extra-sans", len(f.certSANs) > 0, f.certSANs, "controlPlane", "certSANs")
	mirrors := map[string][]string{}
	for _, text := range f.registryMirrors {
		registry, url, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fault.New(fault.BadInput, "--registry-mirror: there is no = in %q, which has to be REGISTRY=URL", text)
		}
		mirrors[registry] = append(mirrors[registry], url)
	}
	for _, registry := range sortedKeys(mirrors) {
		add("registry-mirror", true, mirrors[registry], "artifacts", "registryMirrors", registry)
	}
	return settings, nil
}

// defaultRoute is an address that only the default route leads to: it is for documentation (RFC 5737).
const defaultRoute = "203.0.113.1:9"

// machine is what is known of this machine as a host, and what it is where nothing else is said. Its address may be
// unknown where a document may have it.
func (f *initFlags) machine(ctx context.Context, name string, documented bool) (host, defaults []cluster.Setting, err error) {
	const addressFlag = "--apiserver-advertise-address"
	host = []cluster.Setting{{Flag: "--node-name", Keys: []string{"name"}, Value: name}}
	defaults = []cluster.Setting{{Flag: "--node-name", Keys: []string{"roles"}, Value: []string{string(inventory.RoleControlPlane)}}}
	address, err := f.address(ctx, defaultRoute)
	of := cluster.Setting{Flag: addressFlag, Keys: []string{"address"}, Value: address}
	switch {
	case err == nil && f.nodeIP != "":
		host = append(host, of)
	case err == nil:
		defaults = append(defaults, of)
	case !documented:
		return nil, nil, fault.New(fault.BadInput, "this machine has no default route, which would tell its address: %w", err).
			WithHint("give its address in the network of the cluster with %s", addressFlag)
	}
	return host, defaults, nil
}
