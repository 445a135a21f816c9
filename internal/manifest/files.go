package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"

	"kubewright/internal/objects"
)

// readManifests reads a file, or the files of a folder and the folders in it.
func readManifests(path string) ([]objects.Located, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, missing(err, "create it, or name another file or folder of manifests")
	}
	if !info.IsDir() {
		return readManifest(path)
	}
	files, err := manifestsIn(path)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no file in it, or in the folders of it, ends with .yaml, .yml or .json", path)
	}
	var all []objects.Located
	var bad []error
	for _, file := range files {
		found, err := readManifest(file)
		all, bad = append(all, found...), append(bad, err)
	}
	return all, errors.Join(bad...)
}

func readManifest(file string) ([]objects.Located, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, missing(err, "mend it, or name another one")
	}
	return objects.Decode(file, data)
}

// manifestsIn lists the manifests of a folder, sorted. What is there for other tools is an error: applied as
// it is, it would be something else than what is meant.
func manifestsIn(folder string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case strings.HasPrefix(name, ".") && path != folder:
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		case slices.Contains(konfig.RecognizedKustomizationFileNames(), name):
			return fmt.Errorf("%s: the folder is a kustomization, not manifests: name it as such", path)
		case name == "Chart.yaml":
			return fmt.Errorf("%s: the folder is a chart, not manifests: name it as such", path)
		case !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)):
			return nil
		}
		if info, err := os.Stat(path); err != nil {
			return err
		} else if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: it is no file: links to folders are not followed", path)
		}
		files = append(files, path)
		return nil
	})
	return files, err
}

// missing gives an error of the file system, which names the path, a remedy.
func missing(err error, remedy string) error { return fmt.Errorf("%w: %s", err, remedy) }
