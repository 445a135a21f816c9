package kube

import (
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// LeaseHeldError says that another run has the cluster's lease. Trying again does not help until
// that run has ended.
type LeaseHeldError struct {
	// Holder is who has it, as its run has written it.
	Holder string
	// Since is when it was taken, by the clock of the holder; zero when that is not recorded.
	Since time.Time
}

// Error names the holder.
func (e LeaseHeldError) Error() string { return "another run changes this cluster: " + e.text() }

func (e LeaseHeldError) text() string {
	text := fmt.Sprintf("Lease %s/%s is held by %s", leaseNamespace, leaseName, e.Holder)
	if e.Since.IsZero() {
		return text
	}
	return text + ", taken at " + e.Since.UTC().Format(time.RFC3339)
}

// leaseRecord is what a Lease says.
type leaseRecord struct {
	holder      string
	version     string
	renewed     time.Time // by the holder's clock: good for comparing it with itself only
	since       time.Time // by the holder's clock as well
	duration    time.Duration
	transitions int64
}

// recordOf reads a Lease; nil is one of nobody.
func recordOf(live Object) (leaseRecord, error) {
	record := leaseRecord{duration: leaseDuration}
	if live == nil {
		return record, nil
	}
	var lease coordinationv1.Lease
	if detail := typed(live, &lease); detail != "" {
		return record, fmt.Errorf("%s: %s; `kubectl -n %s delete lease %s` makes room for a new one when no run is at work",
			Name(live), detail, leaseNamespace, leaseName)
	}
	record.version = lease.ResourceVersion
	if spec := lease.Spec; spec.HolderIdentity != nil {
		record.holder = *spec.HolderIdentity
	}
	if seconds := lease.Spec.LeaseDurationSeconds; seconds != nil && *seconds > 0 {
		record.duration = time.Duration(*seconds) * time.Second
	}
	if at := lease.Spec.AcquireTime; at != nil {
		record.since = at.Time
	}
	if at := lease.Spec.RenewTime; at != nil {
		record.renewed = at.Time
	}
	if count := lease.Spec.LeaseTransitions; count != nil {
		record.transitions = int64(*count)
	}
	return record, nil
}

// same reports whether the holder has given no sign of life between two looks.
func (r leaseRecord) same(other leaseRecord) bool {
	return r.holder == other.holder && r.version == other.version && r.renewed.Equal(other.renewed)
}

func (r leaseRecord) held() LeaseHeldError { return LeaseHeldError{Holder: r.holder, Since: r.since} }
