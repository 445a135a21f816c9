package report

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"kubewright/internal/fault"
)

// What is read is what was written, commands, kinds of failures and hints included.
func TestRecord(t *testing.T) {
	var file bytes.Buffer
	r := NewRecord(&file)
	written := aRun()
	for _, e := range written {
		r.Emit(e)
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	read, lost, err := ReadRecord(&file)
	if err != nil || lost != 0 || len(read) != len(written) {
		t.Fatalf("%d events, %d lost, %v; want %d", len(read), lost, err, len(written))
	}
	for i, got := range read {
		want := written[i]
		if (got.Err == nil) != (want.Err == nil) {
			t.Fatalf("%+v was written, and %+v read", want, got)
		}
		if want.Err != nil && (got.Err.Error() != want.Err.Error() || fault.KindOf(got.Err) != fault.KindOf(want.Err) || !slices.Equal(fault.Hints(got.Err), fault.Hints(want.Err))) {
			t.Errorf("the error %#v was written, and %#v read", want.Err, got.Err)
		}
		if !got.Time.Equal(want.Time) || got.Kind != want.Kind || got.Host != want.Host || got.Phase != want.Phase || got.Resource != want.Resource ||
			got.Message != strings.ToValidUTF8(want.Message, "\ufffd") || got.Duration != want.Duration || len(got.Attrs) != len(want.Attrs) {
			t.Errorf("%+v was written, and %+v read", want, got)
		}
	}
}

func TestReadRecord(t *testing.T) {
	const event = `{"time":"2026-03-01T12:00:00Z","kind":"notice"}` + "\n"
	for name, tc := range map[string]struct {
		content      string
		events, lost int
		refused      bool
	}{
		"empty":                 {"", 0, 0, true},
		"something else":        {"<html>\n", 0, 1, true},
		"one event":             {event, 1, 0, false},
		"the last one cut":      {event + event[:20], 1, 1, false},
		"whole but for its end": {event + strings.TrimSpace(event), 2, 0, false},
		"one broken in between": {event + "}{\n" + event, 2, 1, false},
		"without a kind":        {event + `{"time":"2026-03-01T12:00:00Z"}` + "\n", 1, 1, false},
		"without a time":        {event + `{"kind":"notice"}` + "\n", 1, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			events, lost, err := ReadRecord(strings.NewReader(tc.content))
			if len(events) != tc.events || lost != tc.lost || (err != nil) != tc.refused {
				t.Errorf("%d events, %d lost, %v", len(events), lost, err)
			}
		})
	}
	broken := io.MultiReader(strings.NewReader(event), failing{})
	if events, _, err := ReadRecord(broken); !errors.Is(err, errBroken) || len(events) != 1 {
		t.Errorf("%d events, %v, of a file that cannot be read to its end", len(events), err)
	}
}

// errBroken is what a disk says that is broken, or full.
var errBroken = errors.New("broken")

// failing is a file on a disk that is broken, or full.
type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errBroken }
func (failing) Write([]byte) (int, error) { return 0, errBroken }

// A full disk ends a record, and nothing else: what comes later would stand in the middle of a line.
func TestRecordThatCannotBeWritten(t *testing.T) {
	var file bytes.Buffer
	disk := &filling{to: &file, room: 100}
	r := NewRecord(disk)
	for _, e := range aRun() {
		r.Emit(e)
	}
	if !errors.Is(r.Err(), errBroken) || disk.refused != 1 {
		t.Errorf("%v, and %d writes were refused", r.Err(), disk.refused)
	}
}

// filling is a disk that has room for so many bytes.
type filling struct {
	to            io.Writer
	room, refused int
}

func (f *filling) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		f.refused++
		return 0, errBroken
	}
	return f.to.Write(p)
}

func TestMemory(t *testing.T) {
	var m Memory
	attrs := map[string]string{"a": "1"}
	m.Emit(Event{Kind: Notice, Attrs: attrs})
	attrs["a"] = "2"
	if got := m.Events(); len(got) != 1 || got[0].Attrs["a"] != "1" {
		t.Errorf("it kept %+v", got)
	}
}

// Whatever is in a record, it is read or refused; and whatever is said is read as it was written.
func FuzzRecord(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, content, message string) {
		if events, _, err := ReadRecord(strings.NewReader(content)); (err == nil) != (len(events) > 0) {
			t.Errorf("%d events, %v", len(events), err)
		}
		var file bytes.Buffer
		NewRecord(&file).Emit(Event{Time: at(1), Kind: Notice, Host: message, Message: message, Err: errors.New(message)})
		events, lost, err := ReadRecord(&file)
		if err != nil || lost != 0 || len(events) != 1 {
			t.Fatalf("%d events, %d lost, %v", len(events), lost, err)
		}
		if want := string([]rune(message)); events[0].Message != want || events[0].Host != want {
			t.Errorf("%q was written, and %q read", message, events[0].Message)
		}
	})
}
