package componentconfig

import (
	"encoding/json"
	"reflect"
	"testing"

	logs "k8s.io/component-base/logs/api/v1"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubelet "k8s.io/kubelet/config/v1beta1"
)

// What these types accept has to be what the components accept.
func TestTypesAreThoseOfKubernetes(t *testing.T) {
	seen := map[reflect.Type]bool{}
	same(t, seen, reflect.TypeFor[KubeletConfiguration](), reflect.TypeFor[kubelet.KubeletConfiguration]())
	same(t, seen, reflect.TypeFor[KubeProxyConfiguration](), reflect.TypeFor[kubeproxy.KubeProxyConfiguration]())
	if len(seen) < 40 {
		t.Errorf("compared %d types", len(seen))
	}
}

func same(t *testing.T, seen map[reflect.Type]bool, ours, theirs reflect.Type) {
	t.Helper()
	if seen[ours] || ours == theirs {
		seen[ours] = true
		return
	}
	seen[ours] = true
	decodes := func(t reflect.Type) bool { return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) }
	if ours.Name() != theirs.Name() || ours.Kind() != theirs.Kind() || decodes(ours) != decodes(theirs) {
		t.Errorf("%s is not as %s: run go generate ./spec/componentconfig", ours, theirs)
		return
	}
	switch ours.Kind() {
	case reflect.Struct:
		if ours.NumField() != theirs.NumField() {
			t.Errorf("%s has %d fields, %s has %d: run go generate ./spec/componentconfig", ours, ours.NumField(), theirs, theirs.NumField())
			return
		}
		for i := range ours.NumField() {
			a, b := ours.Field(i), theirs.Field(i)
			if a.Name != b.Name || a.Anonymous != b.Anonymous || a.Tag.Get("json") != b.Tag.Get("json") {
				t.Errorf("field %s `%s` of %s is %s `%s` in %s: run go generate ./spec/componentconfig", a.Name, a.Tag, ours, b.Name, b.Tag, theirs)
			}
			same(t, seen, a.Type, b.Type)
		}
	case reflect.Map:
		same(t, seen, ours.Key(), theirs.Key())
		same(t, seen, ours.Elem(), theirs.Elem())
	case reflect.Slice, reflect.Pointer:
		same(t, seen, ours.Elem(), theirs.Elem())
	default: // the kind is all there is
	}
}

// The one type that decodes itself and is written by hand.
func TestTimeOrMetaDuration(t *testing.T) {
	for _, text := range []string{`"5s"`, `"1h0m5s"`, `5000000000`, `0`, `null`, `""`, `"5"`, `5.5`, `true`, `{}`} {
		var ours TimeOrMetaDuration
		var theirs logs.TimeOrMetaDuration
		gotErr, wantErr := json.Unmarshal([]byte(text), &ours), json.Unmarshal([]byte(text), &theirs)
		if (gotErr == nil) != (wantErr == nil) || ours.Duration != theirs.Duration || ours.SerializeAsString != theirs.SerializeAsString {
			t.Errorf("%s: %+v, %v; Kubernetes has %+v, %v", text, ours, gotErr, theirs, wantErr)
		}
	}
}
