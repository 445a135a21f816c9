package templates

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// A container gets the argument that was meant, after YAML and the kubelet have read it.
func FuzzQuoteContainerArg(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted, err := quoteContainerArg(s)
		if !utf8.ValidString(s) {
			if err == nil {
				t.Fatalf("quoteContainerArg(%q) = %s, want an error", s, quoted)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var args []string
		if err := yaml.UnmarshalStrict([]byte("- "+quoted+"\n"), &args); err != nil || len(args) != 1 {
			t.Fatalf("YAML reads %s as %q, %v", quoted, args, err)
		}
		if got := expand(args[0]); got != s {
			t.Errorf("the container gets %q, want %q", got, s)
		}
	})
}

// A unit starts with the word that was meant, or the word is refused: one with a line break
// would end the command.
func FuzzQuoteUnitWord(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Add("a\nExecStartPre=/bin/sh")
	f.Fuzz(func(t *testing.T, s string) {
		word, err := quoteUnitWord(s)
		refused := !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
		if refused != (err != nil) {
			t.Fatalf("quoteUnitWord(%q) = %s, %v", s, word, err)
		}
		if err == nil {
			if got := readUnitWord(t, word); got != s {
				t.Errorf("systemd reads %s as %q, want %q", word, got, s)
			}
		}
	})
}

// readUnitWord reads a word in double quotes as systemd.service(5) says: first what a backslash
// escapes, then %% and $$. Any other escape, specifier or variable would stand for something else.
func readUnitWord(t *testing.T, word string) string {
	t.Helper()
	inside, ok := strings.CutPrefix(word, `"`)
	inside, closed := strings.CutSuffix(inside, `"`)
	if !ok || !closed {
		t.Fatalf("%s has no quotes around it", word)
	}
	var b strings.Builder
	for i := 0; i < len(inside); i++ {
		c := inside[i]
		switch {
		case c == '"':
			t.Fatalf("%s ends before its end", word)
		case strings.IndexByte(`\%$`, c) < 0:
		case i+1 == len(inside) || inside[i+1] != c && (c != '\\' || inside[i+1] != '"'):
			t.Fatalf("%s has a %c that stands for something else", word, c)
		default:
			i++
		}
		b.WriteByte(inside[i])
	}
	return b.String()
}

// What the user names and sets is in the ConfigMap by which kubeadm knows the cluster, byte for
// byte: it stands there in a document within a document.
func FuzzKubeadmConfig(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		args := map[string]string{"v": s}
		out, err := KubeadmConfig(KubeadmConfigData{
			ClusterName: s, KubernetesVersion: "1.37.2", Endpoint: s, DNSDomain: s, CertSANs: []string{s}, KeyAlgorithm: s,
			PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
			APIServerArgs: args, ControllerManagerArgs: args, SchedulerArgs: args, EtcdArgs: args,
		})
		if !utf8.ValidString(s) {
			if err == nil {
				t.Fatalf("%q renders:\n%s", s, out)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		type component struct {
			CertSANs  []string
			ExtraArgs []struct{ Name, Value string }
		}
		var got struct {
			ClusterName, ControlPlaneEndpoint, EncryptionAlgorithm string
			Networking                                             struct{ DNSDomain string }
			APIServer, ControllerManager, Scheduler                component
			Etcd                                                   struct{ Local component }
		}
		readConfigMap(t, out, "ClusterConfiguration", &got)
		values := []string{got.ClusterName, got.ControlPlaneEndpoint, got.EncryptionAlgorithm, got.Networking.DNSDomain}
		values = append(values, got.APIServer.CertSANs...)
		for _, c := range []component{got.APIServer, got.ControllerManager, got.Scheduler, got.Etcd.Local} {
			for _, arg := range c.ExtraArgs {
				values = append(values, arg.Value)
			}
		}
		if diff := cmp.Diff([]string{s, s, s, s, s, s, s, s, s}, values); diff != "" {
			t.Errorf("(-want +read):\n%s\n%s", diff, out)
		}
	})
}

func readConfigMap(t *testing.T, data []byte, key string, into any) {
	t.Helper()
	var object struct{ Data map[string]string }
	if err := yaml.Unmarshal(data, &object); err != nil {
		t.Fatalf("%v in:\n%s", err, data)
	}
	if err := yaml.Unmarshal([]byte(object.Data[key]), into); err != nil {
		t.Fatalf("%v in:\n%s", err, object.Data[key])
	}
}

// What the user patches into a configuration is there as it was written, texts and numbers, and
// the rest stays; in the ConfigMap of the configuration too.
func FuzzPatchDocument(f *testing.F) {
	for i, s := range hostile() {
		f.Add(s, "k"+s, int64(i)<<57+1, 1.5)
	}
	f.Add("x", "n", int64(-1<<63), 1e300)
	f.Add("x", "n", int64(1<<63-1), -0.1)
	f.Fuzz(func(t *testing.T, s, key string, n int64, x float64) {
		if !utf8.ValidString(s) || !utf8.ValidString(key) {
			t.Skip("a spec is UTF-8")
		}
		if _, err := json.Marshal(x); err != nil {
			t.Skip("a spec has no infinity")
		}
		patch := map[string]any{"text": s, "number": n, "fraction": x, "map": map[string]any{key: s}, "list": []any{s, n}, "gone": nil}
		document, err := patchDocument([]byte("kind: K\nstays: 10\ngone: x\nmap: {other: 1}\n"), patch, map[string]string{"owned": "x"})
		if err != nil {
			if key != "<<" && !strings.ContainsFunc(s+key, unicode.IsControl) && !strings.ContainsAny(s+key, "\ufeff\ufffe\uffff") {
				t.Fatal(err)
			}
			return // the spec refuses these characters
		}
		out, err := KubeletConfigMap(document)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"document": document, "ConfigMap": out} {
			var got struct {
				Kind, Text    string
				Gone          *string
				Number, Stays int64
				Fraction      float64
				Map           map[string]any
				List          [2]json.RawMessage
			}
			if name == "document" {
				if err := yaml.Unmarshal(data, &got); err != nil {
					t.Fatalf("%v in:\n%s", err, data)
				}
			} else {
				readConfigMap(t, data, "kubelet", &got)
			}
			if got.Kind != "K" || got.Stays != 10 || got.Gone != nil || got.Text != s || got.Number != n || got.Fraction != x ||
				got.Map[key] != any(s) || (key != "other" && got.Map["other"] == nil) || string(got.List[1]) != strconv.FormatInt(n, 10) {
				t.Errorf("%s: %q, %q, %d and %v are read as %+v from:\n%s", name, s, key, n, x, got, data)
			}
		}
	})
}
