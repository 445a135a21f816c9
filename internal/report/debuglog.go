package report

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// NewDebugLog returns a sink that writes every event, commands and their durations included, as
// a line of key=value pairs with RFC 3339 times in UTC: the file to attach to a bug report.
func NewDebugLog(w io.Writer) Sink {
	return debugLog{slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})}
}

// debugLog leaves writing whole lines at a time to its handler, which is safe for concurrent use.
type debugLog struct{ handler slog.Handler }

func (d debugLog) Emit(e Event) {
	r := slog.NewRecord(e.Time.UTC(), level(e), string(e.Kind), 0)
	for _, a := range []slog.Attr{
		slog.String("host", e.Host),
		slog.String("phase", e.Phase),
		slog.String("resource", e.Resource),
		slog.String("message", e.Message),
	} {
		if a.Value.String() != "" {
			r.AddAttrs(slog.String(a.Key, visible(a.Value.String())))
		}
	}
	if e.Duration != 0 {
		r.AddAttrs(slog.Duration("duration", e.Duration.Round(time.Microsecond)))
	}
	for _, key := range slices.Sorted(maps.Keys(e.Attrs)) {
		r.AddAttrs(slog.String(key, visible(e.Attrs[key])))
	}
	if e.Err != nil {
		r.AddAttrs(slog.String("error", visible(e.Err.Error())))
	}
	_ = d.handler.Handle(context.Background(), r)
}

// visible shows the one control character that slog's text handler takes for a letter.
func visible(s string) string { return strings.ReplaceAll(s, "\x7f", `\x7f`) }

func level(e Event) slog.Level {
	switch {
	case e.Err != nil:
		return slog.LevelError
	case e.Kind == Warning:
		return slog.LevelWarn
	case e.Kind == Exec:
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}
