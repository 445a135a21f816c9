package inventory

import (
	"regexp"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation"
)

// longestNodeName is that of a label's value: the kubelet labels each node with its host name,
// and fails where that is longer, though the API would allow a name of 253 characters.
const longestNodeName = validation.LabelValueMaxLength

// checkName says why a name, already in lower case, cannot be a node's; suggestion is a name that
// could be, if there is one. Both are empty for a good name.
func checkName(name string) (why, suggestion string) {
	switch {
	case len(name) > longestNodeName:
		return "is longer than 63 characters, which the kubelet's host name label cannot hold", ""
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		why = "must be lower-case letters, digits, - and ., and begin and end with a letter or digit (RFC 1123)"
		suggestion = strings.Trim(notInNames().ReplaceAllString(name, "-"), "-.")
		if len(validation.IsDNS1123Subdomain(suggestion)) > 0 {
			suggestion = ""
		}
		return why, suggestion
	default:
		return "", ""
	}
}

var notInNames = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[^a-z0-9.-]+`) })

// labelKey says why a text cannot be the key of a label, taint or annotation; "" for a good key.
func labelKey(key string) string {
	if len(validation.IsQualifiedName(key)) == 0 {
		return ""
	}
	return "must be a name of letters, digits, -, _ and ., at most 63 characters, optionally after a domain and a slash (example.com/name)"
}

// labelValue says why a text cannot be the value of a label or taint; "" for a good value.
func labelValue(value string) string {
	if len(validation.IsValidLabelValue(value)) == 0 {
		return ""
	}
	return "must be empty or of letters, digits, -, _ and ., at most 63 characters, and begin and end with a letter or digit"
}

// kubeletLabels are the labels that the kubelet keeps setting to what it finds.
func kubeletLabels() []string {
	return []string{"kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"}
}

// groupName matches the names that the selectors of --limit can name.
var groupName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
})
