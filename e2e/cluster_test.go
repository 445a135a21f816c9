//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What users run on a cluster, side by side, each in a namespace of its own.
func TestWorkloads(t *testing.T) {
	c := shared.cluster(t)
	for _, w := range []struct {
		name string
		test func(*testing.T, *cluster)
	}{
		{"PodToPod", podToPod},
		{"ClusterIP", clusterIP},
		{"NodePort", nodePort},
		{"ClusterDNS", clusterDNS},
		{"NetworkPolicy", networkPolicy},
		{"ExecLogsPortForward", execLogsPortForward},
		{"KilledPod", killedPod},
		{"DaemonSet", daemonSet},
		{"Configuration", configuration},
		{"StatefulSet", statefulSet},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.test(t, c)
		})
	}
}

// killedPod: a container that dies is started again in its pod, and a pod that is deleted is
// replaced.
func killedPod(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.deploy(t, ns, "web", 2, serverSpec())
	pods := c.ready(t, c.pods(ns), 2)

	killed, deleted := pods[0], pods[1]
	// Its process, as a fault of its own would end it; a container's environment names its pod.
	c.on(t, killed.Spec.NodeName, fmt.Sprintf(`
		pids=$(grep -lsz '^HOSTNAME=%s$' /proc/[0-9]*/environ | cut -d/ -f3)
		kill -9 $pids`, killed.Name))
	c.deletePod(t.Context(), t, deleted)

	await(t, c.pods(ns), podTimeout, func(pods []*corev1.Pod) string {
		var missing []string
		ready := 0
		for _, p := range pods {
			switch {
			case p.Name == killed.Name && (!isReady(p) || p.Status.ContainerStatuses[0].RestartCount != 1):
				missing = append(missing, "a restart of "+describe(p))
			case p.DeletionTimestamp == nil && p.Name != deleted.Name && isReady(p):
				ready++
			}
		}
		if ready != 2 {
			missing = append(missing, fmt.Sprintf("2 ready pods, there are %d", ready))
		}
		return strings.Join(missing, "; ")
	})
}

// daemonSet: one pod on every node, the control plane's included where it is tolerated.
func daemonSet(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	labels := map[string]string{"app": "agent"}
	_, err := c.client.AppsV1().DaemonSets(ns).Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: tolerant(serverSpec())},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	nodes := c.nodes(t)
	var on, want []string
	for _, p := range c.ready(t, c.pods(ns), len(nodes)) {
		on = append(on, p.Spec.NodeName)
	}
	for _, n := range nodes {
		want = append(want, n.Name)
	}
	slices.Sort(on)
	slices.Sort(want)
	if !slices.Equal(on, want) {
		t.Errorf("the pods are on %v, the nodes are %v", on, want)
	}
}

// configuration: a ConfigMap and a Secret, as files and as environment of a pod; a file follows
// what is changed in the API.
func configuration(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	_, err := c.client.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"colour": "blue"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.client.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "credentials"}, StringData: map[string]string{"password": "correct horse"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}

	files := serverSpec("-dir", "/config")
	files.Volumes = []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "credentials"}}},
		},
	}}}}
	files.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "config", MountPath: "/config"}}

	// The server then hands out /proc/self/environ: what its process was given.
	environment := serverSpec("-dir", "/proc/self")
	environment.Containers[0].Env = []corev1.EnvVar{
		{Name: "COLOUR", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "colour"}}},
		{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "credentials"}, Key: "password"}}},
	}
	c.run(t, ns, "files", files)
	c.run(t, ns, "environment", environment)
	pods := map[string]*corev1.Pod{}
	for _, p := range c.ready(t, c.pods(ns), 2) {
		pods[p.Name] = p
	}

	client := pods["environment"]
	c.wantAnswer(t, client, fileURL(pods["files"], "colour"), "blue")
	c.wantAnswer(t, client, fileURL(pods["files"], "password"), "correct horse")
	got, err := c.fetch(t.Context(), client, fileURL(client, "environ"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"COLOUR=blue", "PASSWORD=correct horse"} {
		if !slices.Contains(strings.Split(got, "\x00"), want) {
			t.Errorf("the environment lacks %s: %q", want, got)
		}
	}

	if _, err := c.client.CoreV1().ConfigMaps(ns).Update(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"colour": "green"},
	}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The kubelet writes the file at its next look at the pod, within about a minute. A change of
	// the pod has it look at once.
	if _, err := c.client.CoreV1().Pods(ns).Patch(t.Context(), "files", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"look":"now"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, podTimeout, "the changed ConfigMap in the pod", func(ctx context.Context) error {
		got, err := c.fetch(ctx, client, fileURL(pods["files"], "colour"))
		if err == nil && strings.TrimSpace(got) != "green" {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

// statefulSet: pods with names of their own, under which the others find them, also after they
// moved to another address.
func statefulSet(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	service := c.expose(t, ns, "db", func(s *corev1.ServiceSpec) { s.ClusterIP = corev1.ClusterIPNone })
	replicas := int32(2)
	labels := map[string]string{"app": "db"}
	_, err := c.client.AppsV1().StatefulSets(ns).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: service.Name, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: serverSpec()},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client := c.start(t, ns, "client", serverSpec())
	byName := func() map[string]*corev1.Pod {
		pods := map[string]*corev1.Pod{}
		for _, p := range c.ready(t, c.pods(ns).labelled("app=db"), 2) {
			pods[p.Name] = p
		}
		return pods
	}
	names := func(name string) string { return fmt.Sprintf("%s.db.%s.svc.cluster.local", name, ns) }

	before := byName()
	for _, name := range []string{"db-0", "db-1"} {
		if before[name] == nil {
			t.Fatalf("there is no pod %s", name)
		}
		c.wantAddresses(t, client, names(name), before[name].Status.PodIP)
		c.wantAnswer(t, client, "http://"+names(name)+":8080", name)
	}
	c.wantAddresses(t, client, "db", before["db-0"].Status.PodIP, before["db-1"].Status.PodIP)

	c.deletePod(t.Context(), t, before["db-0"])
	await(t, c.pods(ns).named("db-0"), podTimeout, func(pods []*corev1.Pod) string {
		if len(pods) == 1 && pods[0].UID != before["db-0"].UID && isReady(pods[0]) {
			return ""
		}
		return "another db-0"
	})
	c.wantAddresses(t, client, names("db-0"), byName()["db-0"].Status.PodIP)
}

// wantAddresses waits until a name, asked for in a pod, has these addresses and no others.
func (c *cluster) wantAddresses(t testing.TB, from *corev1.Pod, name string, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, answerTimeout, "resolving "+name+" in "+from.Name, func(ctx context.Context) error {
		got, err := c.exec(ctx, from, testserver, "resolve", "-timeout", "3s", name)
		if err != nil {
			return err
		}
		if !slices.Equal(strings.Fields(got), want) {
			return errors.New("it is " + got)
		}
		return nil
	})
}

// fileURL is where a server hands out a file of its folder.
func fileURL(p *corev1.Pod, name string) string { return podURL(p) + "/file/" + name }

// podURL is where the server of a pod answers with the pod's name.
func podURL(p *corev1.Pod) string {
	return "http://" + net.JoinHostPort(p.Status.PodIP, strconv.Itoa(serverPort))
}
