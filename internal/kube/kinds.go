package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// errNoKind says that the API server does not serve a kind, usually because its
// CustomResourceDefinition is not installed (yet).
var errNoKind = errors.New("the API server does not know this kind")

// kinds maps kinds to resources. The name of a resource is guessed from its kind, which costs no
// round trip and is right for almost all. Only when the API server does not know the guess is it
// asked for its list of resources; a positive answer is remembered.
type kinds struct {
	get func(ctx context.Context, path string, into any) error

	mu    sync.Mutex
	known map[schema.GroupVersionKind]metav1.APIResource
}

// guess returns the resource to try first, and whether the answer comes from the API server.
func (k *kinds) guess(gvk schema.GroupVersionKind) (gvr schema.GroupVersionResource, certain, namespaced bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if resource, ok := k.known[gvk]; ok {
		return gvk.GroupVersion().WithResource(resource.Name), true, resource.Namespaced
	}
	gvr, _ = meta.UnsafeGuessKindToResource(gvk)
	return gvr, false, false
}

// ask looks the kind up in the API server's list; errNoKind when it is not there.
func (k *kinds) ask(ctx context.Context, gvk schema.GroupVersionKind) error {
	path := "/apis/" + gvk.Group + "/" + gvk.Version
	if gvk.Group == "" {
		path = "/api/" + gvk.Version
	}
	var list metav1.APIResourceList
	if err := k.get(ctx, path, &list); apierrors.IsNotFound(err) {
		return errNoKind
	} else if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[schema.GroupVersionKind]metav1.APIResource{}
	}
	found := false
	for _, resource := range list.APIResources {
		// Subresources are in the same list, as "pods/status".
		if strings.Contains(resource.Name, "/") {
			continue
		}
		k.known[gvk.GroupVersion().WithKind(resource.Kind)] = resource
		found = found || resource.Kind == gvk.Kind
	}
	if !found {
		return errNoKind
	}
	return nil
}

// unknownResource reports the answer of an API server to a path it does not serve, as opposed to an
// object or a namespace that does not exist.
func unknownResource(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == ""
}

// missingNamespace reports that the namespace of an object does not exist.
func missingNamespace(err error, namespace string) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Kind == "namespaces" && details.Name == namespace
}

// on calls do with the resource that holds objects of this kind. When the guess turns out to be
// wrong, it calls do once more with what the API server says.
func (c *Client) on(ctx context.Context, object Object, do func(dynamic.ResourceInterface) error) error {
	gvk := object.GroupVersionKind()
	gvr, certain, namespaced := c.kinds.guess(gvk)
	if !certain {
		err := do(c.resource(gvr, object.GetNamespace()))
		if !unknownResource(err) {
			return err
		}
		if err := c.kinds.ask(ctx, gvk); err != nil {
			return err
		}
		gvr, _, namespaced = c.kinds.guess(gvk)
	}
	namespace := object.GetNamespace()
	if namespaced && namespace == "" {
		return errors.New("it has no namespace; set metadata.namespace")
	}
	if !namespaced {
		namespace = "" // as kubectl does: a namespace on a cluster-wide object means nothing
	}
	err := do(c.resource(gvr, namespace))
	if unknownResource(err) {
		return errNoKind
	}
	return err
}

func (c *Client) resource(gvr schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return c.dynamic.Resource(gvr)
	}
	return c.dynamic.Resource(gvr).Namespace(namespace)
}

// getJSON reads a path of the API and decodes the answer.
func (c *Client) getJSON(ctx context.Context, path string, into any) error {
	body, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// maxBody bounds what is read of an answer; the longest lists of resources are far below it.
const maxBody = 16 << 20

// get reads a path of the API. An answer other than 200 is an error that apierrors understands; its
// body is returned as well.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server.JoinPath(path).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	request.Header.Set("User-Agent", FieldManager)
	request.Header.Set("Accept", "application/json, */*")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return body, answerError(response.StatusCode, path, body)
	}
	return body, nil
}

// answerError returns the error that an answer stands for. The API server describes its own errors
// in a Status; what it passes on from elsewhere is plain text.
func answerError(code int, path string, body []byte) error {
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" && status.Message != "" {
		return &apierrors.StatusError{ErrStatus: status}
	}
	err := apierrors.NewGenericServerResponse(code, "get", schema.GroupResource{}, "", string(body), 0, true)
	if text := strings.TrimSpace(string(body)); text != "" && len(text) < 300 && !strings.Contains(text, "\n") {
		return fmt.Errorf("GET %s: %w: %s", path, err, text)
	}
	return err
}
