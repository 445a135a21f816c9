package kube_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kubewright/internal/kube"
)

// moment is a condition that is met from some moment on, and cannot be watched.
type moment struct{ time.Time }

func (moment) String() string { return "the moment" }

func (m moment) Check(context.Context) (bool, string, error) {
	if time.Now().Before(m.Time) {
		return false, "", errors.New("not yet")
	}
	return true, "", nil
}

// However long a wait has been, it ends soon after its condition is met.
func TestWaitEndsSoon(t *testing.T) {
	for _, long := range []time.Duration{0, time.Second, 10 * time.Second, 9 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			met := moment{time.Now().Add(long)}
			if err := kube.Wait(within(t, 10*time.Minute), met, nil); err != nil {
				t.Fatal(err)
			}
			if late := time.Since(met.Time); late > 250*time.Millisecond {
				t.Errorf("after %s it is %s late", long, late)
			}
		})
	}
}
