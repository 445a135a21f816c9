package resource_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/resource"
	"kubewright/internal/resource/memhost"
)

func TestFlags(t *testing.T) {
	pod, unit := resource.StaticPod{}, resource.UnitFile{}
	for name, tt := range map[string]struct {
		starter resource.Starter
		content string
		want    map[string]string
	}{
		"a pod": {pod, "spec:\n  containers:\n  - {command: [etcd, --a=1], args: [\"--b=x=y\", --c]}\n  - {command: [other, --d=2]}\n",
			map[string]string{"a": "1", "b": "x=y"}},
		"a pod without containers": {pod, "spec: {}\n", map[string]string{}},
		"no pod":                   {pod, "{", map[string]string{}},
		"a unit": {unit, "[Service]\nExecStart=/usr/bin/etcd \\\n  \"--a=1\" \\\n  \"--b=x=y\"\n# \"--c=3\"\nRestart=always\n",
			map[string]string{"a": "1", "b": "x=y"}},
		"a unit with signs":          {unit, "ExecStart=etcd \\\n  \"--a=50%% of $$HOME, \\\"so\\\" and \\\\n\"\n", map[string]string{"a": `50% of $HOME, "so" and \n`}},
		"a unit of somebody else":    {unit, "[Service]\nExecStart=/usr/bin/etcd --name a\nEnvironment=A=b\n", map[string]string{}},
		"a unit that is not written": {unit, "", map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.starter.Flags([]byte(tt.content))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// kept is a unit whose flag a is kept; b is as wanted.
func kept(a, b string) resource.UnitFile {
	return resource.UnitFile{
		Path: "/etc/systemd/system/app.service", Keep: []string{"a"},
		Render: func(kept map[string]string) ([]byte, error) {
			if was, ok := kept["a"]; ok {
				a = was
			}
			return []byte("[Service]\nExecStart=/usr/bin/app \\\n  \"--a=" + a + "\" \\\n  \"--b=" + b + "\"\n"), nil
		},
	}
}

func TestUnitFileKeepsItsFlags(t *testing.T) {
	h := memhost.New(t)
	for _, tt := range []struct {
		name   string
		a, b   string
		before string // what is there instead of what was applied; "" is that
		want   string
	}{
		{"the first", "1", "1", "", "1 1"},
		{"another start", "2", "1", "", "1 1"},
		{"another flag", "2", "2", "", "1 2"},
		{"a file that was edited", "3", "3", "\"--a=9\"\n", "9 3"},
		{"a file that lost its flags", "4", "4", "# nothing\n", "4 4"},
	} {
		unit := kept(tt.a, tt.b)
		if tt.before != "" {
			h.File(unit.Path, 0o644, tt.before)
		}
		memhost.Fixture{Groups: memhost.Want(unit)}.Converge(t, h)
		flags := unit.Flags(h.Nodes[unit.Path].Content)
		if got := flags["a"] + " " + flags["b"]; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Lines are shown of a file that we wrote, and of no other.
func TestStartersShowOnlyWhatIsOurs(t *testing.T) {
	h := memhost.New(t)
	f := memhost.Fixture{Groups: memhost.Want(kept("1", "1"))}
	shown := func() string {
		var b strings.Builder
		for _, it := range f.Plan(t, h).Changes() {
			for _, field := range it.Change.Fields {
				b.WriteString(field.Old + field.New)
			}
		}
		return b.String()
	}
	h.File("/etc/systemd/system/app.service", 0o644, "Environment=PASSWORD=hunter2\n")
	if got := shown(); got == "" || strings.Contains(got, "hunter2") {
		t.Errorf("of a file of somebody else is shown %q", got)
	}
	f.Converge(t, h)
	f.Groups = memhost.Want(kept("1", "2"))
	if got := shown(); !strings.Contains(got, `"--b=2"`) {
		t.Errorf("of a file of ours is shown %q", got)
	}
}
