package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"

	"kubewright/internal/objects"
)

// renderChart renders a chart as `helm template --include-crds` does, so that .Release.IsInstall is true, lookup
// finds nothing, and notes are dropped. The differences:
//
//   - A chart is told the versions of the API that the release serves as stable, those of its own crds/, and
//     those of Env; helm template tells it all that Helm was compiled with.
//   - Enabled dependencies have to be in charts/, in a version that Chart.yaml allows.
//   - References to other files in a values.schema.json are refused, Helm would fetch them.
//   - What differs from run to run is refused: see steady.go. The functions keys and values sort.
//   - There is no life cycle of hooks: see hooks.go.
func (s Source) renderChart(ctx context.Context, env Env) ([]objects.Located, error) {
	release := s.Chart.ReleaseName
	if release == "" {
		release = s.Name
	}
	if err := chartutil.ValidateReleaseName(release); err != nil {
		return nil, fmt.Errorf("the name %q is not one for a release of a chart: "+
			"use lower-case letters, digits and dashes, 53 at most, in the addon's name or as the release name", release)
	}
	values, err := s.Chart.values()
	if err != nil {
		return nil, err
	}
	load, err := s.Chart.open(ctx, env)
	if err != nil {
		return nil, err
	}
	kube, err := common.ParseKubeVersion(env.Kubernetes)
	if err != nil {
		return nil, fmt.Errorf("release of Kubernetes %q: %w", env.Kubernetes, err)
	}
	r := rendering{
		chart: s.Chart, load: load, values: values,
		release: common.ReleaseOptions{Name: release, Namespace: s.Namespace, Revision: 1, IsInstall: true},
		capabilities: common.Capabilities{
			KubeVersion: *kube, APIVersions: append(servedVersions(), env.APIVersions...),
			HelmVersion: common.DefaultCapabilities.HelmVersion,
		},
	}
	return r.steady(ctx)
}

// values merges the values of the user. All of them get the types that they have in a file.
func (c Chart) values() (map[string]any, error) {
	merged := map[string]any{}
	for _, file := range c.ValuesFiles {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, missing(err, "create it, or remove it from the files of values")
		}
		if _, err := objects.Mappings(file, data); err != nil {
			return nil, err
		}
		values, err := loader.LoadValues(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		merged = loader.MergeMaps(merged, values)
	}
	if len(c.Values) == 0 {
		return merged, nil
	}
	data, err := yaml.Marshal(c.Values)
	if err != nil {
		return nil, fmt.Errorf("values of the chart: %w", err)
	}
	values, err := loader.LoadValues(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("values of the chart: %w", err)
	}
	return loader.MergeMaps(merged, values), nil
}

// open finds the chart. What it returns loads it anew each time, as rendering changes a chart.
func (c Chart) open(ctx context.Context, env Env) (load func() (*chart.Chart, error), err error) {
	switch {
	case strings.HasPrefix(c.Path, ociScheme):
		ref, err := parseReference(c.Path, c.Version)
		if err != nil {
			return nil, err
		}
		data, err := env.pull(ctx, ref)
		if err != nil {
			return nil, err
		}
		c.Version = ref.version
		load = func() (*chart.Chart, error) { return loader.LoadArchive(bytes.NewReader(data)) }
	case strings.Contains(c.Path, "://"):
		return nil, fmt.Errorf("%s: charts come from folders, archives (.tgz) and OCI registries (oci://…): "+
			"download it with helm pull, and name the archive", c.Path)
	case !exists(c.Path):
		return nil, fmt.Errorf("%s: there is no chart: name a folder or an archive (.tgz) on this machine, or oci://REGISTRY/REPOSITORY", c.Path)
	default:
		load = func() (*chart.Chart, error) { return loader.Load(c.Path) }
	}
	loaded, err := quietly(load)
	if err != nil {
		if strings.Contains(err.Error(), "larger than the maximum size") || strings.Contains(err.Error(), "exceeds maximum decompressed size") {
			err = fmt.Errorf("%w (of %d MiB): keep what is no part of it out with .helmignore", err, archive.MaxDecompressedChartSize>>20)
		}
		return nil, fmt.Errorf("%s: the chart cannot be read: %w", c.Path, err)
	}
	if err := c.usable(loaded); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	return load, nil
}

// usable refuses what cannot be installed, whatever its values are.
func (c Chart) usable(loaded *chart.Chart) error {
	meta := loaded.Metadata
	switch {
	case meta.APIVersion != chart.APIVersionV1 && meta.APIVersion != chart.APIVersionV2:
		return fmt.Errorf("the apiVersion %q in Chart.yaml is not known here: use a chart of v1 or v2", meta.APIVersion)
	case meta.Type == "library":
		return fmt.Errorf("%s is a library for other charts, it has no objects: name a chart that uses it", meta.Name)
	case c.Version != "" && strings.TrimPrefix(c.Version, "v") != strings.TrimPrefix(meta.Version, "v"):
		return fmt.Errorf("the chart there has version %s, and not %s: correct the version, or get the other chart", meta.Version, c.Version)
	}
	return nil
}

// rendering is a chart with all that decides what becomes of it.
type rendering struct {
	chart        Chart
	load         func() (*chart.Chart, error)
	values       map[string]any
	release      common.ReleaseOptions
	capabilities common.Capabilities
}

// run renders once, with functions in place of those of the same name.
func (r rendering) run(ctx context.Context, functions map[string]any) ([]objects.Located, error) {
	loaded, err := r.load()
	if err != nil {
		return nil, r.error(err)
	}
	capabilities := r.capabilities
	if wanted := loaded.Metadata.KubeVersion; wanted != "" && !chartutil.IsCompatibleRange(wanted, capabilities.KubeVersion.String()) {
		return nil, r.error(fmt.Errorf("the chart is for Kubernetes %s, and this is %s: take another version of it",
			wanted, capabilities.KubeVersion.Version))
	}
	// The chart's own copy: what is merged into is shared otherwise.
	values := loader.MergeMaps(map[string]any{}, r.values)
	if err := chartutil.ProcessDependencies(loaded, values); err != nil {
		return nil, r.error(err)
	}
	if err := dependenciesOf(loaded); err != nil {
		return nil, r.error(err)
	}
	definitions, err := r.definitions(loaded)
	if err != nil {
		return nil, err
	}
	capabilities.APIVersions = append(slices.Clip(capabilities.APIVersions), definedVersions(definitions)...)
	top, err := util.ToRenderValuesWithSchemaValidation(loaded, values, r.release, &capabilities, true)
	if err != nil {
		return nil, r.error(err)
	}
	if merged, ok := top["Values"].(common.Values); ok {
		if err := checkSchema(loaded, merged.AsMap(), nil); err != nil {
			return nil, r.error(err)
		}
	}
	files, err := engine.Engine{CustomTemplateFuncs: functions}.RenderWithContext(ctx, loaded, top)
	if err != nil {
		return nil, r.error(err)
	}
	rendered, err := r.objects(files)
	if err != nil {
		return nil, err
	}
	ordered, err := order(rendered)
	if err != nil {
		return nil, r.error(err)
	}
	return append(definitions, ordered...), nil
}

func (r rendering) error(err error) error { return fmt.Errorf("%s: %w", r.chart.Path, err) }

// definitions are the objects in the crds/ folders, which are no templates.
func (r rendering) definitions(loaded *chart.Chart) ([]objects.Located, error) {
	var all []objects.Located
	var bad []error
	for _, crd := range loaded.CRDObjects() {
		found, err := objects.Decode(r.chart.Path+": "+crd.Filename, crd.File.Data)
		all, bad = append(all, found...), append(bad, err)
	}
	return all, errors.Join(bad...)
}

// objects are those of the rendered templates, in the order of their names.
func (r rendering) objects(files map[string]string) ([]objects.Located, error) {
	names := make([]string, 0, len(files))
	for name := range files {
		if !strings.HasSuffix(name, "NOTES.txt") && !strings.HasPrefix(path.Base(name), "_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var all []objects.Located
	var bad []error
	for _, name := range names {
		found, err := objects.Decode(r.chart.Path+": "+name+" (as rendered)", []byte(files[name]))
		all, bad = append(all, found...), append(bad, err)
	}
	return all, errors.Join(bad...)
}

// dependenciesOf finds dependencies that Chart.yaml lists, that are enabled, and that the chart lacks.
func dependenciesOf(loaded *chart.Chart) error {
	var bad []error
	for _, wanted := range loaded.Metadata.Dependencies {
		i := slices.IndexFunc(loaded.Dependencies(), func(c *chart.Chart) bool { return c.Name() == wanted.Name })
		switch {
		case i < 0:
			bad = append(bad, fmt.Errorf("the chart %s needs %s %s, which is not in its charts/ folder: run helm dependency build there, "+
				"or switch it off with its condition", loaded.Name(), wanted.Name, wanted.Version))
		case wanted.Version != "" && !chartutil.IsCompatibleRange(wanted.Version, loaded.Dependencies()[i].Metadata.Version):
			bad = append(bad, fmt.Errorf("the chart %s needs %s %s, and has %s in its charts/ folder: run helm dependency update there",
				loaded.Name(), wanted.Name, wanted.Version, loaded.Dependencies()[i].Metadata.Version))
		}
	}
	for _, c := range loaded.Dependencies() {
		bad = append(bad, dependenciesOf(c))
	}
	return errors.Join(bad...)
}
