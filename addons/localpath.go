package addons

import "encoding/json"

// LocalPathConfig is the provisioner's configuration: one folder for all nodes.
func (p Params) LocalPathConfig() (string, error) {
	const everyOther = "DEFAULT_PATH_FOR_NON_LISTED_NODES" // the provisioner's word
	return asText(map[string]any{"nodePathMap": []any{
		map[string]any{"node": everyOther, "paths": []string{p.Addons.LocalPath.Path}},
	}})
}

// LocalPathHelper is the pod that makes and removes the folder of a volume: upstream's, with an image whose
// version is known.
func (p Params) LocalPathHelper() (string, error) {
	return asText(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "helper-pod"},
		"spec": map[string]any{
			"priorityClassName": "system-node-critical",
			"tolerations":       []any{map[string]any{"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"}},
			"containers": []any{map[string]any{
				"name": "helper-pod", "image": p.Release.Image("busybox"), "imagePullPolicy": "IfNotPresent",
			}},
		},
	})
}

// asText is a value as JSON, which is YAML too.
func asText(value any) (string, error) {
	data, err := json.Marshal(value)
	return string(data), err
}
