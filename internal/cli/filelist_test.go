package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestFilesList(t *testing.T) {
	const host = "name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane, worker]"
	file := write(t, "cluster.yaml", clusterYAML(host))
	urls := strings.Split(strings.TrimSuffix(kubewright(t, "files", "list", "-f", file).want(t, 0).out, "\n"), "\n")
	has := func(part string, want bool) {
		t.Helper()
		if got := slices.ContainsFunc(urls, func(u string) bool { return strings.Contains(u, part) }); got != want {
			t.Errorf("%s is listed: %v, want %v, in:\n%s", part, got, want, strings.Join(urls, "\n"))
		}
	}
	has("/linux/amd64/kubelet", true)
	has("/linux/arm64/kubelet", true)
	has("calico", true)
	has("metallb", false) // not enabled
	has("etcd-v", false)  // runs from its image
	sorted := slices.Sorted(slices.Values(urls))
	if len(slices.Compact(sorted)) != len(urls) {
		t.Errorf("a URL is there twice: %v", urls)
	}

	var documents []struct{ Name, Version, Arch, URL, SHA256, Checksum string }
	kubewright(t, "files", "list", "-f", file, "--arch", "amd64", "-o", "json").want(t, 0).decode(t, &documents)
	for _, d := range documents {
		if d.Arch == "arm64" {
			t.Errorf("%+v is for another architecture", d)
		}
		if (d.SHA256 == "") != (d.Checksum != "") {
			t.Errorf("%+v: either the digest is known, or where it is learned from", d)
		}
		if d.Checksum != "" && !slices.Contains(urls, d.Checksum) {
			t.Errorf("%s is not listed", d.Checksum)
		}
	}
	if len(documents) < 4 {
		t.Errorf("few files: %+v", documents)
	}
	kubewright(t, "files", "list", "-f", file, "--arch", "mips").want(t, 10, `--arch: there are no binaries for "mips"`, "amd64, arm64")
}
