//go:build e2e

// Package e2e tests kubewright as its users meet it: the binary, on real hosts that boot systemd
// and are reached over SSH, and the cluster that comes out of it, from the outside.
//
// The environment can change what the tests run on:
//
//	KUBEWRIGHT_E2E_LAB        folder of a lab to use in place of one made for the tests; it stays
//	KUBEWRIGHT_E2E_KEEP=1     leave the labs that the tests made
//	KUBEWRIGHT_E2E_BIN        the binary to test (default: bin/kubewright of this repository)
//	KUBEWRIGHT_E2E_ARTIFACTS  folder made by e2e/artifacts (default: that of KUBEWRIGHT_CACHE;
//	                          "upstream": none)
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// The labs of the tests. The shared one carries the cluster that most tests look at; the side lab
// belongs to tests that begin with bare hosts, or end with them; that of faults, to tests that damage
// hosts or runs and need more workers.
var (
	shared = &fixture{spec: labSpec{name: "e2e", subnet: "10.121.0.0/24", controlPlanes: 1, workers: 2, reuse: os.Getenv("KUBEWRIGHT_E2E_LAB")}}
	side   = &fixture{spec: labSpec{name: "e2e-side", subnet: "10.122.0.0/24", controlPlanes: 1, workers: 1}}
	faults = &fixture{spec: labSpec{name: "e2e-faults", subnet: "10.131.0.0/24", controlPlanes: 1, workers: 3}}
)

// background has the tests that run beside each other, and alone removes before them the labs that none of
// them needs: ten idle nodes are not idle.
var (
	background sync.WaitGroup
	alone      sync.Once
)

// besideOthers has a test that has a lab of its own run beside others like it, once all those are through
// that share labs.
func besideOthers(t *testing.T) {
	t.Helper()
	background.Add(1)
	t.Cleanup(background.Done) // which comes after the test's own
	t.Parallel()
	alone.Do(func() {
		if keepLabs() {
			return
		}
		if err := errors.Join(side.down(t.Context()), faults.down(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := removeLabs(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// removeLabs removes the labs that tests share.
func removeLabs() error {
	if keepLabs() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return errors.Join(shared.down(ctx), side.down(ctx), faults.down(ctx))
}

// keepLabs tells whether somebody wants to look at the labs after the tests.
func keepLabs() bool { return os.Getenv("KUBEWRIGHT_E2E_KEEP") != "" }
