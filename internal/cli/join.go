package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/bootstrap"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/inventory"
	"kubewright/phases"
)

// joinFlags are the flags of join.
type joinFlags struct {
	localFlags
	token string
	pins  []string
	// controlPlane and certificateKey go together.
	controlPlane   bool
	certificateKey string
	// endpoint is the argument.
	endpoint string
	// own is what this machine is in the cluster.
	own struct{ name, address string }
}

func newJoinCommand() *cobra.Command {
	flags := &joinFlags{}
	cmd := &cobra.Command{
		Use:   "join HOST:PORT",
		Short: "Make this machine a node of a cluster that runs",
		Long: `Makes the machine that it runs on a worker of the cluster whose API server, or load balancer, is at
HOST:PORT, or with --control-plane one more control plane. The token, and the hash of the public key of
the cluster's authority, are printed by kubewright init, and by kubewright token create
--print-join-command on a control plane; the cluster is always verified by both. Nothing is changed before that.
It may be stopped anywhere and run again.`,
		Example: `  kubewright join 192.0.2.10:6443 --token abcdef.0123456789abcdef \
    --discovery-token-ca-cert-hash sha256:...
  kubewright join 192.0.2.10:6443 --token file:token --discovery-token-ca-cert-hash sha256:... \
    --control-plane --certificate-key file:key`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.endpoint = args[0]
			return flags.start(cmd)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.token, "token", "", "the bootstrap token, or env:NAME or file:PATH of where it is kept")
	cmd.Flags().StringSliceVar(&flags.pins, "discovery-token-ca-cert-hash", nil, "hash of the public key of the cluster's authority, sha256:HEX; several while that is replaced")
	cmd.Flags().BoolVar(&flags.controlPlane, "control-plane", false, "join as a control plane; the cluster has to have an endpoint that leads to all of them")
	cmd.Flags().StringVar(&flags.certificateKey, "certificate-key", "", "the key that opens the uploaded authorities, or env:NAME or file:PATH of where it is kept")
	cmd.MarkFlagsRequiredTogether("control-plane", "certificate-key")
	flags.addJoin(cmd)
	return cmd
}

// start finds the cluster, and makes the machine a part of it.
func (f *joinFlags) start(cmd *cobra.Command) error {
	if err := asRoot(cmd); err != nil {
		return err
	}
	token, err := f.bootstrapToken()
	if err != nil {
		return err
	}
	key, err := f.key()
	if err != nil {
		return err
	}
	discovery := bootstrap.Discovery{Endpoint: f.endpoint, Token: token, Pins: f.pins}
	info, err := discovery.Discover(cmd.Context())
	if err != nil {
		return err
	}
	j := engine.Joining{}
	if j.Authority, err = certs.TrustAuthority(info.CAPEM); err != nil {
		return fault.New(fault.Unhealthy, "%s: the authority of its cluster: %w", f.endpoint, err)
	}
	asked, err := bearer("https://"+f.endpoint, info, token)
	if err != nil {
		return err
	}
	defer asked.Close()
	data, err := told(cmd.Context(), asked)
	if err != nil {
		return err
	}
	settings, err := f.artifacts()
	if err != nil {
		return err
	}
	if err := f.recognize(cmd.Context()); err != nil {
		return err
	}
	c, warnings, err := f.resolve(data, settings)
	if err != nil {
		warn(plainSink(f.output, cmd.ErrOrStderr()), warnings)
		return err
	}
	if f.controlPlane {
		if j.Bundle, err = authorities(cmd.Context(), asked, key, j.Authority); err != nil {
			return err
		}
		j.Still = func(ctx context.Context, api *kube.Client) error { return still(ctx, api, data) }
		j.Tell = f.tell
	}
	if j.API, err = nodesWay(cmd.Context(), c, info, token); err != nil {
		return err
	}
	defer j.API.Close()
	r, err := f.open(cmd, c, f.own.name, warnings)
	if err != nil {
		return err
	}
	return r.do(cmd.Context(), func(ctx context.Context, r *run) (*result, error) { return f.run(ctx, r, j) })
}

// key is the key of the uploaded certificates; the zero key for a worker.
func (f *joinFlags) key() (bootstrap.CertificateKey, error) {
	if !f.controlPlane {
		return bootstrap.CertificateKey{}, nil
	}
	return givenKey(f.certificateKey)
}

// authorities are what all control planes have, from where they were uploaded.
func authorities(ctx context.Context, api *kube.Client, key bootstrap.CertificateKey, of *certs.Authority) (*certs.Bundle, error) {
	const upload = "on a control plane, kubewright init phase upload-certs --upload-certs uploads them, and prints the key"
	object, err := api.Get(ctx, corev1.SchemeGroupVersion.WithKind("Secret"), metav1.NamespaceSystem, bootstrap.CertificatesName)
	switch {
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return nil, fault.New(fault.BadInput, "no authorities are uploaded, or they were deleted, as they are after %s: %w", bootstrap.CertificatesLifetime, err).WithHint(upload)
	case err != nil:
		return nil, fault.Wrap(fault.Unreachable, err)
	}
	files, err := bootstrap.ReadCertificates(object, key)
	if err != nil {
		return nil, fault.New(fault.BadInput, "%s: %w", kube.Name(object), err).WithHint(upload)
	}
	bundle, err := certs.Adopt(map[string]certs.HostFiles{kube.Name(object): files})
	if err != nil {
		return nil, fault.Wrap(fault.BadInput, err)
	}
	if bundle.Kubernetes.Fingerprint() != of.Fingerprint() {
		return nil, fault.New(fault.Preflight, "%s has the authority %s, and the cluster has %s", kube.Name(object), bundle.Kubernetes.Fingerprint(), of.Fingerprint()).WithHint(upload)
	}
	return bundle, nil
}

// still is an error when the cluster tells machines that join something else by now.
func still(ctx context.Context, api *kube.Client, data described) error {
	now, err := told(ctx, api)
	if err == nil && (!bytes.Equal(now.text, data.text) || !bytes.Equal(now.digests, data.digests)) {
		return fault.New(fault.Locked, "the cluster has changed while this machine began to join: %s is another", data.name).WithHint("run again")
	}
	return err
}

// tell has the cluster tell machines that join of this control plane, beside those that it knows by now.
func (f *joinFlags) tell(ctx context.Context, api *kube.Client) error {
	data, err := told(ctx, api)
	if err != nil {
		return err
	}
	c, _, err := f.resolve(data, nil) // where this machine takes files from is its own business
	if err != nil {
		return err
	}
	objects, err := phases.KubewrightConfig(c)
	if err != nil {
		return err
	}
	changes, err := api.Diff(ctx, objects)
	if err != nil {
		return err
	}
	return api.Apply(ctx, changes)
}

// bootstrapToken reads the token, which may be kept where no list of processes shows it.
func (f *joinFlags) bootstrapToken() (bootstrap.Token, error) {
	if f.token == "" {
		return bootstrap.Token{}, fault.New(fault.BadInput, "--token is needed").
			WithHint("kubewright token create --print-join-command on a control plane prints the whole line")
	}
	text, err := secretFlag("--token", f.token)
	if err != nil {
		return bootstrap.Token{}, err
	}
	token, err := bootstrap.ParseToken(text)
	if err != nil {
		return bootstrap.Token{}, fault.New(fault.BadInput, "--token: %w", err)
	}
	return token, nil
}

// bearer is a client with the token.
func bearer(server string, info bootstrap.ClusterInfo, token bootstrap.Token) (*kube.Client, error) {
	return kube.New(kube.Config{Server: server, CAPEM: info.CAPEM, Token: token.Bearer()})
}

// told is what the cluster tells machines that join.
func told(ctx context.Context, api *kube.Client) (described, error) {
	d, err := describedBy(ctx, api)
	switch {
	case apierrors.IsUnauthorized(err):
		return d, fault.New(fault.BadInput, "the token signs the cluster-info, but is not good for logging in, or has expired meanwhile: %w", err).
			WithHint("make another on a control plane with kubewright token create --print-join-command")
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return d, fault.New(fault.Unhealthy, "the cluster does not say how it is made: %w", err).
			WithHint("was it made by kubewright, and by one that is as new as this? kubewright apply brings what joining machines need")
	case err != nil:
		return d, fault.Wrap(fault.Unreachable, err)
	}
	return d, nil
}

// recognize finds out the name and the address of this machine, once: the way to the endpoint may lead from
// another address when the machine is a control plane itself.
func (f *joinFlags) recognize(ctx context.Context) (err error) {
	if f.own.name, err = f.name(); err != nil {
		return err
	}
	f.own.address, err = f.address(ctx, f.endpoint)
	return err
}

// resolve is the cluster with this machine in it. The address that nobody has given counts only where the cluster
// does not know the machine: the virtual IP, where it is the endpoint, is an address of the one that has it.
func (f *joinFlags) resolve(d described, settings []cluster.Setting) (c *cluster.Cluster, warnings []string, err error) {
	name := f.own.name
	role := inventory.RoleWorker
	if f.controlPlane {
		role = inventory.RoleControlPlane
	}
	here := cluster.Here{
		Settings: settings,
		Host:     []cluster.Setting{{Flag: "--node-name", Keys: []string{"name"}, Value: name}},
		Defaults: []cluster.Setting{{Flag: "--node-name", Keys: []string{"roles"}, Value: []string{string(role)}}},
		Worker:   true, // a control plane joins a cluster with an etcd of its own, or not at all
	}
	address := cluster.Setting{Flag: "--node-ip", Keys: []string{"address"}, Value: f.own.address}
	if f.nodeIP != "" {
		here.Host = append(here.Host, address)
	} else {
		here.Defaults = append(here.Defaults, address)
	}
	c, warnings, err = d.resolve(here)
	if err != nil {
		return nil, warnings, err
	}
	const byApply = "kubewright apply adds control planes to such a cluster"
	own := c.Select(func(h inventory.Host) bool { return h.Name == name })[0]
	switch {
	case f.controlPlane && c.ExternalEtcd.Used():
		return nil, warnings, fault.New(fault.BadInput, "the etcd of this cluster is somebody else's, and its certificates are not uploaded").WithHint("%s", byApply)
	case f.controlPlane && c.VIP.Provider == cluster.Keepalived:
		return nil, warnings, fault.New(fault.BadInput, "the virtual IP %s of this cluster is moved by keepalived: each control plane has to be told of the others, or two of them have it at once", c.VIP.Address).WithHint("%s", byApply)
	case f.controlPlane && !own.Has(inventory.RoleControlPlane):
		return nil, warnings, fault.New(fault.BadInput, "%s is the name of a host of etcd in this cluster", name).
			WithHint("give this machine another name with --node-name")
	case !f.controlPlane && (own.Has(inventory.RoleControlPlane) || own.Has(inventory.RoleEtcd)):
		return nil, warnings, fault.New(fault.BadInput, "%s is the name of a control plane, or of a host of etcd, in this cluster", name).
			WithHint("give this machine another name with --node-name")
	}
	return c, warnings, nil
}

// nodesWay is a client that goes by the way that the node will: an endpoint that this machine does not reach is
// found before anything is changed. Where every node has a load balancer of its own, one control plane is enough.
func nodesWay(ctx context.Context, c *cluster.Cluster, info bootstrap.ClusterInfo, token bootstrap.Token) (*kube.Client, error) {
	servers := []string{c.NodeEndpoint.URL()}
	if c.LocalBalancer {
		servers = nil
		for _, h := range c.ControlPlanes() {
			servers = append(servers, "https://"+net.JoinHostPort(h.NodeIP.String(), strconv.Itoa(c.APIPort)))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	type answer struct {
		client *kube.Client
		err    error
	}
	answers := make(chan answer, len(servers))
	for _, server := range servers {
		go func() {
			client, err := bearer(server, info, token)
			if err == nil {
				var detail string
				if _, detail, err = client.APIReady().Check(ctx); err != nil {
					err = fmt.Errorf("%s: %w %s", server, err, detail)
				}
			}
			answers <- answer{client, err}
		}()
	}
	var errs []error
	for range servers {
		got := <-answers
		if got.err == nil {
			return got.client, nil
		}
		errs = append(errs, got.err)
	}
	return nil, fault.New(fault.Unreachable, "the nodes of this cluster reach its API servers where this machine does not: %w", errors.Join(errs...)).
		WithHint("see that the name resolves here, and that nothing blocks the port")
}

// reachTimeout is how long the API servers may take to answer.
const reachTimeout = 10 * time.Second

// run joins.
func (f *joinFlags) run(ctx context.Context, r *run, j engine.Joining) (*result, error) {
	if f.dryRun {
		p, stats, err := r.PlanJoin(ctx, j)
		r.stats = stats
		if err != nil {
			return nil, err
		}
		return planResult(p), nil
	}
	r.showTimes = true
	p, stats, err := r.Join(ctx, j, func(p *plan.Plan) error { return r.confirm(ctx, p, true) })
	r.stats = stats
	if err != nil {
		return nil, err
	}
	is := "node"
	if f.controlPlane {
		is = "control plane"
	}
	text := "This machine is a " + is + " of the cluster " + p.Cluster + "."
	if p.Empty() {
		text = "Nothing to do: this machine is a " + is + " of the cluster " + p.Cluster + " already."
	}
	return &result{document: p.Document(), text: lines([]string{text})}, nil
}
