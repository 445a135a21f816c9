package lab

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRootfsDigest(t *testing.T) {
	digest, err := rootfsDigest("amd64")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(digest) {
		t.Errorf("digest = %q", digest)
	}
	if again, _ := rootfsDigest("amd64"); again != digest {
		t.Errorf("digest is %s, then %s", digest, again)
	}
	if other, _ := rootfsDigest("arm64"); other == digest {
		t.Error("another architecture has the same image")
	}
}

// A lab's node is a bare host: what kubewright installs must not be there already.
func TestNodesAreBare(t *testing.T) {
	for _, name := range []string{"containerd", "runc", "podman", "docker.io", "kubelet", "containernetworking-plugins", "cri-tools"} {
		if slices.Contains(nodePackages(), name) {
			t.Errorf("%s is on the nodes", name)
		}
	}
	for _, name := range []string{"curl", "openssh-server", "sudo", "systemd-sysv"} {
		if !slices.Contains(nodePackages(), name) {
			t.Errorf("%s is not on the nodes", name)
		}
	}
}

func TestDebianMirror(t *testing.T) {
	tests := map[string]struct{ targets, want string }{
		"a mirror of one's own":                        {"http://debian.example/debian bookworm main\nhttp://debian.example/debian-security bookworm-security main\n", "http://debian.example/debian"},
		"with a trailing slash":                        {"https://debian.example/debian/ bookworm main\n", "https://debian.example/debian"},
		"Debian's own":                                 {"http://deb.debian.org/debian bookworm main\n", ""},
		"another release":                              {"http://debian.example/debian trixie main\n", ""},
		"another distribution":                         {"http://archive.example/ubuntu noble main\n", ""},
		"a transport that only this machine's apt has": {"cdrom://disc bookworm main\nhttp://debian.example/debian bookworm main\n", "http://debian.example/debian"},
		"nothing":                                      {"", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := debianMirror(tc.targets); got != tc.want {
				t.Errorf("debianMirror = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAptSettings(t *testing.T) {
	dump := `APT "";
APT::Architecture "amd64";
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://user:secret@proxy.example:3128";
Acquire::https::CaInfo "/etc/ssl/site.pem";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Acquire::Languages "";
Acquire::Languages:: "none";
Acquire::ftp::Proxy "http://proxy.example:3128";
`
	want := `Acquire::http::Proxy "http://user:secret@proxy.example:3128";
Acquire::https::CaInfo "/etc/ssl/site.pem";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
`
	if diff := cmp.Diff(want, aptSettings(dump)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// systemd complains, and sshd and sudo do worse, about files they cannot read as theirs.
func TestNodeFilesAreWhole(t *testing.T) {
	for path, want := range map[string]string{
		"rootfs/overlay/etc/systemd/system/lab-node.service": "ExecStart=mount --make-rshared /\n",
		"rootfs/overlay/etc/sudoers.d/lab":                   "ops   ALL=(ALL:ALL) NOPASSWD: ALL\n",
		"rootfs/overlay/etc/ssh/sshd_config.d/lab.conf":      "PasswordAuthentication no\n",
		"rootfs/overlay/usr/local/sbin/lab-init":             "exec /lib/systemd/systemd \"$@\"\n",
		"rootfs/customize.sh":                                "#!/bin/sh\n",
	} {
		data, err := rootfs.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(data), want) || !strings.HasSuffix(string(data), "\n") {
			t.Errorf("%s does not have %q, or its last line no end", path, want)
		}
	}
}
