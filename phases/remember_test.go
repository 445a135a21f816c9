package phases

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"kubewright/templates"
)

// What cannot be compared is told apart by how it prints: nothing in it may print as anything but its value.
func TestRememberedDataPrintsItsValue(t *testing.T) {
	for _, render := range []any{
		templates.ContainerdConfig, templates.HAProxy, templates.HAProxyConfig, templates.KubeletConfig, templates.KubeletUnit,
		templates.ModulesLoadConf, templates.SysctlConf, registryHosts, byproducts, newReleaseFiles(),
	} {
		if data := reflect.TypeOf(render).In(0); !data.Comparable() {
			wantPrinted(t, data, data.String())
		}
	}
}

// wantPrinted: the values of a type print as what they are. What is in an any comes out of YAML.
func wantPrinted(t *testing.T, of reflect.Type, where string) {
	t.Helper()
	for _, other := range []reflect.Type{reflect.TypeFor[fmt.GoStringer](), reflect.TypeFor[fmt.Formatter]()} {
		if of.Implements(other) {
			t.Errorf("%s is a %s, and prints what it likes", where, of)
		}
	}
	switch kind := of.Kind(); {
	case slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Func, reflect.Chan, reflect.UnsafePointer}, kind):
		t.Errorf("%s prints as an address", where)
	case kind == reflect.Map:
		wantPrinted(t, of.Key(), where+" (key)")
		wantPrinted(t, of.Elem(), where+"[]")
	case kind == reflect.Slice, kind == reflect.Array:
		wantPrinted(t, of.Elem(), where+"[]")
	case kind == reflect.Struct && of.PkgPath() != "net/netip": // equal addresses share the pointer in them
		for i := range of.NumField() {
			wantPrinted(t, of.Field(i).Type, where+"."+of.Field(i).Name)
		}
	}
}

func TestRemember(t *testing.T) {
	type data struct {
		Address netip.Addr
		Patch   map[string]any
		Names   []string
	}
	made := 0
	length := remember(func(d data) (int, error) {
		made++
		if len(d.Names) == 0 {
			return 0, errors.New("no names")
		}
		return len(d.Names) + len(d.Patch), nil
	})
	at := netip.MustParseAddr("192.0.2.1")
	for _, tc := range []struct {
		data data
		want int
		made int // so far
	}{
		{data{at, map[string]any{"a": 1, "b": "x"}, []string{"n"}}, 3, 1},
		{data{netip.MustParseAddr("192.0.2.1"), map[string]any{"b": "x", "a": 1}, []string{"n"}}, 3, 1},
		{data{at, map[string]any{"a": 1, "b": 2}, []string{"n"}}, 3, 2},
		{data{at, nil, []string{"n m"}}, 1, 3},
		{data{at, nil, []string{"n", "m"}}, 2, 4},
		{data{netip.MustParseAddr("192.0.2.2"), nil, []string{"n", "m"}}, 2, 5},
		{data{at, map[string]any{"a": 1, "b": "x"}, []string{"n"}}, 3, 5},
	} {
		got, err := length(tc.data)
		if got != tc.want || err != nil || made != tc.made {
			t.Errorf("%+v: %d, %v, made %d times; want %d, made %d times", tc.data, got, err, made, tc.want, tc.made)
		}
	}
	for range 2 {
		if _, err := length(data{}); err == nil || made != 6 {
			t.Errorf("error %v, made %d times; want the same error, made once", err, made)
		}
	}
	half := remember(func(n int) (int, error) { made++; return n / 2, nil })
	for range 3 {
		if got, err := half(8); got != 4 || err != nil || made != 7 {
			t.Errorf("%d, %v, made %d times", got, err, made)
		}
	}
}
