//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// serverPortOf is the port of the server in the pods of the tests.
func serverPortOf() intstr.IntOrString { return intstr.FromInt32(serverPort) }

// scaleTimeout is within what a HorizontalPodAutoscaler follows: it measures over some fifteen seconds, and looks as
// often.
const scaleTimeout = 4 * time.Minute

// autoscaling: under load a deployment of one pod gets more, and loses them when the load ends.
func (a *addonsLab) autoscaling(t *testing.T) {
	c := a.cluster
	ns := c.namespace(t)
	spec := serverSpec()
	spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m")}
	c.deploy(t, ns, "busy", 1, spec)
	c.ready(t, c.pods(ns), 1)
	address := a.balanced(t, ns, "busy", nil)
	a.cluster.autoscale(t, ns, "busy")
	deployments := watched{getter: c.client.AppsV1().RESTClient(), resource: "deployments", namespace: ns}
	scaled := func(enough func(int32) bool, what string) {
		begun := time.Now()
		await(t, deployments.named("busy"), scaleTimeout, func(found []*appsv1.Deployment) string {
			if len(found) == 1 && enough(found[0].Status.ReadyReplicas) && enough(*found[0].Spec.Replicas) {
				return ""
			}
			return what
		})
		t.Logf("%s after %s", what, time.Since(begun).Round(time.Second))
	}

	ctx, rest := context.WithCancel(t.Context())
	defer rest()
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() {
			for ctx.Err() == nil {
				_, _ = get(ctx, "http://"+address+"/burn?ms=400")
			}
		})
	}
	scaled(func(n int32) bool { return n >= 3 }, "three pods at least")
	rest()
	load.Wait()
	scaled(func(n int32) bool { return n == 1 }, "one pod again")
}

// autoscale has a deployment follow how busy its pods are, without the usual patience.
func (c *cluster) autoscale(t testing.TB, namespace, name string) {
	t.Helper()
	half, one, soon := int32(50), int32(1), int32(0)
	_, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			MinReplicas:    &one, MaxReplicas: 4,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &half},
			}}},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &soon}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// claim is for a volume of the default class.
func claim(name string) corev1.PersistentVolumeClaim {
	return corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("16Mi")}},
		},
	}
}

// withData has the server keep its files in a volume.
func withData(volume string) corev1.PodSpec {
	spec := serverSpec("-dir", "/data")
	spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: volume, MountPath: "/data"}}
	return spec
}

// volume: what a pod has written the next one finds, and when the claim is deleted so is the volume.
func (a *addonsLab) volume(t *testing.T) {
	c := a.cluster
	ns := c.namespace(t)
	wish := claim("data")
	if _, err := c.client.CoreV1().PersistentVolumeClaims(ns).Create(t.Context(), &wish, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	spec := withData("data")
	spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	first := c.start(t, ns, "first", spec)
	a.keep(t, first, "note", "kept")
	c.deletePod(t.Context(), t, first)
	second := c.start(t, ns, "second", spec)
	c.wantAnswer(t, second, fileURL(second, "note"), "kept")

	bound, err := c.client.CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "data", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.deletePod(t.Context(), t, second)
	if err := c.client.CoreV1().PersistentVolumeClaims(ns).Delete(t.Context(), "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	volumes := watched{getter: c.client.CoreV1().RESTClient(), resource: "persistentvolumes"}
	await(t, volumes.named(bound.Spec.VolumeName), podTimeout, func(left []*corev1.PersistentVolume) string {
		if len(left) > 0 {
			return "the volume to be deleted, which is " + string(left[0].Status.Phase)
		}
		return ""
	})
	a.on(t, first.Spec.NodeName, "! ls /var/lib/local-path-provisioner | grep -qF "+bound.Spec.VolumeName)
}

// keep has a server write a file.
func (a *addonsLab) keep(t testing.TB, pod *corev1.Pod, name, content string) {
	t.Helper()
	err := a.cluster.client.CoreV1().RESTClient().Put().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("proxy").
		Suffix("file", name).Body([]byte(content)).Do(t.Context()).Error()
	if err != nil {
		t.Fatalf("writing a file in %s: %v", pod.Name, err)
	}
}

// statefulSet: each of three pods keeps a file of its own when all are made anew.
func (a *addonsLab) statefulSet(t *testing.T) {
	c := a.cluster
	ns := c.namespace(t)
	service := c.expose(t, ns, "db", func(s *corev1.ServiceSpec) { s.ClusterIP = corev1.ClusterIPNone })
	replicas, labels := int32(3), map[string]string{"app": "db"}
	if _, err := c.client.AppsV1().StatefulSets(ns).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: service.Name, Selector: &metav1.LabelSelector{MatchLabels: labels},
			PodManagementPolicy:  appsv1.ParallelPodManagement,
			Template:             corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: withData("data")},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{claim("data")},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	before := map[string]*corev1.Pod{}
	for _, p := range c.ready(t, c.pods(ns).labelled("app=db"), int(replicas)) {
		a.keep(t, p, "name", "I am "+p.Name)
		before[p.Name] = p
	}
	for _, p := range before {
		c.deletePod(t.Context(), t, p)
	}
	after := await(t, c.pods(ns).labelled("app=db"), podTimeout, func(pods []*corev1.Pod) string {
		for _, p := range pods {
			if !isReady(p) || before[p.Name] != nil && before[p.Name].UID == p.UID {
				return "another " + p.Name
			}
		}
		if len(pods) != int(replicas) {
			return fmt.Sprintf("%d pods, there are %d", replicas, len(pods))
		}
		return ""
	})
	for _, p := range after {
		c.wantAnswer(t, p, fileURL(p, "name"), "I am "+p.Name)
	}
}

// nfs: pods on two nodes have one folder of a server outside the cluster, which is this machine, and it goes with its
// claim; a folder that was there before is a volume, too, and stays.
func (a *addonsLab) nfs(t *testing.T) {
	for _, module := range []string{"nfs", "nfsd"} {
		if _, err := exec.CommandContext(t.Context(), "modprobe", module).CombinedOutput(); err != nil && !fileSystem(t, module) {
			t.Skipf("the kernel of this machine, which is that of the nodes, has no NFS: there is no module %s", module)
		}
	}
	mount := ""
	for _, program := range []string{"exportfs", "rpc.nfsd", "mount.nfs"} {
		var err error
		if mount, err = exec.LookPath(program); err != nil { // the last is carried to the nodes
			t.Skipf("there is no %s on this machine: Debian's package nfs-kernel-server brings it", program)
		}
	}
	needsImage(t, "registry.k8s.io/sig-storage/nfs-subdir-external-provisioner:")
	for _, n := range a.nodes(t) {
		a.carry(t, n.Name, mount, "/root/nfs")
		a.on(t, n.Name, "ln -sf /root/nfs/run /usr/sbin/mount.nfs && ln -sf mount.nfs /usr/sbin/mount.nfs4")
	}
	const server, clients = "10.150.0.1", "10.150.0.0/24"
	folder := a.exported(t, clients)
	if err := os.Mkdir(filepath.Join(folder, "old"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "old", "note"), []byte("of old"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := inFile(addonsWanted(t))
	with := before + "    nfs: {enabled: true, server: " + server + ", path: " + folder +
		", volumes: [{name: old, path: " + folder + "/old, capacity: 1Gi, readOnly: true}]}\n"
	a.edit(t, "cluster.yaml", before, with)
	afterwards(t, func(t testing.TB) { // also for the tests that come next, whose cluster has no NFS
		a.edit(t, "cluster.yaml", with, before)
		a.tool(t, "apply", "--yes").want(t, exitDone)
		a.wantEmptyPlan(t)
	})
	a.tool(t, "apply", "--yes").want(t, exitDone)
	a.wantEmptyPlan(t)

	ns := a.cluster.namespace(t)
	shared, old := claim("shared"), claim("old")
	for class, wish := range map[string]*corev1.PersistentVolumeClaim{"nfs": &shared, "": &old} {
		wish.Spec.StorageClassName = &class
		wish.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
	}
	old.Spec.VolumeName = "old"
	claims := a.cluster.client.CoreV1().PersistentVolumeClaims(ns)
	pods := map[string]*corev1.Pod{}
	for _, wish := range []*corev1.PersistentVolumeClaim{&shared, &old} {
		if _, err := claims.Create(t.Context(), wish, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, node := range []string{"worker1", "worker2"} {
			spec := withData("data")
			spec.NodeName = node
			spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: wish.Name}}}}
			name := wish.Name + "-" + node
			pods[name] = a.cluster.start(t, ns, name, spec)
		}
	}
	a.keep(t, pods["shared-worker1"], "note", "for both")
	for name, want := range map[string]string{"shared-worker1": "for both", "shared-worker2": "for both", "old-worker1": "of old", "old-worker2": "of old"} {
		a.cluster.wantAnswer(t, pods[name], fileURL(pods[name], "note"), want)
		a.cluster.deletePod(t.Context(), t, pods[name])
	}
	for _, name := range []string{"shared", "old"} {
		if err := claims.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, podTimeout, "the folder of the claim to go, and that of old to stay", func(context.Context) error {
		left, err := os.ReadDir(folder)
		if err == nil && (len(left) != 1 || left[0].Name() != "old") {
			err = fmt.Errorf("there are %v", left)
		}
		return err
	})
}

// exported is a new folder that this machine exports until the test ends.
func (a *addonsLab) exported(t testing.TB, clients string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o777); err != nil { // pods write there, as whoever they are
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"systemctl", "start", "nfs-server.service"},
		{"exportfs", "-o", "rw,no_root_squash,no_subtree_check,insecure,fsid=1", clients + ":" + folder},
	} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
		}
	}
	afterwards(t, func(t testing.TB) {
		if out, err := exec.CommandContext(t.Context(), "exportfs", "-u", clients+":"+folder).CombinedOutput(); err != nil {
			t.Errorf("exportfs -u: %v\n%s", err, out)
		}
	})
	return folder
}

// fileSystem tells whether the kernel has a file system.
func fileSystem(t testing.TB, name string) bool {
	t.Helper()
	all, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(strings.Fields(string(all)), name)
}

// registry: an image is built, pushed from a node to the registry in the cluster, and runs from there.
func (a *addonsLab) registry(t *testing.T) {
	engine := ""
	for _, program := range []string{"podman", "docker"} {
		if _, err := exec.LookPath(program); err == nil && engine == "" {
			engine = program
		}
	}
	if engine == "" {
		t.Skip("neither podman nor docker is there to build an image")
	}
	c := a.cluster
	ns := c.namespace(t)
	name := registryHost + "/" + ns + "/hello:v1"
	dir := t.TempDir()
	path := filepath.Join(dir, "server")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "../cmd/verifyserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "Containerfile"), []byte("FROM scratch\nCOPY server /server\nWORKDIR /tmp\nENTRYPOINT [\"/server\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) []byte {
		t.Helper()
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), engine, args...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s %s: %v\n%s", engine, strings.Join(args, " "), err, stderr.String())
		}
		return stdout.Bytes()
	}
	command("build", "--file", filepath.Join(dir, "Containerfile"), "--tag", name, dir)
	archive := command("save", name)
	command("rmi", name)
	worker := c.workers(t)[0]
	if _, err := c.ssh(t.Context(), worker, bytes.NewReader(archive), "/usr/local/bin/ctr", "-n", "e2e", "images", "import", "-"); err != nil {
		t.Fatal(err)
	}
	out := c.on(t, worker, "/usr/local/bin/ctr -n e2e images push --hosts-dir /etc/containerd/certs.d "+name)
	t.Logf("pushed from %s:\n%s", worker, out)
	c.on(t, worker, "/usr/local/bin/ctr -n e2e images rm "+name)
	spec := serverSpec()
	spec.Containers[0].Image = name
	c.deploy(t, ns, "hello", 2, spec)
	for _, p := range c.ready(t, c.pods(ns), 2) {
		c.proxied(t, p)
	}
}

// proxied checks that the server in a pod answers with its name, through the API server.
func (c *cluster) proxied(t testing.TB, p *corev1.Pod) {
	t.Helper()
	out, err := c.client.CoreV1().RESTClient().Verb(http.MethodGet).Namespace(p.Namespace).Resource("pods").
		Name(fmt.Sprintf("%s:%d", p.Name, serverPort)).SubResource("proxy").DoRaw(t.Context())
	if err != nil || strings.TrimSpace(string(out)) != p.Name {
		t.Errorf("%s answers %q, %v", p.Name, out, err)
	}
}

// users: a chart and a kustomization are installed, follow their values, and are removed.
func (a *addonsLab) users(t *testing.T) {
	a.write(t, "chart/Chart.yaml", "apiVersion: v2\nname: greeting\nversion: 0.1.0\n")
	a.write(t, "chart/values.yaml", "text: hello\n")
	a.write(t, "chart/templates/map.yaml", `apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-map, namespace: {{ .Release.Namespace }}}
data: {text: {{ .Values.text | quote }}}
`)
	a.write(t, "kustom/kustomization.yaml", "namespace: mine\nnamePrefix: my-\nresources: [map.yaml]\n")
	a.write(t, "kustom/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {text: one}\n")
	custom := func(text string) string {
		return `  addons:
    custom:
      - {name: charted, namespace: mine, chart: {path: chart, values: {text: ` + text + `}}}
      - {name: kustomized, namespace: mine, kustomization: kustom}
`
	}
	want := func(name, text string) {
		t.Helper()
		m, err := a.cluster.client.CoreV1().ConfigMaps("mine").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || m.Data["text"] != text {
			t.Errorf("%s: %v, %v; want the text %q", name, m.Data, err, text)
		}
	}
	a.edit(t, "cluster.yaml", "  addons:\n", custom("first"))
	a.tool(t, "apply", "--yes").want(t, exitDone)
	want("charted-map", "first")
	want("my-map", "one")
	a.wantEmptyPlan(t)

	a.edit(t, "cluster.yaml", custom("first"), custom("second"))
	a.write(t, "kustom/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {text: two}\n")
	a.tool(t, "plan", "--detailed-exitcode").want(t, exitPending).says(t, "second", "two")
	a.tool(t, "apply", "--yes").want(t, exitDone)
	want("charted-map", "second")
	want("my-map", "two")

	a.edit(t, "cluster.yaml", custom("second"), "  addons:\n")
	a.tool(t, "apply", "--yes").want(t, exitDone)
	left, err := a.cluster.client.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{LabelSelector: "kubewright.io/addon in (charted, kustomized)"})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("of the addons is left: %v, %v", left.Items, err)
	}
	a.wantEmptyPlan(t)
}
