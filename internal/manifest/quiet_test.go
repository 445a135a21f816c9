package manifest

import (
	"bytes"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// captured is what is printed while a function runs.
func captured(t *testing.T, run func()) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stderr")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	stderr, logs := os.Stderr, log.Writer()
	os.Stderr = file
	log.SetOutput(&logged)
	defer func() {
		os.Stderr = stderr
		log.SetOutput(logs)
	}()
	run()
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	printed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return logged.String() + string(printed)
}

// What Helm and kustomize print goes past the events of a run, and may have passwords in it.
func TestNothingIsPrinted(t *testing.T) {
	if got := captured(t, func() {
		log.Print("one")
		slog.Warn("two")
		if _, err := os.Stderr.WriteString("three"); err != nil {
			t.Error(err)
		}
	}); !strings.Contains(got, "one") || !strings.Contains(got, "two") || !strings.Contains(got, "three") {
		t.Fatalf("the test itself hears %q only", got)
	}
	folder := write(t, map[string]string{
		"k/kustomization.yaml":     "commonLabels: {a: b}\nvars: [{name: V, objref: {apiVersion: v1, kind: Pod, name: a}}]\nresources: [a.yaml]\n",
		"k/a.yaml":                 pod,
		"c/Chart.yaml":             "apiVersion: v2\nname: x\nversion: 1.0.0\ndependencies: [{name: part, version: 1.x, condition: odd}]\n",
		"c/requirements.yaml":      "dependencies: []\n",
		"c/values.yaml":            "a: {b: c}\nodd: text\n",
		"c/templates/a.yaml":       pod,
		"c/charts/part/Chart.yaml": "apiVersion: v2\nname: part\nversion: 1.0.0\n",
	})
	for name, source := range map[string]Source{
		"chart":         {Chart: Chart{Path: filepath.Join(folder, "c"), Values: map[string]any{"a": "hunter2"}}},
		"kustomization": {Kustomization: filepath.Join(folder, "k")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := captured(t, func() { render(t, source, env()) }); got != "" {
				t.Errorf("printed: %s", got)
			}
		})
	}
	if got := captured(t, func() {
		refused(t, Source{Kustomization: filepath.Join(folder, "gone")}, env(), "no such file")
		log.Print("again")
	}); !strings.Contains(got, "again") {
		t.Error("after that, others cannot log any more")
	}
}
