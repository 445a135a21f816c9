package artifact_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"kubewright/cluster"
	"kubewright/internal/artifact"
	"kubewright/internal/resource"
)

// A download that stands still ends, and leaves nothing; one that is merely slow does not.
func TestStalledDownload(t *testing.T) {
	const content = "12345678"
	for name, slow := range map[string]bool{"stands still": false, "slow": true} {
		t.Run(name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for _, b := range content {
					_, _ = io.WriteString(w, string(b))
					w.(http.Flusher).Flush()
					if !slow {
						<-ctx.Done()
						return
					}
					<-time.After(100 * time.Millisecond)
				}
			}))
			t.Cleanup(server.Close)
			t.Cleanup(end)
			cache := t.TempDir()
			s := artifact.New(artifact.Config{Source: cluster.Artifacts{Source: "mirror", MirrorURL: server.URL}, Cache: cache, Stall: 500 * time.Millisecond})
			_, err := s.Open(t.Context(), resource.Artifact{Name: "tool", Version: "v1", Upstream: toolURL, SHA256: sum(content)})
			if slow {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "no byte came for 500ms") || !strings.Contains(err.Error(), "tool") {
				t.Errorf("error %v", err)
			}
			if left, err := os.ReadDir(cache); err != nil || len(left) > 0 {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}
