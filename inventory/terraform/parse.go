package terraform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubewright/inventory"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// Hosts is what the outputs say.
type Hosts struct {
	// Source has the hosts, for inventory.Resolve; its faults name JSON paths in the outputs.
	Source inventory.Source
	// Access is the way to the API servers, with the place where it stands in Source.Doc.
	Access   spec.Access
	AccessAt strict.Path
	// Warnings are about outputs that are there and have no effect.
	Warnings strict.Faults
}

// Parse reads outputs as `terraform output -json` prints them. name stands in faults; its folder is
// what relative paths in the outputs are relative to. Every fault names its JSON path; no value of
// a sensitive output is shown. With faults, Source holds what could be understood, so that Resolve
// can look for more; its Doc is nil when that is nothing.
func Parse(name string, data []byte) (Hosts, strict.Faults) {
	outputs, err := split(data)
	if err != nil {
		return Hosts{}, broken(name, "this is not what terraform output -json prints: "+err.Error())
	}
	known := []string{OutputName}
	read := readContract
	if _, ok := outputs[OutputName]; !ok {
		known, read = kubeOneOutputs(), readKubeOne
		if _, ok := outputs[kubeOneHosts]; !ok {
			return Hosts{}, broken(name, missing(outputs))
		}
	}
	var faults strict.Faults
	wanted := map[string]json.RawMessage{}
	for _, output := range known {
		raw, ok := outputs[output]
		if !ok {
			continue
		}
		if why := refuse(raw); why != "" {
			faults = append(faults, strict.Fault{File: name, Path: output, Message: why})
			continue
		}
		wanted[output] = raw
	}
	if len(faults) > 0 {
		return Hosts{}, faults
	}
	plain, err := encode(wanted)
	if err != nil {
		return Hosts{}, broken(name, err.Error())
	}
	return read(name, plain)
}

// split takes the outputs apart, and understands none of them.
func split(data []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	var outputs map[string]json.RawMessage
	if err := decoder.Decode(&outputs); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, errors.New("something follows the JSON object")
	}
	return outputs, nil
}

// refuse says why an output cannot be read, whatever it holds; "" where it can.
func refuse(raw json.RawMessage) string {
	var wrapper struct {
		Sensitive bool            `json:"sensitive"`
		Value     json.RawMessage `json:"value"`
	}
	switch err := json.Unmarshal(raw, &wrapper); {
	case err != nil:
		return "expected the object that terraform output -json wraps around a value, with the keys sensitive, type and value"
	case wrapper.Sensitive:
		return "the output is sensitive, but plans and logs show the hosts: remove sensitive = true, " +
			"and take nonsensitive() of what the value is made of; secrets do not belong into it (write env:NAME or file:PATH)"
	case len(wrapper.Value) == 0 || string(wrapper.Value) == "null":
		return "the output has no value: apply the Terraform configuration first, or run kubewright apply with --terraform-apply"
	}
	return ""
}

// missing is the message where no output describes hosts.
func missing(outputs map[string]json.RawMessage) string {
	if len(outputs) == 0 {
		return "there are no outputs: apply the Terraform configuration first, or run kubewright apply with --terraform-apply; " +
			"the hosts stand in an output named " + OutputName
	}
	names := slices.Sorted(maps.Keys(outputs))
	message := fmt.Sprintf("there is no output named %s (nor %s)", OutputName, kubeOneHosts)
	if near := strict.Nearest(OutputName, names); near != "" {
		return message + fmt.Sprintf("; is %q meant to be it?", near)
	}
	const most = 10
	shown := names
	if len(shown) > most {
		shown = append(slices.Clone(shown[:most]), "...")
	}
	return message + fmt.Sprintf("; there is %s. If it was added to the configuration since, apply that first", strings.Join(quoted(shown), ", "))
}

func quoted(names []string) []string {
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = fmt.Sprintf("%q", name)
	}
	return shown
}

// encode writes the outputs as JSON that is YAML too: no escapes of surrogates, which YAML lacks, and
// escapes for what YAML does not allow in a file, so that it is refused where it stands.
func encode(outputs map[string]json.RawMessage) ([]byte, error) {
	decoded := map[string]any{}
	for name, raw := range outputs {
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		var value any
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		decoded[name] = value
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ") // YAML bounds the length of a key's line
	if err := encoder.Encode(decoded); err != nil {
		return nil, err
	}
	var plain bytes.Buffer
	for _, r := range out.String() {
		if r >= 0x7F && r < 0xA0 || r == 0xFEFF || r == 0xFFFE || r == 0xFFFF {
			fmt.Fprintf(&plain, `\u%04x`, r)
			continue
		}
		plain.WriteRune(r)
	}
	return plain.Bytes(), nil
}

// readContract reads the output kubewright.
func readContract(name string, data []byte) (Hosts, strict.Faults) {
	var d document
	doc, faults := decode(name, data, &d)
	at := strict.At(OutputName, "value")
	v := d.Kubewright.Value
	return Hosts{
		Source: inventory.Source{
			Doc: doc, At: at, Groups: v.Groups, Hosts: v.Hosts,
			Defaults: []inventory.SSHDefaults{{Doc: doc, At: at.Key("defaults", "ssh"), Spec: v.Defaults.SSH}},
		},
		Access: v.ControlPlane, AccessAt: at.Key("controlPlane"),
	}, faults
}

// decode is strict.Decode for a document that nobody has as a file, so that lines mean nothing.
func decode(name string, data []byte, into any) (*strict.Document, strict.Faults) {
	doc, faults := strict.Decode(name, data, into)
	for i := range faults {
		faults[i].Line, faults[i].Column = 0, 0
	}
	return doc.Elsewhere(func(at strict.Path) strict.Path { return at }), faults
}

// broken is the fault of outputs as a whole.
func broken(name, message string) strict.Faults {
	return strict.Faults{{File: name, Message: message}}
}
