package kube

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// storage claims a volume of a class, has one pod write to it, and the next one read.
func (t *trial) storage(ctx context.Context, class string) (string, error) {
	detail, err := t.keeps(ctx, class)
	if err != nil {
		return "", said{fmt.Sprintf("class %s: %s", class, whole(err))}
	}
	return fmt.Sprintf("class %s: %s", class, detail), nil
}

func (t *trial) keeps(ctx context.Context, class string) (string, error) {
	claim := "storage-" + class
	err := t.create(ctx, &corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Name: claim},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	})
	if err != nil {
		return "", err
	}
	volume := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}
	start := func(name string) (corev1.Pod, error) {
		pod, err := t.start(ctx, t.server(name, volume))
		if err != nil {
			if warning := t.lastWarning(ctx, "PersistentVolumeClaim", claim); warning != "" {
				err = said{err.Error() + ": " + warning}
			}
		}
		return pod, err
	}
	writer, err := start(claim + "-writer")
	if err != nil {
		return "", err
	}
	note := question{method: http.MethodPut, path: "file/note", body: t.namespace}
	if _, err := t.askPod(ctx, writer, note); err != nil {
		return "", said{"writing: " + explainError(err)}
	}
	if err := t.delete(ctx, writer.Name); err != nil {
		return "", err
	}
	reader, err := start(claim + "-reader")
	if err != nil {
		return "", err
	}
	found, err := t.askPod(ctx, reader, question{path: note.path})
	if err != nil {
		return "", said{"reading what another pod wrote: " + explainError(err)}
	}
	if found != note.body {
		return "", said{fmt.Sprintf("a pod finds %.80q where another one wrote %q", found, note.body)}
	}
	return fmt.Sprintf("what a pod on %s wrote, the next one on %s reads", writer.Spec.NodeName, reader.Spec.NodeName), nil
}

// askPod asks a server in a pod from a host.
func (t *trial) askPod(ctx context.Context, pod corev1.Pod, q question) (string, error) {
	node, err := t.from(pod)
	if err != nil {
		return "", err
	}
	q.dial, q.address = node.Dial, podAddress(pod)
	var answer string
	err = persist(ctx, "asked from "+node.Name, func(ctx context.Context) (err error) {
		answer, err = ask(ctx, q)
		return err
	})
	return answer, err
}
