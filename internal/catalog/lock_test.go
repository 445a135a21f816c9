package catalog

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	sumC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

func TestLockRoundTrip(t *testing.T) {
	lock := Lock{Files: map[string]string{"https://z/a": "sha256:" + sumA, "https://a/b": "sha256:" + sumB}}
	data, err := lock.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := "apiVersion: kubewright.io/v1alpha1\nfiles:\n  https://a/b: sha256:" + sumB +
		"\n  https://z/a: sha256:" + sumA + "\nkind: Lock\n"
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
	decoded, err := DecodeLock(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lock, decoded); diff != "" {
		t.Error(diff)
	}
	if sum, ok := decoded.SHA256("https://a/b"); sum != sumB || !ok {
		t.Errorf("SHA256 = %q, %v", sum, ok)
	}
}

func TestDecodeLockRefuses(t *testing.T) {
	const head = "apiVersion: kubewright.io/v1alpha1\nkind: Lock\n"
	for name, test := range map[string]struct{ data, want string }{
		"empty":          {"", `apiVersion ""`},
		"truncated":      {"apiVersion: kubewright.io/v1alpha1\nkin", "lock file"},
		"other kind":     {"apiVersion: kubewright.io/v1alpha1\nkind: Cluster\n", `kind "Cluster"`},
		"other version":  {"apiVersion: kubewright.io/v2\nkind: Lock\n", "kubewright.io/v2"},
		"unknown field":  {head + "filez: {}\n", "filez"},
		"duplicate":      {head + "files:\n  https://a/b: sha256:" + sumA + "\n  https://a/b: sha256:" + sumB + "\n", "already set"},
		"short digest":   {head + "files: {https://a/b: sha256:abc}\n", "64 lower-case hex"},
		"bare digest":    {head + "files: {https://a/b: " + sumA + "}\n", "64 lower-case hex"},
		"upper case":     {head + "files: {https://a/b: sha256:" + strings.ToUpper(sumA) + "}\n", "64 lower-case hex"},
		"not hex":        {head + "files: {https://a/b: sha256:" + strings.Repeat("g", 64) + "}\n", "64 lower-case hex"},
		"not a URL":      {head + "files: {kubelet: sha256:" + sumA + "}\n", "is not a URL"},
		"all at once":    {head + "files: {https://a/x: nope, https://a/y: nope}\n", "https://a/y"},
		"not a document": {"- 1\n", "lock file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeLock([]byte(test.data)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	for url, digest := range map[string]string{"https://a/b": "md5:1", "https://a/\xff": "sha256:" + sumA} {
		if _, err := (Lock{Files: map[string]string{url: digest}}).Encode(); err == nil {
			t.Errorf("a lock of %q that cannot be read back is written", url)
		}
	}
}

func TestDigestChoice(t *testing.T) {
	const url = "https://a/b"
	with := func(sum string) Lock { return Lock{Files: map[string]string{url: "sha256:" + sum}} }
	other := Lock{Files: map[string]string{"https://a/other": "sha256:" + sumA}}
	for name, test := range map[string]struct {
		known                string
		replacement, learned Lock
		want                 string
		from                 Source
	}{
		"replacement before all":     {sumA, with(sumB), with(sumC), sumB, Replacement},
		"catalogue before lock":      {sumA, Lock{}, with(sumC), sumA, Catalogue},
		"other replacement":          {sumA, other, Lock{}, sumA, Catalogue},
		"lock when nothing is known": {"", Lock{}, with(sumC), sumC, Locked},
		"unknown":                    {"", other, other, "", Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			sum, from := Digest(File{URL: url, SHA256: test.known}, test.replacement, test.learned)
			if sum != test.want || from != test.from {
				t.Errorf("Digest = %q from %q, want %q from %q", sum, from, test.want, test.from)
			}
		})
	}
}

func TestParseChecksum(t *testing.T) {
	for name, test := range map[string]struct{ file, want, fault string }{
		"bare, no newline":     {file: sumA, want: sumA},
		"bare, newline":        {file: sumA + "\n", want: sumA},
		"bare, upper case":     {file: strings.ToUpper(sumA) + "\r\n", want: sumA},
		"one line":             {file: sumA + "  runc.amd64\n", want: sumA},
		"binary marker":        {file: sumA + " *runc.amd64\n", want: sumA},
		"path":                 {file: sumA + "  ./out/runc.amd64\n", want: sumA},
		"list":                 {file: sumB + "  runc.arm64\n" + sumA + "  runc.amd64\n" + sumC + "  libseccomp.tar.gz\n", want: sumA},
		"same twice":           {file: sumA + "  runc.amd64\n" + sumA + "  runc.amd64\n", want: sumA},
		"not in the list":      {file: sumB + "  runc.arm64\n", fault: "does not have it"},
		"only a suffix":        {file: sumB + "  my-runc.amd64\n", fault: "does not have it"},
		"empty":                {file: "", fault: "does not have it"},
		"an error page":        {file: "<html>\n<body>Not Found</body>\n</html>\n", fault: "does not have it"},
		"other algorithm":      {file: strings.Repeat("a", 128) + "  runc.amd64\n", fault: "is not a sha256"},
		"two different":        {file: sumA + "  runc.amd64\n" + sumB + "  runc.amd64\n", fault: "two different"},
		"bare after something": {file: "# checksums\n" + sumA + "\n", fault: "does not have it"},
		"cut":                  {file: sumA[:40], fault: "does not have it"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseChecksum([]byte(test.file), "runc.amd64")
			if got != test.want || (err == nil) != (test.fault == "") || (err != nil && !strings.Contains(err.Error(), test.fault)) {
				t.Errorf("ParseChecksum = %q, %v; want %q, %q", got, err, test.want, test.fault)
			}
		})
	}
}

func FuzzDecodeLock(f *testing.F) {
	f.Add([]byte("apiVersion: kubewright.io/v1alpha1\nkind: Lock\nfiles:\n  https://a/b: sha256:" + sumA + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lock, err := DecodeLock(data)
		if err != nil {
			return
		}
		encoded, err := lock.Encode()
		if err != nil {
			t.Fatalf("%q was read but cannot be written: %v", data, err)
		}
		again, err := DecodeLock(encoded)
		if err != nil || !maps.Equal(again.Files, lock.Files) {
			t.Fatalf("%q became %q: %v", data, encoded, err)
		}
	})
}
