package componentconfig

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TimeOrMetaDuration is a duration, as text such as "5s", or in nanoseconds, as it was first.
type TimeOrMetaDuration struct {
	Duration metav1.Duration
	// SerializeAsString is whether it was text.
	SerializeAsString bool `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *TimeOrMetaDuration) UnmarshalJSON(data []byte) error {
	d.SerializeAsString = strings.HasPrefix(string(data), `"`)
	if d.SerializeAsString {
		return json.Unmarshal(data, &d.Duration)
	}
	if err := json.Unmarshal(data, &d.Duration.Duration); err != nil {
		return fmt.Errorf("invalid duration %q: %w", data, err)
	}
	return nil
}
