package check

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// What users are told of hosts has every check, in the same words, and every port.
func TestHostsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/hosts.md")
	if err != nil {
		t.Fatal(err)
	}
	has := func(want string) {
		t.Helper()
		if !strings.Contains(string(page), want) {
			t.Errorf("docs/hosts.md lacks %q", want)
		}
	}
	for _, c := range Checks() {
		row := "| `" + c.Name + "` | " + c.Short
		if c.Mandatory != "" {
			row += "; **cannot be ignored**"
		}
		has(row + " |\n")
	}
	for _, vxlan := range []int{4789, 8472} { // Calico's and flannel's
		for _, p := range ports(World{VXLANPort: vxlan, BGP: true}) {
			if p.local {
				has(fmt.Sprint(p.number))
			} else {
				has(fmt.Sprintf("| %d/%s ", p.number, p.proto))
			}
		}
	}
}
