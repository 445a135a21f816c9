package templates

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlagsMerge(t *testing.T) {
	defaults := []option{{"b", "ours"}, {"a", "ours"}, {"c-d", "ours"}}
	for name, test := range map[string]struct {
		extra map[string]string
		want  []string
	}{
		"defaults, sorted":     {nil, []string{"--a=ours", "--b=ours", "--c-d=ours"}},
		"replaced":             {map[string]string{"b": "theirs"}, []string{"--a=ours", "--b=theirs", "--c-d=ours"}},
		"replaced by nothing":  {map[string]string{"b": ""}, []string{"--a=ours", "--b=", "--c-d=ours"}},
		"added between others": {map[string]string{"bb": "x=y"}, []string{"--a=ours", "--b=ours", "--bb=x=y", "--c-d=ours"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := flagSet{component: "x", defaults: defaults, extra: test.extra}.args()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFlagsRefused(t *testing.T) {
	for name, want := range map[string]string{
		"--v":       `write "v", without dashes`,
		"a b":       "is not the name of a flag",
		"":          "is not the name of a flag",
		"V":         "is not the name of a flag",
		"v=1 --x":   "is not the name of a flag",
		"data-dir":  "mount a disk",
		"a\n--evil": "is not the name of a flag",
	} {
		d := etcdData()
		d.ExtraArgs = map[string]string{name: "1"}
		_, err := Etcd(d)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("extra argument %q: error %v, want %q", name, err, want)
		}
	}
}

func TestFlagsReportAllFaults(t *testing.T) {
	d := etcdData()
	d.ExtraArgs = map[string]string{"name": "x", "--v": "1", "snapshot-count": "1"}
	_, err := Etcd(d)
	if err == nil || !strings.Contains(err.Error(), `"name"`) || !strings.Contains(err.Error(), `"--v"`) {
		t.Errorf("error %v does not name both faults", err)
	}
}
