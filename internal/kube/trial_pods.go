package kube

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	// trialPort is where the server in the image listens.
	trialPort = 8080
	// trialUser is nobody in particular, and not root.
	trialUser = 65532
	// trialFolder is where the server keeps its files.
	trialFolder = "/data"
	// fetchTimeout is how long one request of a pod may take.
	fetchTimeout = 3 * time.Second
)

// pod is one that asks for nothing that a cluster may refuse.
func (t *trial) pod(name string, args ...string) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(1)),
			AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(trialUser)), RunAsGroup: new(int64(trialUser)), FSGroup: new(int64(trialUser)),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "verify", Image: t.in.Image, Args: args,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
				}},
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			}},
		},
	}
}

// server is a pod that answers with its own name, and keeps files in a volume.
func (t *trial) server(name string, volume corev1.VolumeSource) *corev1.Pod {
	pod := t.pod(name, "serve", "-port", strconv.Itoa(trialPort), "-dir", trialFolder)
	container := &pod.Spec.Containers[0]
	container.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: trialPort}}
	container.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(trialPort)},
	}}
	container.VolumeMounts = []corev1.VolumeMount{{Name: "files", MountPath: trialFolder}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "files", VolumeSource: volume}}
	return pod
}

// serve starts a server without anything to keep, and waits until it answers.
func (t *trial) serve(ctx context.Context, name string) (corev1.Pod, error) {
	return t.start(ctx, t.server(name, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}))
}

// start makes a pod and waits until it is ready.
func (t *trial) start(ctx context.Context, pod *corev1.Pod) (corev1.Pod, error) {
	if err := t.create(ctx, pod); err != nil {
		return corev1.Pod{}, err
	}
	var seen corev1.Pod
	err := Wait(ctx, t.podCondition(pod.Name, "to be ready", &seen, podReady), nil)
	return seen, err
}

// finish makes a pod and waits until it has ended. The error says how, where that is not well.
func (t *trial) finish(ctx context.Context, pod *corev1.Pod) (corev1.Pod, error) {
	if err := t.create(ctx, pod); err != nil {
		return corev1.Pod{}, err
	}
	var seen corev1.Pod
	err := Wait(ctx, t.podCondition(pod.Name, "to end", &seen, func(p corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	}), nil)
	if err == nil && seen.Status.Phase == corev1.PodFailed {
		err = ended{podFailure(seen)}
	}
	return seen, err
}

// ended says why a pod that ran to its end has failed.
type ended struct{ why string }

// Error implements error.
func (e ended) Error() string { return e.why }

// podFailure is what a pod said when it failed.
func podFailure(pod corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if state := status.State.Terminated; state != nil && state.Message != "" {
			return strings.TrimSpace(state.Message)
		}
	}
	return podProblem(pod)
}

// podCondition waits for a pod to be as wanted, and remembers how it was seen last.
func (t *trial) podCondition(name, what string, seen *corev1.Pod, wanted func(corev1.Pod) bool) Condition {
	return objectCondition{client: t.client, what: "pod " + name + " " + what, gvr: corev1.SchemeGroupVersion.WithResource("pods"),
		namespace: t.namespace, name: name, judge: func(object Object) (bool, string) {
			var pod corev1.Pod
			if detail := typed(object, &pod); detail != "" {
				return false, detail
			}
			*seen = pod
			return wanted(pod), podProblem(pod)
		}}
}

// delete removes a pod, and returns when it is gone.
func (t *trial) delete(ctx context.Context, name string) error {
	ref := Ref{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Pod"), Namespace: t.namespace, Name: name}
	return t.client.Remove(ctx, []Ref{ref}, func(Object) bool { return true }, func(Ref) {})
}

// fetch has a pod, on another node than the server where that can be, get a URL once. An error of the type ended is the
// answer that it got; any other means that it could not ask.
func (t *trial) fetch(ctx context.Context, server corev1.Pod, name, url string) (corev1.Pod, error) {
	client := t.pod(name, "get", "-timeout", fetchTimeout.String(), url)
	client.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
			Weight: 100, PodAffinityTerm: corev1.PodAffinityTerm{
				TopologyKey:   corev1.LabelHostname,
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{TrialLabel: server.Name}},
			},
		}},
	}}
	return t.finish(ctx, client)
}

// expose makes a service for a server, on port 80.
func (t *trial) expose(ctx context.Context, name string, kind corev1.ServiceType, annotations map[string]string) (corev1.Service, error) {
	err := t.create(ctx, &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec: corev1.ServiceSpec{
			Type: kind, Selector: map[string]string{TrialLabel: name},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: httpPort, TargetPort: intstr.FromInt32(trialPort)}},
		},
	})
	if err != nil {
		return corev1.Service{}, err
	}
	object, err := t.client.Get(ctx, corev1.SchemeGroupVersion.WithKind("Service"), t.namespace, name)
	if err != nil {
		return corev1.Service{}, err
	}
	var service corev1.Service
	if detail := typed(object, &service); detail != "" {
		return corev1.Service{}, said{detail}
	}
	return service, nil
}

const httpPort = 80

// question is an HTTP request to something in the cluster.
type question struct {
	dial    DialFunc // where the connection begins
	method  string   // "" is GET
	address string   // host:port
	host    string   // what is asked for there; "" is the address
	path    string
	body    string
}

// ask makes a request on a connection of its own, and returns the answer, which has to be in the range of success.
func ask(ctx context.Context, q question) (string, error) {
	transport := &http.Transport{DialContext: q.dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, q.method, "http://"+q.address+"/"+q.path, strings.NewReader(q.body))
	if err != nil {
		return "", err
	}
	request.Host = q.host
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return "", err
	}
	if !slices.Contains([]int{http.StatusOK, http.StatusCreated, http.StatusNoContent}, response.StatusCode) {
		return "", said{"it answers " + response.Status}
	}
	return strings.TrimSpace(string(body)), nil
}

// wantAnswer asks until the answer is the name of a pod.
func wantAnswer(ctx context.Context, q question, pod string) error {
	what := "GET http://" + q.address
	if q.host != "" {
		what += " for the host " + q.host
	}
	return persist(ctx, what, func(ctx context.Context) error {
		answer, err := ask(ctx, q)
		if err == nil && answer != pod {
			err = said{fmt.Sprintf("something else answers: %.80q", answer)}
		}
		return err
	})
}

// podAddress is where the server in a pod listens.
func podAddress(pod corev1.Pod) string {
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(trialPort))
}
