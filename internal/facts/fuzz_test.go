package facts

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// One record of a report says anything at all, in a frame that fits: then the host is known as a
// host can be, or it is not known. FuzzParse seldom gets past the frame.
func FuzzRecord(f *testing.F) {
	reports := fixtures(f)
	names := slices.Sorted(maps.Keys(reports))
	for n, name := range names {
		lines := strings.Split(reports[name], "\n")
		for i, line := range lines {
			f.Add(uint8(n), uint16(i), line)
			if i%5 == 0 {
				key, _, _ := strings.Cut(line, " ")
				f.Add(uint8(n), uint16(i), "unknown "+key+" why")
				f.Add(uint8(n), uint16(i), line+"\x1b[2J")
				f.Add(uint8(n), uint16(i), line+"\n"+line)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint16, record string) {
		lines := strings.Split(strings.TrimSuffix(reports[names[int(which)%len(names)]], "\n"), "\n")
		lines[1+int(at)%(len(lines)-2)] = record
		whole := strings.Join(lines[:len(lines)-1], "\n")
		whole += fmt.Sprintf("\nend %d ok\n", strings.Count(whole, "\n")+1)
		got, err := Parse([]byte(whole))
		if err != nil {
			if strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("the error is not one line of text: %q", err)
			}
			return
		}
		if got.CPUs < 1 || got.MemoryBytes < 0 || got.Time.IsZero() || got.ResolvConf == "" {
			t.Errorf("accepted an impossible host: %+v", got)
		}
		checkTexts(t, reflect.ValueOf(got))
		again, err := Parse([]byte(whole))
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("read again it is another host: %v", err)
		}
	})
}

// checkTexts checks that no text of a host can garble the operator's terminal.
func checkTexts(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		if strings.ContainsFunc(v.String(), unicode.IsControl) {
			t.Errorf("%q has a control character", v.String())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				checkTexts(t, v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			checkTexts(t, v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			checkTexts(t, key)
			checkTexts(t, v.MapIndex(key))
		}
	default: // no text in it
	}
}
