package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// kubeletConf is the kubeconfig of a node's kubelet, as kubeadm has it.
const kubeletConf = "/etc/kubernetes/" + certs.KubeletConf

// ofThisMachine tells whether a command line is about the machine it runs on: it names no files of a cluster,
// and there is none in the folder. It is refused where there is nothing of ours either.
func (f *runFlags) ofThisMachine(cmd *cobra.Command) (bool, error) {
	if slices.ContainsFunc([]string{"file", "inventory", "limit"}, cmd.Flags().Changed) {
		return false, nil
	}
	if _, err := os.Stat(f.file); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if _, err := os.Stat(sh.StateDir); errors.Is(err, fs.ErrNotExist) {
		return false, fault.New(fault.BadInput, "there is no %s here, and nothing of kubewright's on this machine", f.file).
			WithHint("--file names the cluster's file")
	}
	return true, nil
}

// openThisMachine sets up a run on this machine, for a command that needs to know of its cluster no more than
// what the machine says.
func (f *runFlags) openThisMachine(cmd *cobra.Command) (*run, error) {
	if err := asRoot(cmd); err != nil {
		return nil, err
	}
	mark, err := os.ReadFile(sh.ClusterPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.Other, err)
	}
	c := &cluster.Cluster{Name: "kubernetes"} // as kubeadm calls one, where a run was cut before it was marked
	if words := strings.Fields(string(mark)); len(words) > 0 {
		c.Name = words[0]
	}
	name, err := thisNode()
	if err != nil {
		return nil, err
	}
	c.Hosts = []inventory.Host{{Name: name, Address: name}}
	f.file = filepath.Join(cacheDir(), "cluster.yaml") // which there is not
	return f.setUp(cmd, engine.Options{
		Cluster: c, Phases: []plan.Phase{}, ForceUnlock: f.forceUnlock, ReconnectTimeout: f.reconnect,
		Dial: func(_ context.Context, h inventory.Host) (host.Conn, error) { return host.NewLocal(h.Name), nil },
	}, nil)
}

// thisNode is the name of this machine's node: the one that its kubelet has, else the host's.
func thisNode() (string, error) {
	content, err := os.ReadFile(kubeletConf)
	if err == nil {
		if k, err := certs.ParseKubeconfig(content); err == nil {
			if name, ok := strings.CutPrefix(k.User, "system:node:"); ok {
				return name, nil
			}
		}
	}
	return hostName()
}

// Where the data of a member of etcd is, and the static pod that runs it, as kubeadm has them.
const (
	etcdMember   = "/var/lib/etcd/member"
	etcdManifest = "/etc/kubernetes/manifests/etcd.yaml"
)

// mayLeave refuses to reset this machine alone while others may go on to count its member of etcd: there would
// be a majority less. Who they are, what is written on the machine says, and the cluster if it answers.
func mayLeave(ctx context.Context, name string) error {
	if _, err := os.Stat(etcdMember); errors.Is(err, fs.ErrNotExist) {
		return nil // it has no member
	}
	written, err := writtenMembers(sh.MembersPath, etcdManifest)
	if err != nil {
		return err
	}
	nodes, unasked := planes(ctx)
	return leaves(name, append(written, nodes...), unasked)
}

// leaves refuses to take a member of etcd from others that are known, or that may be there: unasked is why the
// cluster did not say.
func leaves(name string, known []string, unasked error) error {
	others := slices.DeleteFunc(slices.Clone(known), func(n string) bool { return n == name })
	slices.Sort(others)
	others = slices.Compact(others)
	const remedy = "kubewright node remove %s, from a machine that has the cluster's file, takes the member out first; to give up the whole cluster, reset every machine with --force"
	switch {
	case len(others) > 0:
		return fault.New(fault.Preflight, "its member of etcd is one of several: %s would go on to count it", strings.Join(others, ", ")).On(name).WithHint(remedy, name)
	case unasked != nil:
		return fault.New(fault.Preflight, "it has a member of etcd, and the cluster does not say whether others count it: %w", unasked).On(name).
			WithHint("if this is the only control plane, --force cleans it; else "+remedy, name)
	}
	return nil
}

// writtenMembers are the members of etcd that files on a control plane name: the note of the last run, and the
// static pod of a member that has joined, before which there is no note.
func writtenMembers(note, manifest string) ([]string, error) {
	var names []string
	for path, read := range map[string]func(string) []string{note: notedMembers, manifest: startedWith} {
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Wrap(fault.Other, err)
		}
		names = append(names, read(string(content))...)
	}
	return names, nil
}

// startedWith are the members in the flag of a static pod of etcd, by name.
func startedWith(manifest string) []string {
	flag := regexp.MustCompile(`--initial-cluster=([^"'\s]+)`).FindStringSubmatch(manifest)
	if flag == nil {
		return nil
	}
	return notedMembers(flag[1])
}

// notedMembers are the members of etcd in the note on a control plane, by name; none where etcd is somebody
// else's.
func notedMembers(note string) []string {
	if _, external := plan.NotedExternalEtcd(note); external {
		return nil
	}
	var names []string
	for _, member := range strings.Split(strings.TrimSpace(note), ",") {
		if name, _, ok := strings.Cut(member, "="); ok {
			names = append(names, name)
		}
	}
	return names
}

// planes are the nodes of the control planes of this machine's cluster.
func planes(ctx context.Context) ([]string, error) {
	client, err := controlPlaneClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	return planesBy(ctx, client)
}

func planesBy(ctx context.Context, client *kube.Client) ([]string, error) {
	nodes, err := client.List(ctx, corev1.SchemeGroupVersion.WithKind("Node"), "", "node-role.kubernetes.io/control-plane")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.GetName())
	}
	return names, nil
}
