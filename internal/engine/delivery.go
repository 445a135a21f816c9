package engine

import (
	"context"
	"fmt"
	"os"

	"kubewright/internal/fault"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
)

// fetchPrefix starts the ID of a task that brings a file into the host's cache.
const fetchPrefix = "fetch:"

// fetchError is a host that could not get a file for itself.
type fetchError struct{ error }

func (e *fetchError) Unwrap() error { return e.error }

func fetchFailed(err error) bool {
	_, ok := err.(*fetchError) //nolint:errorlint // perform returns it unwrapped
	return ok
}

// decideDelivery finds out, before anything changes, whether a host can fetch the files it
// needs: it does so itself where it can, which costs the operator's uplink nothing, and is
// given them otherwise. A host that needs no file is not asked.
func (s *Session) decideDelivery(ctx context.Context, m *member) error {
	needs := m.plan.Artifacts(nil)
	mode := s.Cluster.Artifacts.Delivery
	m.push = mode == "push"
	if len(needs) == 0 || m.push {
		return nil
	}
	var probes []sh.Probe
	for _, a := range needs {
		if a.URL == "" {
			m.push = true
			return nil
		}
		probes = append(probes, sh.ReachProbe{URL: a.URL})
	}
	answers, err := s.ask(ctx, m, s.looks.of(probes))
	if err != nil {
		return err
	}
	m.unfetchable = nil
	for _, a := range needs {
		if !answers.Reach[a.URL] {
			m.unfetchable = append(m.unfetchable, a.URL)
		}
	}
	m.push = mode != "fetch" && len(m.unfetchable) > 0
	return nil
}

// delivery makes the tasks that bring files into the host's cache.
func (s *Session) delivery(ctx context.Context, m *member, needs []resource.Artifact) ([]sh.Task, error) {
	if m.push {
		return s.push(ctx, m, needs)
	}
	var tasks []sh.Task
	for _, a := range needs {
		tasks = append(tasks, cacheTask(fetchPrefix, a, sh.Fetch{URL: a.URL, SHA256: a.SHA256}))
	}
	return tasks, nil
}

// cacheTask brings one file into the cache, and unpacks it when it is an archive.
func cacheTask(prefix string, a resource.Artifact, get sh.Step) sh.Task {
	t := sh.Task{ID: prefix + a.Name, Phase: "artifacts", Steps: []sh.Step{get}}
	if a.Archive {
		t.Steps = append(t.Steps, sh.Unpack{SHA256: a.SHA256})
	}
	return t
}

// push uploads files over the connection and makes the tasks that take them into the cache.
func (s *Session) push(ctx context.Context, m *member, needs []resource.Artifact) ([]sh.Task, error) {
	var tasks []sh.Task
	for _, a := range needs {
		local, err := s.Files.Open(ctx, a)
		if err != nil {
			return nil, &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: "push " + a.Name, Err: err}
		}
		remote := fmt.Sprintf("/tmp/kubewright-%s", a.SHA256)
		if err := s.upload(ctx, m, local, remote); err != nil {
			return nil, s.hostError(m, "push "+a.Name, fault.ChangeFailed, err)
		}
		tasks = append(tasks, cacheTask("take:", a, sh.TakeUpload{Path: remote, SHA256: a.SHA256}))
	}
	return tasks, nil
}

func (s *Session) upload(ctx context.Context, m *member, local, remote string) error {
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	start := s.Now()
	err = m.conn.Upload(ctx, remote, f, info.Size())
	s.emit(report.Event{Kind: report.Exec, Host: m.Name, Message: "upload " + remote, Duration: s.Now().Sub(start), Err: err})
	return err
}

// emptyCache ends an act that brought files, and removes what a run that was cut has left of
// them: what was installed is known by its stamp.
func emptyCache() []sh.Task {
	return []sh.Task{{ID: "cache", Phase: "artifacts", Steps: []sh.Step{sh.RemoveDir{Path: sh.CacheDir, Tree: true}}}}
}
