package inventory

import (
	"strings"

	"kubewright/spec/strict"
)

// Taint keeps pods off a node, written key=value:Effect or key:Effect as with kubectl taint.
type Taint struct {
	Key, Value string
	// Effect is NoSchedule, PreferNoSchedule or NoExecute.
	Effect string
}

func taintEffects() []string { return []string{"NoSchedule", "PreferNoSchedule", "NoExecute"} }

// String renders the taint as kubectl and the kubelet read it.
func (t Taint) String() string {
	if t.Value == "" {
		return t.Key + ":" + t.Effect
	}
	return t.Key + "=" + t.Value + ":" + t.Effect
}

// MarshalText renders the taint as String does.
func (t Taint) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads key=value:Effect or key:Effect.
func (t *Taint) UnmarshalText(text []byte) error {
	left, effect, ok := strings.Cut(string(text), ":")
	if !ok {
		return &strict.ValueError{Message: "the taint has no effect", Suggestion: string(text) + ":NoSchedule"}
	}
	key, value, _ := strings.Cut(left, "=")
	known := strict.Nearest(effect, taintEffects())
	switch {
	case known == "":
		return &strict.ValueError{Message: "a taint ends in :" + strings.Join(taintEffects(), ", :") + ", not in :" + effect}
	case known != effect:
		return &strict.ValueError{Message: "unknown effect of a taint", Suggestion: left + ":" + known}
	}
	if why := labelKey(key); why != "" {
		return &strict.ValueError{Message: "the key of a taint " + why}
	}
	if why := labelValue(value); why != "" {
		return &strict.ValueError{Message: "the value of a taint " + why}
	}
	*t = Taint{Key: key, Value: value, Effect: effect}
	return nil
}
