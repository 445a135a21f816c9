package spec

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubewright/spec/strict"
)

// validator collects the faults of one file.
type validator struct {
	strict.Checker
	spec *Spec
}

// at is a path below spec.
func at(keys ...string) strict.Path { return strict.At("spec").Key(keys...) }

func (f *File) validate() Faults {
	v := &validator{Checker: strict.Checker{Doc: f.doc}, spec: &f.Spec}
	v.name(f.Metadata.Name)
	v.network()
	v.endpoint()
	v.vip()
	v.extraArgs()
	v.externalEtcd()
	v.configs()
	v.artifacts()
	v.registryMirrors()
	v.rollout()
	v.customAddons()
	v.inventory()
	v.metalLB()
	v.localPath()
	v.nfs()
	v.registry()
	v.calico()
	v.coreDNS()
	v.nodeLocalDNS()
	v.ingress()
	for i, name := range f.Spec.Preflight.Ignore {
		if name == "" {
			v.Refuse(at("preflight", "ignore").Index(i), "the name of a check must not be empty")
		}
	}
	return v.Faults
}

func (v *validator) name(name string) {
	if name == "" || len(validation.IsDNS1123Label(name)) == 0 {
		return
	}
	v.Suggest(strict.At("metadata", "name"), asLabel(name),
		"the name %q must be of lower-case letters, digits and -, begin and end with a letter or digit, and have at most 63 characters", name)
}

// asLabel makes the nearest name that could be a DNS label; "" when there is none.
func asLabel(name string) string {
	label := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	label = strings.Trim(label, "-")
	if len(validation.IsDNS1123Label(label)) > 0 {
		return ""
	}
	return label
}
