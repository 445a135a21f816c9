package terraform_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/inventory/terraform"
	"kubewright/spec"
)

// examples is the folder of the configurations that come with kubewright.
const examples = "../../examples/terraform"

// example is a configuration, as far as it can be understood without its providers.
type example struct {
	bodies   []*hclsyntax.Body
	declared map[string]bool // var.x, local.x, data.TYPE.x, TYPE.x
	used     map[string]hcl.Range
}

// load reads the files of a configuration, which must be formatted as terraform fmt does.
func load(t *testing.T, dir string) *example {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%s has the files %v, %v", dir, files, err)
	}
	x := &example{declared: map[string]bool{}, used: map[string]hcl.Range{}}
	for _, path := range files {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(hclwrite.Format(source)), string(source)); diff != "" {
			t.Errorf("%s is not formatted (-want +got):\n%s", path, diff)
		}
		file, problems := hclsyntax.ParseConfig(source, path, hcl.InitialPos)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		body := syntax(t, file)
		x.bodies = append(x.bodies, body)
		for _, block := range body.Blocks {
			x.declare(block)
			x.use(block.Body)
		}
	}
	return x
}

// declare notes what a block at the top of a file can be referred to by.
func (x *example) declare(block *hclsyntax.Block) {
	switch block.Type {
	case "variable":
		x.declared["var."+block.Labels[0]] = true
	case "locals":
		for name := range block.Body.Attributes {
			x.declared["local."+name] = true
		}
	case "data":
		x.declared["data."+strings.Join(block.Labels, ".")] = true
	case "resource":
		x.declared[strings.Join(block.Labels, ".")] = true
	}
}

// use notes what the expressions in a body refer to.
func (x *example) use(body *hclsyntax.Body) {
	for name, attribute := range body.Attributes {
		if name == "ignore_changes" { // names arguments of the resource itself
			continue
		}
		for _, to := range attribute.Expr.Variables() {
			if reference, ok := referred(to); ok {
				x.used[reference] = to.SourceRange()
			}
		}
	}
	for _, block := range body.Blocks {
		if block.Type != "required_providers" {
			x.use(block.Body)
		}
	}
}

// referred is what a traversal refers to at the top of a file, if it does.
func referred(to hcl.Traversal) (reference string, ok bool) {
	var words []string
	for _, step := range to {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			words = append(words, step.Name)
		case hcl.TraverseAttr:
			words = append(words, step.Name)
		}
	}
	parts := 2
	if words[0] == "data" {
		parts = 3
	}
	if words[0] == "each" || words[0] == "count" || len(words) < parts {
		return "", false
	}
	return strings.Join(words[:parts], "."), true
}

// syntax is the body of a file in HCL's own syntax.
func syntax(t *testing.T, file *hcl.File) *hclsyntax.Body {
	t.Helper()
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		t.Fatalf("the body is a %T", file.Body)
	}
	return body
}

// list makes up the machines of a count.
func list(n int, machine func(i int) map[string]string) cty.Value {
	var all []cty.Value
	for i := range n {
		all = append(all, object(machine(i)))
	}
	return cty.TupleVal(all)
}

func object(attributes map[string]string) cty.Value {
	values := map[string]cty.Value{}
	for name, value := range attributes {
		values[name] = cty.StringVal(value)
	}
	return cty.ObjectVal(values)
}

// byName makes up the machines of a for_each.
func byName(machine func(address string) cty.Value) cty.Value {
	all := map[string]cty.Value{}
	for i, name := range []string{"cp1", "cp2", "cp3", "worker1", "worker2"} {
		all[name] = machine(fmt.Sprintf("192.0.2.%d", 10+i))
	}
	return cty.MapVal(all)
}

// madeUp are machines as each provider would describe them, by the type and name of the resource.
func madeUp() map[string]map[string]map[string]cty.Value {
	instance := func(name string, from int) func(int) map[string]string {
		return func(i int) map[string]string {
			return map[string]string{
				"public_ip": fmt.Sprintf("203.0.113.%d", from+i), "private_ip": fmt.Sprintf("10.0.1.%d", from+i), "availability_zone": "eu-central-1a",
				"name": fmt.Sprintf("%s%d", name, i+1), "ipv4_address": fmt.Sprintf("203.0.113.%d", from+i), "ip": fmt.Sprintf("10.0.1.%d", from+i),
			}
		}
	}
	tagged := func(machines cty.Value) cty.Value {
		var all []cty.Value
		for _, m := range machines.AsValueSlice() {
			attributes := m.AsValueMap()
			attributes["tags"] = cty.MapVal(map[string]cty.Value{"Name": attributes["name"]})
			all = append(all, cty.ObjectVal(attributes))
		}
		return cty.TupleVal(all)
	}
	planes, workers := list(3, instance("cp", 10)), list(2, instance("worker", 20))
	return map[string]map[string]map[string]cty.Value{
		"aws": {
			"aws_instance": {"control_plane": tagged(planes), "worker": tagged(workers)},
			"aws_lb":       {"api": object(map[string]string{"dns_name": "kw-1.elb.eu-central-1.amazonaws.com"})},
		},
		"hetzner": {
			"hcloud_server":         {"control_plane": planes, "worker": workers},
			"hcloud_server_network": {"control_plane": planes, "worker": workers},
			"hcloud_load_balancer":  {"api": object(map[string]string{"ipv4": "203.0.113.5"})},
		},
		"libvirt": {"libvirt_domain": {"machine": byName(func(address string) cty.Value {
			return cty.ObjectVal(map[string]cty.Value{"network_interface": cty.ListVal([]cty.Value{
				cty.ObjectVal(map[string]cty.Value{"addresses": cty.ListVal([]cty.Value{cty.StringVal(address)})}),
			})})
		})}},
		"vsphere": {"vsphere_virtual_machine": {"machine": byName(func(address string) cty.Value {
			return object(map[string]string{"default_ip_address": address})
		})}},
	}
}

// variables are the defaults, and over them what example.tfvars says.
func (x *example) variables(t *testing.T, dir string) cty.Value {
	t.Helper()
	values := map[string]cty.Value{}
	set := func(name string, expression hcl.Expression) {
		value, problems := expression.Value(nil)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		values[name] = value
	}
	for _, body := range x.bodies {
		for _, block := range body.Blocks {
			if block.Type == "variable" && block.Body.Attributes["default"] != nil {
				set(block.Labels[0], block.Body.Attributes["default"].Expr)
			}
		}
	}
	path := filepath.Join(dir, "example.tfvars")
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, problems := hclsyntax.ParseConfig(source, path, hcl.InitialPos)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	for name, attribute := range syntax(t, file).Attributes {
		if !x.declared["var."+name] {
			t.Errorf("%s: there is no variable %s", path, name)
		}
		set(name, attribute.Expr)
	}
	for name := range x.declared {
		if variable, ok := strings.CutPrefix(name, "var."); ok && values[variable] == cty.NilVal {
			t.Errorf("%s does not give %s, which has no default", path, variable)
		}
	}
	return cty.ObjectVal(values)
}

// output evaluates the output with machines that are made up.
func (x *example) output(t *testing.T, variables cty.Value, resources map[string]map[string]cty.Value) []byte {
	t.Helper()
	scope := &hcl.EvalContext{
		Variables: map[string]cty.Value{"var": variables},
		Functions: map[string]function.Function{"concat": stdlib.ConcatFunc, "startswith": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "prefix", Type: cty.String}},
			Type:   function.StaticReturnType(cty.Bool),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				return cty.BoolVal(strings.HasPrefix(args[0].AsString(), args[1].AsString())), nil
			},
		})},
	}
	for kind, named := range resources {
		scope.Variables[kind] = cty.ObjectVal(named)
	}
	for _, body := range x.bodies {
		for _, block := range body.Blocks {
			if block.Type != "output" || block.Labels[0] != terraform.OutputName {
				continue
			}
			value, problems := block.Body.Attributes["value"].Expr.Value(scope)
			if problems.HasErrors() {
				t.Fatal(problems)
			}
			data, err := ctyjson.Marshal(value, value.Type())
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatal("there is no output " + terraform.OutputName)
	return nil
}

// The examples are well-formed, refer to nothing that is not there, and their outputs are good
// inventories of the cluster files beside them.
func TestExamples(t *testing.T) {
	made := madeUp()
	folders, err := filepath.Glob(filepath.Join(examples, "*", "main.tf"))
	if err != nil || len(folders) != len(made) {
		t.Fatalf("the examples are %v, machines are made up for %v", folders, slices.Sorted(maps.Keys(made)))
	}
	releases, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	for name, resources := range made {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(examples, name)
			x := load(t, dir)
			for reference, at := range x.used {
				if !x.declared[reference] {
					t.Errorf("%s: there is no %s", at, reference)
				}
			}
			for declared := range x.declared {
				_, used := x.used[declared]
				if !used && (strings.HasPrefix(declared, "var.") || strings.HasPrefix(declared, "local.") || strings.HasPrefix(declared, "data.")) {
					t.Errorf("%s is not used", declared)
				}
			}
			value := x.output(t, x.variables(t, dir), resources)
			c, warnings, err := cluster.Load(cluster.Files{
				Cluster: filepath.Join(dir, "cluster.yaml"), Read: os.ReadFile,
				Terraform: func(spec.TerraformSource) (string, []byte, error) {
					return "terraform output -json", []byte(wrap(terraform.OutputName, string(value))), nil
				},
			}, releases)
			if err != nil {
				t.Fatal(err)
			}
			if len(warnings) > 0 || len(c.Hosts) != 5 || len(c.Workers()) != 2 || c.Hosts[0].Name != "cp1" || !c.SharedEndpoint {
				t.Errorf("warnings %v, endpoint %+v, hosts %+v", warnings, c.Endpoint, c.Hosts)
			}
		})
	}
}
