package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"kubewright/e2e/lab"
)

//go:embed files/healthy.sh
var healthyScript string

//go:embed files/images.sh
var imagesScript string

// preparation are the phases that bring a host to where kubeadm's documentation begins: containerd, runc,
// kubelet, CNI plugins, kernel settings. The authorities come with them, since kubewright makes them
// before it changes anything else.
const preparation = "authorities,host,runtime,binaries"

// bringUp compares kubewright with kubeadm, from prepared nodes with images loaded to a cluster without
// a pod network, in which all nodes are registered and all control planes are healthy. kubeadm's
// commands are given over SSH, as its documentation orders them: the control planes one after another,
// then the workers side by side.
func (b *bench) bringUp(t topology, limit float64) comparison {
	return comparison{
		name: "bring-up-" + t.String(),
		what: fmt.Sprintf("%d control planes and %d workers, from prepared nodes with images loaded to all registered and healthy",
			t.controlPlanes, t.workers),
		limit: limit, repetitions: 3, quick: t.controlPlanes > 1,
		subject: contender{"kubewright", func(ctx context.Context, id string) (Sample, error) {
			return b.bringUpOnce(ctx, labSpec{name: "bench-kw", subnet: "10.137.0.0/24", topology: t}, id, byKubewright)
		}},
		yardstick: contender{"kubeadm", func(ctx context.Context, id string) (Sample, error) {
			return b.bringUpOnce(ctx, labSpec{name: "bench-ka", subnet: "10.138.0.0/24", topology: t}, id, byKubeadm)
		}},
	}
}

// fromBare compares a cluster with every addon that labs can have with one that has a pod network and DNS alone,
// from bare nodes until all is available: what an apply waits for.
func (b *bench) fromBare(t topology) comparison {
	once := func(name, subnet string, addons bool) func(context.Context, string) (Sample, error) {
		return func(ctx context.Context, id string) (sample Sample, err error) {
			bare, down, err := b.makeLab(ctx, labSpec{name: name, subnet: subnet, topology: t, whole: true, addons: addons}, id)
			if err != nil {
				return Sample{}, err
			}
			defer func() {
				if err != nil {
					bare.keepJournals(ctx, bare.state.Nodes)
				}
				err = down(err)
			}()
			return timed(func(ctx context.Context, _ string) error { return bare.tool(ctx, "apply", "apply", "--yes", "--stats") })(ctx, id)
		}
	}
	const limit, often = 2, 3
	return comparison{
		name: "addons-" + t.String(),
		what: fmt.Sprintf("%d control planes and %d workers, from bare nodes to every addon available (MetalLB, metrics-server, volumes, a registry), and to a pod network and DNS",
			t.controlPlanes, t.workers),
		limit: limit, repetitions: often,
		subject:   contender{"with addons", once("bench-addons", "10.137.0.0/24", true)},
		yardstick: contender{"without", once("bench-bare", "10.138.0.0/24", false)},
	}
}

// timed takes the time of what is run as a whole.
func timed(run func(ctx context.Context, id string) error) func(context.Context, string) (Sample, error) {
	return func(ctx context.Context, id string) (Sample, error) {
		c, err := startClock()
		if err != nil {
			return Sample{}, err
		}
		if err := run(ctx, id); err != nil {
			return Sample{}, err
		}
		c.lap("run")
		return c.stop()
	}
}

// A way to bring up a cluster prepares what is its own, and returns what the time is taken of.
type way func(context.Context, *testbed) (func(context.Context, *clock) error, error)

// bringUpOnce brings up one cluster, on nodes that are made for it.
func (b *bench) bringUpOnce(ctx context.Context, spec labSpec, id string, prepare way) (sample Sample, err error) {
	t, down, err := b.makeLab(ctx, spec, id)
	if err != nil {
		return Sample{}, err
	}
	defer func() {
		if err != nil {
			t.keepJournals(ctx, t.state.Nodes)
		}
		err = down(err)
	}()
	if err := t.prepare(ctx); err != nil {
		return Sample{}, fmt.Errorf("preparing the nodes: %w", err)
	}
	bringUp, err := prepare(ctx, t)
	if err != nil {
		return Sample{}, fmt.Errorf("preparing the nodes: %w", err)
	}
	clock, err := startClock()
	if err != nil {
		return Sample{}, err
	}
	if err := bringUp(ctx, clock); err != nil {
		return Sample{}, err
	}
	if err := t.awaitHealthy(ctx, t.state.Nodes); err != nil {
		return Sample{}, err
	}
	clock.lap("all healthy")
	return clock.stop()
}

// prepare makes prepared nodes of bare ones.
func (t *testbed) prepare(ctx context.Context) error {
	if err := t.tool(ctx, "prepare", "apply", "--yes", "--phase", preparation); err != nil {
		return err
	}
	images, err := t.images(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, name := range images {
		names = append(names, name)
	}
	script := fmt.Sprintf("images='%s'\n", strings.Join(names, " ")) + imagesScript
	return t.onAll(ctx, t.state.Nodes, "images", script)
}

// images are those of the cluster by component.
func (t *testbed) images(ctx context.Context) (map[string]string, error) {
	out, err := t.run.Run(ctx, []string{t.kubewright, "images", "list", "-f", t.dir + "/cluster.yaml", "-o", "json"}, nil)
	if err != nil {
		return nil, err
	}
	var list []struct{ Name, Component string }
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("kubewright images list says %q: %w", out, err)
	}
	images := map[string]string{}
	for _, i := range list {
		images[i.Component] = i.Name
	}
	return images, nil
}

// awaitHealthy returns when nodes are registered and all control planes are healthy: each of their API
// servers is ready and has the nodes, their controller-managers and schedulers say that they are well, and
// the members of etcd all vote.
func (t *testbed) awaitHealthy(ctx context.Context, nodes []lab.Node) error {
	return t.onAll(ctx, t.nodes(lab.RoleControlPlane), "healthy", fmt.Sprintf("nodes='%s'\nmembers='%s'\n",
		names(nodes), names(t.nodes(lab.RoleControlPlane)))+`address=$(hostname -i)`+"\n"+healthyScript)
}

func names(nodes []lab.Node) string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return strings.Join(names, ",")
}

// byKubewright is one command.
func byKubewright(_ context.Context, t *testbed) (func(context.Context, *clock) error, error) {
	return func(ctx context.Context, c *clock) error {
		err := t.tool(ctx, "apply", "apply", "--yes", "--stats")
		c.lap("apply")
		return err
	}, nil
}
