package manifest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"kubewright/internal/objects"
)

// buildKustomization builds a kustomization as `kustomize build` does. Kustomize has no switch for remote
// resources, which it would fetch with git and HTTP: they are looked for before it runs.
func buildKustomization(folder string) ([]objects.Located, error) {
	file, err := kustomizationIn(folder)
	if err != nil {
		return nil, err
	}
	// Kustomize takes relative paths for references to repositories, if they look like it.
	root, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	if err := (&kustomizations{seen: map[string]bool{}}).check(folder); err != nil {
		return nil, err
	}
	built, err := quietly(func() (resmap.ResMap, error) {
		return krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), root)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, explainKustomize(err))
	}
	stream, err := built.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return objects.Decode(file+" (as built)", stream)
}

// explainKustomize says what to do about errors that do not.
func explainKustomize(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "is not in or below"):
		return fmt.Errorf("%w: a kustomization reads files of its own folder only, so move the file there, or make its folder "+
			"a kustomization and name that under resources", err)
	case strings.Contains(text, "must specify --enable-helm"):
		return fmt.Errorf("%w: charts are not rendered in kustomizations, so make the chart an addon of its own", err)
	case strings.Contains(text, "external plugins disabled"), strings.Contains(text, "unable to find plugin root"):
		return fmt.Errorf("%w: a kustomization runs no programs, so build it with kustomize, and name the result as manifests", err)
	default:
		return err
	}
}

// kustomizationIn returns the file of the kustomization in a folder.
func kustomizationIn(folder string) (string, error) {
	info, err := os.Stat(folder)
	switch {
	case err != nil:
		return "", missing(err, "name a folder with a kustomization.yaml on this machine")
	case !info.IsDir():
		return "", fmt.Errorf("%s: it is a file: name the folder with the kustomization.yaml", folder)
	}
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if file := filepath.Join(folder, name); exists(file) {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: the folder has no kustomization.yaml: create it, or name the folder as manifests", folder)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// kustomizations looks for remote resources in a kustomization and all that it leads to.
type kustomizations struct {
	seen map[string]bool // folders, by path
}

func (k *kustomizations) check(folder string) error {
	folder = filepath.Clean(folder)
	if k.seen[folder] {
		return nil // kustomize refuses the circle
	}
	k.seen[folder] = true
	file, err := kustomizationIn(folder)
	if err != nil {
		return err
	}
	return k.file(file, folder)
}

// file looks at a kustomization, or at the configuration of one of kustomize's own generators, transformers and
// validators, which may name files too. Paths in it are relative to the folder.
func (k *kustomizations) file(file, folder string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return k.content(reference{file: file, folder: folder}, data)
}

func (k *kustomizations) content(at reference, data []byte) error {
	documents, err := objects.Mappings(at.file, data)
	if err != nil {
		return err
	}
	var bad []error
	for _, d := range documents {
		bad = append(bad, k.mapping(at, d))
	}
	return errors.Join(bad...)
}

// reference is a path as it is written in a kustomization.
type reference struct {
	file   string // where it is written
	folder string // what it is relative to
	key    string // below which it is written
	path   string
}

func (k *kustomizations) mapping(at reference, content map[string]any) error {
	var bad []error
	for key, value := range content {
		at.key = key
		switch value := value.(type) {
		case map[string]any:
			bad = append(bad, k.mapping(at, value))
		case string:
			at.path = value
			bad = append(bad, k.reference(at))
		case []any:
			for _, item := range value {
				switch item := item.(type) {
				case map[string]any:
					at.key = key
					bad = append(bad, k.mapping(at, item))
				case string:
					at.key, at.path = key, item
					bad = append(bad, k.reference(at))
				}
			}
		}
	}
	// A mapping has no order; the errors of one have.
	bad = slices.DeleteFunc(bad, func(err error) bool { return err == nil })
	slices.SortFunc(bad, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(bad...)
}

// reference refuses a reference to what is not on this machine, and follows one to what is.
func (k *kustomizations) reference(r reference) error {
	target := r.path
	if !filepath.IsAbs(target) {
		target = filepath.Join(r.folder, r.path)
	}
	switch r.key {
	case "resources", "bases", "components", "crds", "configurations":
		// Kustomize reads these as references to repositories, of which it clones what it can understand.
		if remoteForm().MatchString(r.path) || !exists(target) && strings.ContainsAny(r.path, "?@:") {
			return r.refuse()
		}
		if !exists(target) {
			return fmt.Errorf("%s: %s: %s is not there: create it, or remove it from the list", r.file, r.key, r.path)
		}
		return k.follow(target)
	case "generators", "transformers", "validators":
		if strings.Contains(r.path, "\n") { // the configuration itself
			return k.content(reference{file: r.file + " (in " + r.key + ")", folder: r.folder}, []byte(r.path))
		}
		if remoteForm().MatchString(r.path) {
			return r.refuse()
		}
		if info, err := os.Stat(target); err == nil && !info.IsDir() {
			return k.file(target, r.folder)
		}
		return k.follow(target)
	case "path", "paths", "files", "envs", "env", "patchesStrategicMerge":
		path := r.path
		if _, after, named := strings.Cut(path, "="); named && r.key == "files" {
			path = after
		}
		if scheme().MatchString(path) {
			return r.refuse()
		}
	}
	return nil
}

func (k *kustomizations) follow(target string) error {
	if info, err := os.Stat(target); err == nil && info.IsDir() {
		return k.check(target)
	}
	return nil // a file of objects leads nowhere; kustomize says what is missing
}

func (r reference) refuse() error {
	return fmt.Errorf("%s: %s: %s is remote, and what it holds may change at any time: copy it beside the kustomization, "+
		"and name the copy", r.file, r.key, r.path)
}

// scheme is how a URL begins; remoteForm is that of what kustomize may take for one, or for a repository.
var (
	scheme     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)^\s*https?:`) })
	remoteForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)^\s*(git::|[a-z][a-z0-9+.-]*:/|[^/]*@|(www\.)?github\.com[:/]|gh:)`)
	})
)
