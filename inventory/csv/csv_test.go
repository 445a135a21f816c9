package csv_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"kubewright/inventory"
	"kubewright/inventory/csv"
	"kubewright/spec/strict"
)

func read(text string) ([]inventory.Placed, strict.Faults) {
	imported, faults := csv.Read("hosts.csv", []byte(text))
	file, more := inventory.ParseTree(imported.Name, imported.Hosts)
	hosts, evenMore := inventory.Resolve(file.Source())
	if len(faults) > 0 {
		return nil, faults.Sorted()
	}
	return hosts, append(more, evenMore...).Sorted()
}

func TestRead(t *testing.T) {
	const want = `cp1 10.0.0.1 10.0.0.1 [control-plane etcd] [rack-a] map[] [] root 22  false
w1 w1.example.com 10.0.0.2 [worker] [gpu rack-b] map[disk:ssd zone:z1] [gpu:NoSchedule] ops 2222 /keys/my id true
`
	for name, text := range map[string]string{
		"commas": `# the hosts of prod
name,address,nodeIP,roles,groups,labels,labels.zone,taints,ssh.user,ssh.port,ssh.keyFile,ssh.trustOnFirstUse
cp1,10.0.0.1,,control-plane etcd,rack-a,,,,,,,

w1,w1.example.com,10.0.0.2,worker,"gpu,rack-b",disk=ssd,z1,gpu:NoSchedule,ops,2222,/keys/my id,TRUE
`,
		"semicolons, as spreadsheets write them": "\ufeffname;address;nodeIP;roles;groups;labels;labels.zone;taints;ssh.user;ssh.port;ssh.keyFile;ssh.trustOnFirstUse\r\n" +
			"w1;w1.example.com;10.0.0.2;worker;\"gpu;rack-b\";disk=ssd;z1;gpu:NoSchedule;ops;2222;/keys/my id;true\r\ncp1;10.0.0.1;;\"control-plane\netcd\";rack-a;;;;;;;\r\n",
		"one label before the others": `name,address,nodeIP,roles,groups,labels.disk,labels,taints,ssh.user,ssh.port,ssh.keyFile,ssh.trustOnFirstUse
cp1,10.0.0.1,,control-plane etcd,rack-a,,,,,,,
w1,w1.example.com,10.0.0.2,worker,gpu rack-b,ssd,zone=z1,gpu:NoSchedule,ops,2222,/keys/my id,true
`,
		"tabs": strings.ReplaceAll("name,address,nodeIP,roles,groups,labels,labels.zone,taints,ssh.user,ssh.port,ssh.keyFile,ssh.trustOnFirstUse\ncp1,10.0.0.1,,control-plane|etcd,rack-a,,,,,,,\n"+
			"w1,w1.example.com,10.0.0.2,worker,gpu rack-b,disk=ssd,z1,gpu:NoSchedule,ops,2222,/keys/my id,true\n", ",", "\t"),
	} {
		t.Run(name, func(t *testing.T) {
			hosts, faults := read(text)
			var b strings.Builder
			for _, h := range hosts {
				fmt.Fprintln(&b, h.Name, h.Address, h.NodeIP, h.Roles, h.Groups, h.Labels, h.Taints, h.SSH.User, h.SSH.Port, h.SSH.KeyFile, h.SSH.TrustOnFirstUse)
			}
			if diff := cmp.Diff(want, b.String()); diff != "" || len(faults) > 0 {
				t.Errorf("%v (-want +got):\n%s", faults, diff)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "hosts.csv:1:1: the table is empty; its first line names the columns",
		"nmae,address\na,b\n":               "hosts.csv:1:1: nmae: there is no such column; did you mean name?",
		"name,hostname\n":                   "hosts.csv:1:6: hostname: there is no such column; there is name, address, nodeIP, roles",
		"name,name\n":                       "hosts.csv:1:6: name: the column stands there already",
		"name,address\na,10.0.0.1,worker\n": "hosts.csv:2:1: the line has 3 values, the heading 2; a value that holds the separator needs quotes",
		"name,address\na\"b,10.0.0.1\n":     "hosts.csv:2:2: a value with a quote in it is written between quotes, and the quote twice",
		"name,address\n\"a,10.0.0.1\n":      "a value with a quote in it is written between quotes",
		"name,address,roles\na,10.0.0.1,wroker\n":                         "hosts.csv:2:12: roles: unknown value \"wroker\"; did you mean worker?",
		"name,address,roles,ssh.port\na,10.0.0.1,worker,x\n":              "hosts.csv:2:19: ssh.port: expected a whole number",
		"name,address,roles,ssh.port\na,10.0.0.1,worker,99999\n":          "hosts.csv:2:19: ssh.port: 99999 is out of range",
		"name,address,roles,ssh.trustOnFirstUse\na,10.0.0.1,worker,yes\n": "hosts.csv:2:19: ssh.trustOnFirstUse: expected true or false",
		"name,address,roles,labels\na,10.0.0.1,worker,ssd\n":              `hosts.csv:2:19: labels: "ssd" has no =; labels are written as key=value`,
		"name,address,roles,labels\na,10.0.0.1,worker,a=b a=c\n":          "hosts.csv:2:19: labels: a stands there already",
		"name,address,roles,labels,labels.a\na,10.0.0.1,worker,a=b,c\n":   "hosts.csv:2:23: labels.a: a stands there already",
		"name,address,roles,labels.a,labels\na,10.0.0.1,worker,c,a=b\n":   "hosts.csv:2:21: labels: a stands there already",
		"name,address,roles\na,,worker\n":                                 "hosts.csv:2:1: a.address: this key is required",
		"name,address,roles\na,10.0.0.1,worker\na,10.0.0.2,worker\n":      "hosts.csv:3:1: name: the name a is taken by name in line 2",
		"name,address\na,10.0.0.1\n":                                      "hosts.csv:2:1: a.roles: the host has no role",
		"name,address,roles,annotations\na,10.0.0.1,worker,x=y\n":         "hosts.csv:1:20: annotations: there is no such column",
		"name,address,roles,ssh.password\na,10.0.0.1,worker,hunter2\n":    "hosts.csv:2:19: ssh.password: a secret in plain text is refused",
	} {
		_, faults := read(text)
		if len(faults) == 0 || !strings.Contains(faults[0].Error(), want) || strings.Contains(faults.Error(), "hunter2") {
			t.Errorf("%q\nwant %s\ngot  %v", text, want, faults)
		}
	}
}

func TestRecognizes(t *testing.T) {
	for path, want := range map[string]bool{"hosts.csv": true, "HOSTS.CSV": true, "hosts": false, "csv": false} {
		if got := (csv.Format{}).Recognizes(inventory.Candidate{Path: path}); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	missing := func(string) ([]byte, error) { return nil, fmt.Errorf("no such file") }
	if _, faults := (csv.Format{}).Load("x.csv", inventory.Files{Read: missing}); len(faults) != 1 || faults[0].Error() != "x.csv: cannot be read: no such file" {
		t.Errorf("%v", faults)
	}
}

// A table of any bytes is hosts that are whole, or faults that each name a line of it.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"name,address,roles\na,10.0.0.1,worker\n", "name;address;labels.x;ssh.port\n\"a\";10.0.0.1;\"\n\";1\n", "name\taddress\n", "#\n\n,,\n", "\ufeffname\n\"", "name,groups,taints,annotations.x/y\na,b c,k:NoSchedule,\"z\n\"\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		hosts, faults := read(text)
		for _, fault := range faults {
			if fault.File != "hosts.csv" || fault.Line < 1 || fault.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+1 || fault.Message == "" {
				t.Errorf("%#v is not within the table", fault)
			}
		}
		if len(faults) > 0 {
			return
		}
		for _, h := range hosts {
			if h.Name == "" || !h.NodeIP.Is4() || len(h.Roles) == 0 || strings.ContainsFunc(h.Name+h.Address+h.SSH.User+h.SSH.KeyFile+strings.Join(h.Groups, ""), unicode.IsControl) {
				t.Errorf("this is no host: %+v", h.Host)
			}
		}
	})
}
