package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// checkSchema checks the values of a chart and of those in it against their values.schema.json. Helm's own
// check does not say which value it is about in a form that can be used, and follows references into the network.
func checkSchema(c *chart.Chart, values map[string]any, above []string) error {
	var bad []error
	if len(c.Schema) > 0 {
		bad = append(bad, checkValues(c, values, above))
	}
	for _, sub := range c.Dependencies() {
		switch own := values[sub.Name()].(type) {
		case nil:
		case map[string]any:
			bad = append(bad, checkSchema(sub, own, append(slices.Clip(above), sub.Name())))
		default:
			bad = append(bad, fmt.Errorf("value %s: it is for the chart in charts/, and has to be a mapping", strings.Join(append(above, sub.Name()), ".")))
		}
	}
	return errors.Join(bad...)
}

func checkValues(c *chart.Chart, values map[string]any, above []string) error {
	file := c.ChartFullPath() + "/values.schema.json"
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(c.Schema))
	if err != nil {
		return fmt.Errorf("%s: it is not JSON: %w", file, err)
	}
	const here = "mem:///values.schema.json"
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource(here, schema); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	compiled, err := compiler.Compile(here)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var invalid *jsonschema.ValidationError
	if err := compiled.Validate(values); !errors.As(err, &invalid) {
		return err
	}
	var bad []error
	for _, leaf := range leaves(invalid) {
		name := strings.Join(append(slices.Clip(above), leaf.InstanceLocation...), ".")
		if name == "" {
			name = "at the top"
		}
		bad = append(bad, fmt.Errorf("value %s: %s: correct it in the values of the chart (%s)", name, reason(leaf), file))
	}
	return errors.Join(bad...)
}

// leaves are the errors that explain the others.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}

// reason says what is wrong with a value without repeating it: it may be a password.
func reason(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Pattern:
		return "it does not match the pattern " + k.Want
	case *kind.Format:
		return "it is not a valid " + k.Want
	case *kind.Not, *kind.Const:
		return "it is not what is allowed there"
	default:
		return e.BasicOutput().Error.String()
	}
}

// noLoader refuses to load what a schema refers to.
type noLoader struct{}

// Load refuses.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is not in the chart, and nothing is fetched: put it under $defs in the schema of an unpacked chart", url)
}
