package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// attempts bounds how often one object is applied when the API server is busy or restarting.
const attempts = 6

// Apply creates and updates the objects of the changes; those to keep are not touched. It goes in
// waves, each of them in parallel: namespaces, then CustomResourceDefinitions (waited for until they
// are served), then what workloads refer to, then the rest, and last what intercepts requests, such
// as webhooks. A failed object does not stop its wave, but no further wave begins. The deadline of
// ctx bounds all of it.
func (c *Client) Apply(ctx context.Context, changes []ObjectChange) error {
	waves := map[wave][]Object{}
	for _, change := range changes {
		if change.Action != Keep {
			it := waveOf(change.Object.GroupVersionKind())
			waves[it] = append(waves[it], change.Object)
		}
	}
	for it := range waveCount {
		objects := waves[it]
		err := each(objects, func(_ int, object Object) error { return c.applyOne(ctx, object) })
		if err != nil {
			return err
		}
		if it != waveDefinitions {
			continue
		}
		err = each(objects, func(_ int, object Object) error {
			return Wait(ctx, c.DefinitionEstablished(object.GetName()), nil)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// applyOne applies an object and tries again while the API server cannot take it for the moment.
func (c *Client) applyOne(ctx context.Context, object Object) error {
	pause := newBackoff()
	for attempt := 1; ; attempt++ {
		requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
		err := c.put(requestCtx, object)
		cancel()
		if err == nil {
			return nil
		}
		if attempt == attempts || !Transient(err) || pause.wait(ctx) != nil {
			return fmt.Errorf("apply %s: %w", Name(object), err)
		}
	}
}

// put makes an object what it should be.
func (c *Client) put(ctx context.Context, object Object) error {
	if isNode(object) {
		return c.applyNode(ctx, object)
	}
	_, err := c.apply(ctx, object)
	return err
}

// Transient reports an error that the same request may not meet again a little later; nil is none.
func Transient(err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, errNoKind):
		return true // a new definition is served a moment after it says so
	case apierrors.IsConflict(err), apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err),
		apierrors.IsServerTimeout(err), apierrors.IsTimeout(err):
		return true
	case apierrors.ReasonForError(err) == metav1.StatusReasonInternalError:
		return true // a webhook that does not answer yet
	case apierrors.IsInternalError(err):
		// A status 500 without a reason is etcd in trouble, or an object with an unknown field.
		return strings.Contains(err.Error(), "etcdserver:")
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		utilnet.IsHTTP2ConnectionLost(err), utilnet.IsProbableEOF(err), strings.Contains(err.Error(), "GOAWAY"):
		return true
	}
	var timeout net.Error
	return leakedIP(err) || errors.As(err, &timeout) && timeout.Timeout()
}

// leakedIP tells whether a Service was refused because its address is taken. It may be taken by nobody:
// an API server whose request was cut while it made the Service has left it behind, and its repair
// loop, which runs every minute or so, gives it back.
func leakedIP(err error) bool {
	return apierrors.IsInvalid(err) && strings.Contains(err.Error(), "provided IP is already allocated")
}

type wave int

const (
	waveNamespaces wave = iota
	waveDefinitions
	waveReferenced
	waveRest
	waveIntercepting
	waveCount
)

// waveOf orders kinds by what must exist before what.
func waveOf(gvk schema.GroupVersionKind) wave {
	switch gvk.Group {
	case "":
		switch gvk.Kind {
		case "Namespace":
			return waveNamespaces
		case "ServiceAccount", "Secret", "ConfigMap", "ResourceQuota", "LimitRange", "PersistentVolume":
			return waveReferenced
		}
	case "apiextensions.k8s.io":
		return waveDefinitions
	case "rbac.authorization.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "node.k8s.io":
		return waveReferenced
	case "admissionregistration.k8s.io", "apiregistration.k8s.io":
		return waveIntercepting
	}
	return waveRest
}

// backoff spaces attempts: quick at first, then ever slower up to a bound.
type backoff struct{ next, longest time.Duration }

const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

func newBackoff() *backoff { return &backoff{next: firstPause, longest: longestPause} }

// wait lets the next pause pass, or returns the error of ctx.
func (b *backoff) wait(ctx context.Context) error {
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	b.next = min(b.next*8/5, b.longest)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *backoff) reset() { b.next = firstPause }
