package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

const (
	leaseNamespace = metav1.NamespaceSystem
	leaseName      = "kubewright"

	// leaseDuration is how long a lease outlives its last renewal. It must bridge a new election in
	// etcd, which takes a few seconds, and it is what people wait for after a run was killed.
	leaseDuration = 15 * time.Second
	// leaseRenewal lets two renewals in a row fail before the third is too late.
	leaseRenewal = 5 * time.Second
	// leasePoll is how often a lease is looked at that may be dead, and how soon a renewal that
	// failed is tried again. Renewals come every leaseRenewal, so none is overlooked for long.
	leasePoll = time.Second
	// leaseRequest bounds one request: one that hangs must leave the time for another.
	leaseRequest = 5 * time.Second
	// leaseRelease bounds giving the lease back. Without it the lease ends by itself a little later,
	// so it is not worth a longer wait.
	leaseRelease = 5 * time.Second
)

// ErrLeaseLost is what Lease.Err wraps, with the reason: a LeaseHeldError when another run has the
// lease, or the last error of the API server when it could not be renewed in time.
var ErrLeaseLost = errors.New("the lease of the cluster was lost")

// LeaseOptions say how a lease is taken.
type LeaseOptions struct {
	// Nonce makes the holder unique: a run takes a lease with its own holder and Nonce for its own,
	// so that it can take it again after it was lost, also through another API server.
	Nonce string
	// Force takes the lease from a holder that is alive. It learns of it at its next renewal.
	Force bool
	// Emit hears what is waited for, every new detail once; it may be nil.
	Emit func(detail string)
}

// Lease keeps other runs from changing the same cluster, even where they have no host in common. It
// is an object of the cluster that names its holder, which renews it until it is released.
//
// Nobody's clock is compared with anybody else's. A lease of somebody else is dead when this process
// has seen it unchanged for the whole of its duration, and ours is lost when its duration has passed
// since we last asked for a renewal that succeeded, which is before anybody else can find it dead.
// Every write names the version that was read before, so of two writers one is refused.
type Lease struct {
	client *Client
	holder string
	stop   context.CancelFunc
	ended  chan struct{} // closed when nothing is renewed any longer
	lost   chan struct{}
	err    error // written before lost is closed

	// What follows belongs to HoldLease, then to keep, and after that to Release.

	releasing sync.Mutex
	live      Object    // as last read or written; nil when there is none
	until     time.Time // when it is over if it is not renewed
}

// HoldLease takes the lease of the cluster for the holder, a line that is shown to others, and keeps
// it renewed until Release, whatever becomes of ctx. A holder that is alive is a LeaseHeldError: at
// the latest after its next renewal. One that died is waited out. Errors of the API server that may
// pass are waited out too, up to the deadline of ctx, which it must have; half a minute is enough for
// a lease whose holder died.
func (c *Client) HoldLease(ctx context.Context, holder string, o LeaseOptions) (*Lease, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("take the lease of the cluster: the wait has no deadline")
	}
	if holder == "" || o.Nonce == "" {
		return nil, errors.New("take the lease of the cluster: it needs a holder and a nonce that no other run has")
	}
	lease := &Lease{
		client: c, holder: holder + " " + o.Nonce,
		ended: make(chan struct{}), lost: make(chan struct{}),
	}
	if err := lease.acquire(ctx, o); err != nil {
		return nil, err
	}
	// An interrupted run still puts in order what it has begun, and holds the lease while it does.
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	lease.stop = stop
	go lease.keep(keeping)
	return lease, nil
}

// Lost is closed when another run has taken the lease, or when it could not be renewed for a whole
// duration. Err says why.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Err wraps ErrLeaseLost once Lost is closed; until then it is nil.
func (l *Lease) Err() error {
	select {
	case <-l.lost:
		return l.err
	default:
		return nil
	}
}

// Release ends the renewals and gives the lease back, unless it was lost: it never takes it from
// somebody else. A lease that could not be given back ends by itself. The context must be one that
// an interrupt has not cancelled. Releasing twice is fine.
func (l *Lease) Release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseRelease)
	defer cancel()
	l.stop()
	<-l.ended // at once: what was under way has been cancelled
	l.releasing.Lock()
	defer l.releasing.Unlock()
	pause := newBackoff()
	for l.ours() {
		err := l.vacate(ctx)
		if outdated(err) {
			// The last renewal may have arrived although it was cancelled.
			if _, err = l.read(ctx); err == nil {
				continue
			}
		}
		if err != nil && (!Transient(err) || pause.wait(ctx) != nil) {
			return fmt.Errorf("give back the lease of the cluster (it ends by itself in %s): %w", leaseDuration, err)
		}
	}
	return nil
}

// ours reports whether the lease is to be given back.
func (l *Lease) ours() bool {
	record, err := recordOf(l.live)
	return l.Err() == nil && err == nil && record.holder == l.holder
}

// acquire takes the lease, or fails with whoever has it.
func (l *Lease) acquire(ctx context.Context, o LeaseOptions) error {
	poll := time.NewTicker(leasePoll)
	defer poll.Stop()
	var seen sighting
	var held LeaseHeldError
	said := waitState{emit: o.Emit}
	for {
		done, detail, err := l.try(ctx, &seen, o.Force)
		switch {
		case done:
			return nil
		case errors.As(err, &held):
			return held
		case ctx.Err() != nil:
			return l.late(ctx, cmp.Or(said.err, err), seen.record)
		case err != nil && !Transient(err) && !missingNamespace(err, leaseNamespace):
			return fmt.Errorf("take the lease of the cluster: %w", err)
		case err != nil:
			detail = explainError(err)
		}
		said.see(detail, err)
		select {
		case <-poll.C:
		case <-ctx.Done():
			return l.late(ctx, err, seen.record)
		}
	}
}

// late is the error of a wait that ended before it was known whether the lease can be had.
func (l *Lease) late(ctx context.Context, last error, record leaseRecord) error {
	err := ctx.Err()
	if last != nil {
		err = fmt.Errorf("%w: %w", err, last)
	}
	if record.holder != "" && record.holder != l.holder {
		return fmt.Errorf("%w; no time was left to see whether it is alive: %w", record.held(), err)
	}
	return fmt.Errorf("take the lease of the cluster: %w", err)
}

// sighting is a record and since when, by our clock, it has been seen unchanged.
type sighting struct {
	record leaseRecord
	at     time.Time // zero before the first look
}

// try looks at the lease once and takes it if it can be had. The detail says why it cannot yet.
func (l *Lease) try(ctx context.Context, seen *sighting, force bool) (done bool, detail string, err error) {
	record, err := l.read(ctx)
	if err != nil {
		return false, "", err
	}
	first := seen.at.IsZero()
	changed := first || !record.same(seen.record)
	if changed {
		*seen = sighting{record, time.Now()}
	}
	// A record with our name is of an earlier lease, or of a request whose answer was lost.
	available := record.holder == "" || record.holder == l.holder || force
	switch {
	case available:
	case changed && !first:
		return false, "", record.held() // somebody has just written it
	case time.Since(seen.at) < record.duration:
		return false, fmt.Sprintf("%s; waiting %s for a sign of life", record.held().text(), record.duration), nil
	}
	err = l.renewOnce(ctx)
	if outdated(err) {
		return false, "somebody else writes the lease of the cluster too", nil
	}
	return err == nil, "", err
}

// keep renews the lease until it is lost or ctx ends.
func (l *Lease) keep(ctx context.Context) {
	defer close(l.ended)
	timer := time.NewTimer(leaseRenewal)
	defer timer.Stop()
	var last error
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if !time.Now().Before(l.until) {
			l.lose(fmt.Errorf("%w: it could not be renewed for %s: %w", ErrLeaseLost, leaseDuration, last))
			return
		}
		// What kind of error it is does not matter: the lease is ours until its time is over.
		last = l.renew(ctx)
		switch {
		case last == nil:
			timer.Reset(leaseRenewal)
		case errors.Is(last, ErrLeaseLost):
			l.lose(last)
			return
		default:
			timer.Reset(min(leasePoll, time.Until(l.until)))
		}
	}
}

func (l *Lease) lose(err error) {
	l.err = err
	close(l.lost)
}

// renew renews the lease; ErrLeaseLost says that it names somebody else. A Lease that is gone was
// deleted by hand, and is made again: if another run is faster, it is theirs.
func (l *Lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, l.until)
	defer cancel()
	err := l.renewOnce(ctx)
	if !outdated(err) {
		return err
	}
	record, err := l.read(ctx)
	switch {
	case err != nil:
		return err
	case l.live == nil, record.holder == l.holder:
		return l.renewOnce(ctx)
	case record.holder == "":
		return fmt.Errorf("%w: somebody else has cleared its holder", ErrLeaseLost)
	default:
		return fmt.Errorf("%w: %w", ErrLeaseLost, record.held())
	}
}

// renewOnce writes that the lease is ours from now on, in place of what was last read.
func (l *Lease) renewOnce(ctx context.Context) error {
	asked := time.Now() // not when it was answered: others may see the record before we hear of it
	next, err := l.next(asked)
	if err != nil {
		return err
	}
	if err := l.write(ctx, next); err != nil {
		return err
	}
	l.until = asked.Add(leaseDuration)
	return nil
}

// next returns the lease as ours. What others have put on the object stays.
func (l *Lease) next(now time.Time) (Object, error) {
	next := reference(coordinationv1.SchemeGroupVersion.WithKind("Lease"), leaseNamespace, leaseName)
	if l.live != nil {
		next = l.live.DeepCopy()
	}
	record, err := recordOf(l.live)
	if err != nil {
		return nil, err
	}
	labels := next.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["app.kubernetes.io/managed-by"] = FieldManager
	next.SetLabels(labels)
	stamp := now.UTC().Format(metav1.RFC3339Micro)
	fields := map[string]any{
		"holderIdentity": l.holder, "renewTime": stamp, "leaseDurationSeconds": int64(leaseDuration / time.Second),
	}
	if record.holder != l.holder {
		fields["acquireTime"] = stamp
		fields["leaseTransitions"] = record.transitions
		if l.live != nil {
			fields["leaseTransitions"] = record.transitions + 1
		}
	}
	for name, value := range fields {
		if err := unstructured.SetNestedField(next.Object, value, "spec", name); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// vacate writes that the lease is nobody's, in place of what was last read.
func (l *Lease) vacate(ctx context.Context) error {
	vacant := l.live.DeepCopy()
	if err := unstructured.SetNestedField(vacant.Object, "", "spec", "holderIdentity"); err != nil {
		return err
	}
	return l.write(ctx, vacant)
}

// write replaces the version of the object that was read, or creates an object that has none.
func (l *Lease) write(ctx context.Context, object Object) error {
	ctx, cancel := context.WithTimeout(ctx, leaseRequest)
	defer cancel()
	var written Object
	err := l.client.on(ctx, object, func(resource dynamic.ResourceInterface) (err error) {
		if object.GetResourceVersion() == "" {
			written, err = resource.Create(ctx, object, metav1.CreateOptions{FieldManager: FieldManager})
		} else {
			written, err = resource.Update(ctx, object, metav1.UpdateOptions{FieldManager: FieldManager})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", Name(object), err)
	}
	l.live = written
	return nil
}

// read reads the lease; one that does not exist is a record of nobody.
func (l *Lease) read(ctx context.Context) (leaseRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseRequest)
	defer cancel()
	live, err := l.client.Get(ctx, coordinationv1.SchemeGroupVersion.WithKind("Lease"), leaseNamespace, leaseName)
	if err != nil && !apierrors.IsNotFound(err) {
		return leaseRecord{}, err
	}
	record, err := recordOf(live)
	if err != nil {
		return leaseRecord{}, err
	}
	l.live = live
	return record, nil
}

// outdated reports that a write was refused because the object is not what was read before.
func outdated(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) ||
		apierrors.IsNotFound(err) && !missingNamespace(err, leaseNamespace)
}
