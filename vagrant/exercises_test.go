package vagrant

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const readme = "# Lab\n```sh\nvagrant up\n```\n" +
	"## Exercises\nWords.\n### One\n```sh\nkubectl get pods\necho done\n```\nThen:\n```text\nNAME   READY\n\nweb-... 1/1\n```\n```sh\ntrue\n```\n" +
	"### Two\n```sh\ndate\n```\n```text\n...\n```\n## More\n```yaml\na: b\n```\n" +
	"## Others\n### Three\n```sh\nid\n```\n```text\nuid=...\n```\n"

func TestParse(t *testing.T) {
	got, err := Parse(readme, "Exercises")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Exercise{
		{"One", []Step{{9, "kubectl get pods\necho done\n", []string{"NAME READY", "web-... 1/1"}}, {19, "true\n", nil}}},
		{"Two", []Step{{23, "date\n", []string{"..."}}}},
	}, got); diff != "" {
		t.Error(diff)
	}
	got, err = Parse(readme, "Others")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Exercise{{"Three", []Step{{35, "id\n", []string{"uid=..."}}}}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseFaults(t *testing.T) {
	const head = "## Exercises\n### One\n"
	for text, want := range map[string]string{
		"# Lab\n":                                                  "there is no exercise below a heading ## Exercises",
		head + "Words.\n":                                          `exercise "One" does not say`,
		head + "```sh\ndate\n```\n":                                `exercise "One" does not say`,
		head + "```sh\ndate\n```\n### Two\n":                       `line 6: exercise "One" does not say`,
		head + "```sh\ndate\n":                                     "line 4: the last block has no end",
		head + "```\ndate\n```\n":                                  `line 3: a block "" in exercise "One"`,
		head + "```bash\ndate\n```\n":                              `line 3: a block "bash" in exercise "One"`,
		head + "```text\n1970\n```\n":                              "line 3: a block ```text that does not follow",
		"## Exercises\n```sh\ndate\n```\n" + head:                  "line 2: a block before the first exercise",
		"# Lab\n```\nvagrant up\n```\n" + head:                     "line 2: a block without a kind",
		head + "```sh\na\n```\n```text\nb\n```\n```text\nc\n```\n": "line 9: a block ```text that does not follow",
	} {
		if _, err := Parse(text, "Exercises"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestMissing(t *testing.T) {
	s := Step{Expect: []string{"NAME READY", "web-... 1/1 ...", "a.c", "..d"}}
	for printed, want := range map[string][]string{
		"NAME    READY\nweb-x 1/1  Running\nnoise\na.c\n..d":   nil,
		"web-x 1/1 Running\r\n..d\na.c\n NAME READY \n":        nil,
		"NAME READY AGE\nweb-x 0/1 Running\nabc\n..d and more": s.Expect,
		"": s.Expect,
	} {
		if diff := cmp.Diff(want, s.Missing(printed)); diff != "" {
			t.Errorf("%q: %s", printed, diff)
		}
	}
}

// The README of this folder can be read; whether it tells the truth is tested in e2e.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, least := range map[string]int{"Exercises": 13, "Exercises with addons": 7} {
		exercises, err := Parse(string(data), heading)
		if err != nil {
			t.Fatal(err)
		}
		if len(exercises) < least {
			t.Errorf("only %d %s", len(exercises), heading)
		}
	}
}
